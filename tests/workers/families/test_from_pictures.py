"""Each family's pictures to start from, mixed in one batch, against the stock pipelines that take them."""

import copy
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import msgspec
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor

from pacer.jobs.messages import Claim, Job, PictureFiles, PictureInput, Plan, TableMessage
from schedules.compile import compile_from_image
from schedules.noise import vp
from schedules.table import Table
from tests.workers.families import (
    flow_parity,
    test_parity_flux,
    test_parity_flux2,
    test_parity_qwen_image,
    test_parity_z_image,
    tiny,
    tiny_flux2,
)
from tests.workers.families.flow_parity import Stock
from tests.workers.families.parity import adapted, load_stock, quiet
from workers.families.base import Family, hand_over_guidance
from workers.networks import Networks
from workers.pictures import read_picture
from workers.runner import Runner, Spec

pytestmark = quiet


@dataclass(frozen=True)
class Wish:
    """One request."""

    prompt: str
    negative: str
    seed: int
    guidance: float
    steps: int
    solver: str = "euler"
    start: float = 0.7
    mask: str | None = None
    embedded: float = 3.5


WISHES = [
    Wish("a red circle", "", 1, 2.0, 1),
    Wish("a blue star", "ugly", 2, 3.0, 4, "dpmpp-2m"),
    Wish("a red circle", "", 3, 1.0, 10, start=0.4),
    Wish("a blue square", "", 4, 2.5, 4, mask="soft"),
    Wish("a red circle", "ugly", 5, 4.0, 10, "dpmpp-2m", mask="soft"),
    Wish("two stars", "", 6, 2.0, 6, start=0.9, mask="binary"),
    Wish("two stars", "", 7, 2.0, 1, mask="binary"),
]
FLOW_WISHES = [wish for wish in WISHES if wish.solver == "euler"]


def picture(width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([rows * 5 % 256, columns * 7 % 256, (rows * columns) % 256], axis=-1).astype("uint8")
    )


