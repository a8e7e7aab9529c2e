"""Cards of models that bring none: what `model_index.json` and the parts' configurations say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

Config = Mapping[str, Any]
"""A part's configuration, as its JSON file has it."""

SMALLER = "smaller"
"""The folder, in a model's, of networks that rows of a schedule may run instead of the model's own, each in its own."""

_LEAST, _MOST = 4, 2  # the smallest side offered is a quarter of the native one, the largest twice it
_BETA_KINDS = ("linear", "scaled_linear")


class UnderivableError(ValueError):
    """A model whose card cannot be derived; the message says what is missing or unknown."""


@dataclass(frozen=True, slots=True)
class _Habits:
    """What a stock pipeline does that none of its configurations says.

    Attributes:
        guidance_scale: the default of its call.
        network: the folder of its denoiser.
        packing: latent rows and columns that one token stands for, beyond the network's own patch_size.
        sample_size: latent rows and columns of its native picture, where the network's configuration has none.
        shift: of its flow at the native size and 10 steps, where the pipeline has a formula of its own for it.
        loras: whether it has a loader for them.
    """

    guidance_scale: float
    network: str = "transformer"
    packing: int = 1
    sample_size: int = 128
    shift: float | None = None
    loras: bool = True


_HABITS: Mapping[str, _Habits] = MappingProxyType(
    {
        "StableDiffusionPipeline": _Habits(7.5, "unet", sample_size=64),
        "LatentConsistencyModelPipeline": _Habits(8.5, "unet", sample_size=64),
        "StableDiffusionXLPipeline": _Habits(5.0, "unet"),
        "StableDiffusion3Pipeline": _Habits(7.0),
        "PixArtSigmaPipeline": _Habits(4.5, loras=False),
        "SanaPipeline": _Habits(4.5, sample_size=32),
        "FluxPipeline": _Habits(3.5, packing=2),
        "Flux2Pipeline": _Habits(4.0, packing=2, shift=9.55),
        "Flux2KleinPipeline": _Habits(4.0, packing=2, shift=9.55),
        "QwenImagePipeline": _Habits(4.0),
        "ZImagePipeline": _Habits(6.0, packing=2),  # its call counts from 0: 5.0 there
    }
)


_CONSISTENCY: Mapping[str, object] = MappingProxyType(
    {"original_inference_steps": 50, "timestep_scaling": 10.0, "clip_sample": False, "thresholding": False}
)
"""Options of the scheduler of latent consistency models, as all that is released has them."""

_KLEIN_GRID = "shift9.887"  # by its pipeline's formula at the native size and 4 steps
_TURBO: Mapping[str, object] = MappingProxyType(
    {"guidance_scale": 1.0, "distilled": {"native_steps": 4}, "solver": "euler", "grid": "trailing"}
)
_DISTILLED: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "stabilityai/sd-turbo": _TURBO,
        "stabilityai/sdxl-turbo": _TURBO,
        "Tongyi-MAI/Z-Image-Turbo": {"guidance_scale": 1.0, "distilled": {"native_steps": 8}},
    }
)
"""By hub id, what their authors say of few-step models whose configurations are those of the models they came from."""