def mask(kind: str, width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    levels = (rows + columns) * 255 // (height + width) if kind == "soft" else 255 * (columns > width // 3)
    return Image.fromarray(levels.astype("uint8"))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def claim_of(wish: Wish, table: Table, size: tuple[int, int]) -> Claim:
    plan = Plan("tiny", "custom", wish.solver, wish.steps, wish.steps, (1.0, 0.0), None, None)
    job = Job(
        id=str(wish.seed), prompt=wish.prompt, negative_prompt=wish.negative, seed=wish.seed, width=size[0],
        height=size[1], guidance_scale=wish.guidance, plan=plan, table=TableMessage.of(table),
        picture=PictureInput(*size, mask="white" if wish.mask else None),
    )  # fmt: skip
    files = PictureFiles(png(picture(*size)), png(mask(wish.mask, *size)) if wish.mask else b"")
    return msgspec.structs.replace(Claim(job, 1, 1, 0, 0), picture=files)


def draw_together(
    family: Family, wishes: Sequence[Wish], tables: Sequence[Table], size: tuple[int, int]
) -> list[Tensor]:
    """All are admitted at once, and step together until each is done."""
    runner, shape = Runner(Networks(family, max_rows=64), len(wishes)), family.latent_shape(*size)
    left: dict[str, int] = {}
    for place, (wish, table) in enumerate(zip(wishes, tables, strict=True)):
        texts = [*family.encode([wish.prompt]), *family.encode([wish.negative], negative=True)]
        embeds = getattr(texts[0], "guidance", None) is not None
        scales = (wish.embedded, wish.guidance) if embeds else (wish.guidance, 1.0)
        (positive, negative), scale = hand_over_guidance(texts, *scales)
        read = read_picture(claim_of(wish, table, size), family, shape)
        runner.admit(str(place), Spec(table, scale, wish.seed, shape, positive, negative, read))
        left[str(place)] = table.evaluations_count
    while any(left.values()):
        going = [name for name, count in left.items() if count]
        assert not runner.step(going)
        left = {name: count - (name in going) for name, count in left.items()}
    return [runner.results([str(place)])[0] for place in range(len(wishes))]


def edit_alone(
    parts: DiffusionPipeline, kinds: tuple[str, str | None], wish: Wish, scheduler: object, size: tuple[int, int],
    **call: object,
) -> Tensor:  # fmt: skip
    """The last latents of the stock pipeline for pictures, made of the parts of the one for text."""
    name = kinds[0] if wish.mask is None else kinds[1]
    assert name is not None
    kind = getattr(diffusers, name)
    taken = {part: value for part, value in parts.components.items() if part in kind._get_signature_keys(kind)[0]}
    options = {"requires_safety_checker": False} if "safety_checker" in taken else {}
    pipeline = kind(**{**taken, "scheduler": scheduler, **options})
    pipeline.set_progress_bar_config(disable=True)
    if wish.mask is not None:
        pipeline.mask_processor = VaeImageProcessor(
            vae_scale_factor=pipeline.mask_processor.config.vae_scale_factor, do_normalize=False, do_binarize=False,
            do_convert_grayscale=True,
        )  # fmt: skip
        call |= {"mask_image": mask(wish.mask, *size)}
    if wish.mask is not None or "Flux" in name or "Qwen" in name or "ZImage" in name:
        call |= {"width": size[0], "height": size[1]}
    seen: list[Tensor] = []

    def keep(_pipeline: Any, _step: int, _time: Any, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(kept["latents"])
        return kept

    pipeline(
        prompt=wish.prompt, image=picture(*size), generator=torch.Generator().manual_seed(wish.seed),
        callback_on_step_end=keep, **call,
    )  # fmt: skip
    assert len(seen) == wish.steps
    return seen[-1]


def assert_equal(ours: Tensor, alone: Tensor, wish: Wish) -> None:
    assert float((ours - alone).abs().max()) <= 1e-4 * max(1.0, float(alone.abs().max())), wish


def vp_sampler(wish: Wish, config: dict[str, Any]) -> tuple[Table, object, dict[str, object]]:
    shared = {name: config[name] for name in ("beta_schedule", "beta_start", "beta_end", "prediction_type")}
    kind = EulerDiscreteScheduler if wish.solver == "euler" else DPMSolverMultistepScheduler
    scheduler = kind(**shared, steps_offset=1)
    noise = vp(scheduler.alphas_cumprod.double().numpy())
    fall = np.linspace(1.0, 0.0, wish.steps + 1) ** 1.5
    times = np.round(20 + 900 * wish.start * fall[:-1]).astype(int)
    sigmas = np.append(np.exp(noise.log_sigmas[times]), 0.0)
    # The stock way runs a share of the steps: the last of one more, so that it is not all of them.
    call: dict[str, object] = {"strength": (wish.steps + 0.5) / (wish.steps + 1)}
    if wish.solver == "euler":
        call["sigmas"] = [1.3 * sigmas[0], *sigmas.tolist()]
    else:
        call["timesteps"] = [times[0] + 40, *times.tolist()]
    prediction = "v_prediction" if config["prediction_type"] == "v_prediction" else "epsilon"
    return compile_from_image(wish.solver, sigmas, prediction, noise, masked=wish.mask is not None), scheduler, call


@pytest.mark.parametrize(
    ("build", "kinds", "options", "size"),
    [
        (tiny.sd15, ("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"), {}, (16, 16)),
        (
            tiny.sd15,
            ("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
            {"prediction": "v_prediction"},
            (32, 16),
        ),
        (tiny.sdxl, ("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"), {}, (16, 16)),
        (tiny.sdxl, ("StableDiffusionXLImg2ImgPipeline", None), {"normalised": True}, (16, 16)),
    ],
    ids=["sd15", "sd15-v", "sdxl", "sdxl-normalised"],
)
def test_unets_edit_as_the_stock_pipelines_do(
    tmp_path: Path, build: Callable[..., DiffusionPipeline], kinds: tuple[str, str | None], options: dict[str, Any],
    size: tuple[int, int],
) -> None:  # fmt: skip
    folder = tiny.saved(build, tmp_path, **options)
    stock, family = load_stock(folder), adapted(load_stock(folder))
    wishes = [wish for wish in WISHES if wish.mask is None or kinds[1] is not None]
    samplers = [vp_sampler(wish, dict(stock.scheduler.config)) for wish in wishes]
    together = draw_together(family, wishes, [table for table, _, _ in samplers], size)
    for wish, ours, (_, scheduler, call) in zip(wishes, together, samplers, strict=True):
        negative = {"negative_prompt": wish.negative} if wish.negative else {}
        call |= {"guidance_scale": wish.guidance, **negative}
        assert_equal(ours, edit_alone(stock, kinds, wish, copy.deepcopy(scheduler), size, **call)[0], wish)


@pytest.mark.parametrize(
    ("module", "kinds"),
    [
        (test_parity_flux, ("FluxImg2ImgPipeline", "FluxInpaintPipeline")),
        (test_parity_qwen_image, ("QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline")),
        (test_parity_z_image, ("ZImageImg2ImgPipeline", "ZImageInpaintPipeline")),
    ],
    ids=["flux", "qwen-image", "z-image"],
)
def test_transformers_edit_as_the_stock_pipelines_do(module: Any, kinds: tuple[str, str]) -> None:
    loaded: tuple[Family, Stock] = module.load()
    family, stock = loaded
    size = flow_parity.WIDTH, flow_parity.HEIGHT
    grids = [wish.start * np.linspace(1.0, 0.0, wish.steps + 1) ** 1.3 for wish in FLOW_WISHES]
    tables = [
        compile_from_image("euler", grid, "flow", masked=wish.mask is not None)
        for wish, grid in zip(FLOW_WISHES, grids, strict=True)
    ]
    together = draw_together(family, FLOW_WISHES, tables, size)
    for wish, ours, grid in zip(FLOW_WISHES, together, grids, strict=True):
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        strength = 1.0 if wish.mask is None else 0.9999  # at 1 it would start from noise
        call = {"sigmas": grid[:-1].tolist(), "num_inference_steps": wish.steps, "strength": strength}
        call |= module.arguments(wish)
        alone = stock.spatial(edit_alone(stock.pipeline, kinds, wish, scheduler, size, **call))
        assert_equal(ours, alone, wish)


@pytest.mark.parametrize("build", [tiny.pixart_sigma, tiny.sana], ids=["pixart-sigma", "sana"])
def test_what_is_read_is_what_painting_undoes(tmp_path: Path, build: Callable[..., DiffusionPipeline]) -> None:
    """Of these there is no stock pipeline for pictures: their latents are scaled as their pictures unscale them."""
    folder = tiny.saved(build, tmp_path)
    family, vae = adapted(load_stock(folder)), load_stock(folder).vae
    assert_reads(family, vae, family._unscaled)


def test_flux2_reads_what_painting_undoes() -> None:
    torch.manual_seed(0)
    pipeline = tiny_flux2.build_klein()
    family, stock = flow_parity.load(pipeline, test_parity_flux2.klein_arguments, test_parity_flux2.spatial)
    vae = stock.pipeline.vae

    def unscaled(x: Tensor) -> Tensor:
        deviation = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps).reshape(-1, 1, 1)
        return torch.nn.functional.pixel_shuffle(x * deviation + vae.bn.running_mean.reshape(-1, 1, 1), 2)

    assert_reads(family, vae, unscaled, mode=True)


@torch.no_grad()
def assert_reads(family: Any, vae: Any, unscaled: Callable[[Tensor], Tensor], *, mode: bool = False) -> None:
    pixels = np.array(picture(64, 48))
    latent = family.encode_image(pixels, torch.Generator().manual_seed(3))
    assert tuple(latent.shape) == family.latent_shape(64, 48)
    shares = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None] * 2 - 1
    output = vae.encode(shares)
    if hasattr(output, "latent"):
        expected = output.latent
    elif mode:
        expected = output.latent_dist.mode()
    else:
        expected = output.latent_dist.sample(torch.Generator().manual_seed(3))
    torch.testing.assert_close(unscaled(latent[None]), expected, rtol=1e-5, atol=1e-5)