def derive(folder: Path, repo: str | None = None) -> dict[str, object]:
    """The fields of a model card, save its id and revision.

    Args:
        folder: the model in the stock layout.
        repo: its owner/name on the hub, if it comes from there.

    Raises:
        UnderivableError: a file is missing or malformed, or says something that no card can.
    """
    index = _read(folder / "model_index.json")
    name = str(index.get("_class_name"))
    if name not in _HABITS:
        known = ", ".join(_HABITS)
        raise UnderivableError(f"pipelines of class {name!r} say too little; a card can be derived for {known}")
    habits = _HABITS[name]
    network = _read(folder / habits.network / "config.json")
    scheduler = _read(folder / "scheduler" / "scheduler_config.json")
    factor = _factor(_read(folder / "vae" / "config.json"))
    sample_size = network.get("sample_size") or habits.sample_size
    if not isinstance(sample_size, int):
        raise UnderivableError(f"{habits.network}/config.json: sample_size is no whole number but {sample_size!r}")
    patch = int(network.get("patch_size") or 1) * habits.packing
    native = sample_size // patch * patch * factor
    sides = _sides(native, factor * patch, _most(name, network, native, factor * patch))
    return {
        "width": sides, "height": sides, "size": (native, native),
        "guidance_scale": habits.guidance_scale,
        "embedded_guidance": bool(network.get("guidance_embeds") or network.get("time_cond_proj_dim")),
        "quantization": _quantization(folder, index, habits.network),
        "loras": habits.loras,
        "networks": dict.fromkeys(smaller_networks(folder)),
        **_sampling(scheduler, habits.shift or _shift(scheduler, (sample_size // patch) ** 2)),
        **_few_steps(name, index, network),
        **_consistency(network, scheduler),
        **_DISTILLED.get(repo or "", {}),
    }  # fmt: skip


def _few_steps(name: str, index: Config, network: Config) -> dict[str, object]:
    """What differs in a model that says itself that it was distilled, FLUX.1-schnell and FLUX.2-klein to four steps."""
    if name == "FluxPipeline" and network.get("guidance_embeds") is False:
        return {"guidance_scale": 1.0, "distilled": {"native_steps": 4}}
    if name == "Flux2KleinPipeline" and index.get("is_distilled") is True:
        return {"guidance_scale": 1.0, "distilled": {"native_steps": 4}, "grid": _KLEIN_GRID}
    return {}


def _consistency(network: Config, scheduler: Config) -> dict[str, object]:
    """What differs in a latent consistency model, which its scheduler tells: four steps of a sampler of its own.

    One that takes no scale as an input was made of a LoRA, and is drawn without guidance.
    """
    if scheduler.get("_class_name") != "LCMScheduler":
        return {}
    for name, served in _CONSISTENCY.items():
        if scheduler.get(name, served) != served:
            raise UnderivableError(f"scheduler_config.json: {name} is {scheduler[name]!r}; only {served!r} is served")
    unguided = {} if network.get("time_cond_proj_dim") else {"guidance_scale": 1.0}
    return {"distilled": {"native_steps": 4}, "solver": "lcm", "grid": "lcm", **unguided}


def _quantization(folder: Path, index: Config, network: str) -> str | None:
    """How a model was saved with fewer bits: its network, bitsandbytes-nf4 say, then other parts by their names."""
    others = sorted(part for part in index.keys() - {network} if (folder / part / "config.json").is_file())
    kinds = {part: _few_bits(_read(folder / part / "config.json")) for part in (network, *others)}
    told = [kind if part == network else f"{part}: {kind}" for part, kind in kinds.items() if kind is not None]
    return ", ".join(told) or None


def _few_bits(part: Config) -> str | None:
    """Method and kind, as a part's configuration says."""
    said = part.get("quantization_config")
    if not isinstance(said, dict):
        return None
    four_bits = "bnb_4bit_quant_type" if said.get("load_in_4bit") else ""
    kinds = [_kind(said.get(name)) for name in ("quant_type", "weights_dtype", four_bits)]
    kind = next((kind for kind in kinds if isinstance(kind, str)), "int8" if said.get("load_in_8bit") else "")
    return f"{said.get('quant_method', 'unknown')}{kind and '-'}{kind}"


def _kind(said: Any) -> Any:
    """Torchao's kind stands in a record of its own: {"default": {"_type": "Int8WeightOnlyConfig", ...}}."""
    inner = said.get("default") if isinstance(said, dict) else None
    return inner.get("_type") if isinstance(inner, dict) else said


def smaller_networks(folder: Path) -> tuple[str, ...]:
    """The names of a model's smaller networks, sorted."""
    return tuple(sorted(path.parent.name for path in (folder / SMALLER).glob("*/config.json")))


def _read(path: Path) -> Config:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise UnderivableError(f"{path.parent.name}/{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise UnderivableError(f"{path.parent.name}/{path.name}: is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise UnderivableError(f"{path.parent.name}/{path.name}: is no JSON object")
    return found


def _factor(vae: Config) -> int:
    """Pixels of a latent's row."""
    levels = vae.get("block_out_channels") or vae.get("encoder_block_out_channels")
    halvings = vae.get("temperal_downsample")  # of autoencoders that know videos too, spelt so
    if not levels and halvings is None:
        raise UnderivableError("vae/config.json: has no block_out_channels to tell how much it shrinks pictures")
    factor: int = 2 ** (len(levels) - 1 if levels else len(halvings or ()))
    return factor


def _most(name: str, network: Config, native: int, multiple: int) -> int:
    """The largest side: Stable Diffusion 3 knows no more places of tokens than it was trained with."""
    places = network.get("pos_embed_max_size") if name == "StableDiffusion3Pipeline" else None
    return _MOST * native if places is None else min(_MOST * native, int(places) * multiple)


def _sides(native: int, multiple: int, most: int) -> tuple[int, int, int]:
    """Least, most and multiple of a side, in pixels."""
    return max(multiple, native // _LEAST // multiple * multiple), most, multiple


def _sampling(scheduler: Config, shift: float) -> dict[str, object]:
    """Prediction, noise, and the solver and grid where the registry has no schedule; the shift is a flow's."""
    kind = str(scheduler.get("_class_name"))
    prediction = scheduler.get("prediction_type", "epsilon")
    if kind.startswith("FlowMatch") or prediction == "flow_prediction" or scheduler.get("use_flow_sigmas"):
        return {"prediction": "flow", "grid": "uniform" if shift == 1 else f"shift{shift:.4g}"}
    if prediction not in ("epsilon", "v_prediction"):
        raise UnderivableError(f"scheduler_config.json: prediction_type is {prediction!r}; epsilon or v_prediction is")
    if kind.startswith("EDM"):
        raise UnderivableError(f"scheduler_config.json: the preconditioning of {kind} is not served")
    return {"prediction": prediction, "noise": _noise(scheduler), "solver": "dpmpp-2m", "grid": "karras"}


def _noise(scheduler: Config) -> dict[str, object]:
    kind = scheduler.get("beta_schedule", "linear")
    if kind not in _BETA_KINDS or scheduler.get("trained_betas") is not None:
        raise UnderivableError(
            f"scheduler_config.json: beta_schedule is {kind!r}, with trained_betas "
            f"{'given' if scheduler.get('trained_betas') is not None else 'not given'}; known are lines of betas: "
            f"{', '.join(_BETA_KINDS)}"
        )
    return {
        "kind": kind,
        "beta_start": scheduler.get("beta_start", 0.0001),
        "beta_end": scheduler.get("beta_end", 0.02),
        "train_times": scheduler.get("num_train_timesteps", 1000),
        "zero_terminal_snr": bool(scheduler.get("rescale_betas_zero_snr", False)),
    }


def _shift(scheduler: Config, tokens: int) -> float:
    """The flow's shift at the native size; a dynamic one grows as exp of a line in the number of image tokens."""
    if not scheduler.get("use_dynamic_shifting"):
        return float(scheduler.get("shift") or scheduler.get("flow_shift") or 1.0)
    least, most = scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 4096)
    low, high = scheduler.get("base_shift", 0.5), scheduler.get("max_shift", 1.15)
    mu = low + (high - low) * (tokens - least) / (most - least)
    return float(mu if scheduler.get("time_shift_type") == "linear" else math.exp(mu))
