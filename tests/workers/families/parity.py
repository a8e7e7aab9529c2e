"""Requests mixed in one batch, each against the stock pipeline's own call for it alone."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from schedules.compile import compile_table
from schedules.noise import FLOW, NoiseSchedule, vp
from schedules.probe import probe
from schedules.table import Prediction, Table
from workers.families.base import Family
from workers.families.registry import family_entry
from workers.networks import Networks
from workers.runner import Runner, Spec

SOLVERS = ("euler", "dpmpp-2m", "unipc-2")
SLOTS = 4
_FLOW_OPTIONS = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}


@dataclass(frozen=True)
class Wish:
    """One request; an empty negative prompt is none."""

    prompt: str
    negative: str
    seed: int
    guidance: float
    steps: int
    solver: str


@dataclass(frozen=True)
class Sampler:
    """The same sampler twice: our table, and the stock scheduler with what its pipeline must be called with."""

    table: Table
    scheduler: object
    call: dict[str, object]


def wishes() -> list[Wish]:
    """Every budget in 1..20, three solvers and the model's own, guided or not, prompts of different length."""
    short, long = "red cat", "the red dog and a blue cat sit with an ugly house, under the green tree"
    guided = [(1.0, ""), (4.0, ""), (7.5, "ugly"), (1.0, "ugly"), (3.0, "the ugly dog with a blurry, blue house")]
    prompts = [short, long, "", "house"]
    mixed = [
        Wish(prompts[i % 4], guided[i % 5][1], 40 + i, guided[i % 5][0], steps, SOLVERS[i % 3])
        for i, steps in enumerate(range(1, 21))
    ]
    return [*mixed, Wish(long, "ugly", 60, 5.0, 5, "own")]


def load_stock(folder: Path, dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def adapted(pipeline: DiffusionPipeline) -> Family:
    return family_entry(type(pipeline).__name__).load_adapter()(pipeline)


def vp_sampler(solver: str, steps: int, config: dict[str, object]) -> Sampler:
    """A clustered grid of its own where the stock scheduler takes one, its own grid otherwise.

    Args:
        solver: one of SOLVERS.
        steps: the budget.
        config: of the model's own scheduler, with its betas and its prediction.
    """
    shared = {name: config[name] for name in ("beta_schedule", "beta_start", "beta_end", "prediction_type")}
    classes = {"euler": EulerDiscreteScheduler, "dpmpp-2m": DPMSolverMultistepScheduler}
    scheduler = classes.get(solver, UniPCMultistepScheduler)(**shared)
    noise = vp(scheduler.alphas_cumprod.double().numpy())
    fall = np.linspace(1.0, 0.0, steps + 1) ** 1.7
    if solver == "euler":
        sigmas = noise.sigma_max * 0.98 * fall
        call: dict[str, object] = {"sigmas": sigmas.tolist()}  # Euler wants the trailing 0
    elif solver == "dpmpp-2m":
        times = np.round(20 + 970 * fall[:-1]).astype(int)
        sigmas, call = np.append(np.exp(noise.log_sigmas[times]), 0.0), {"timesteps": times.tolist()}
    else:
        laid_out = copy.deepcopy(scheduler)
        laid_out.set_timesteps(steps)
        sigmas, call = laid_out.sigmas.double().numpy(), {"num_inference_steps": steps}
    return Sampler(compile_table(solver, sigmas, _prediction(config), noise), scheduler, call)


def _prediction(config: dict[str, object]) -> Prediction:
    return "v_prediction" if config["prediction_type"] == "v_prediction" else "epsilon"


def flow_sampler(solver: str, steps: int, config: dict[str, object]) -> Sampler:
    """As vp_sampler; stock multistep schedulers round a flow's times to integers, so those tables are given theirs."""
    noise: NoiseSchedule = FLOW
    if solver == "euler":
        sigmas = np.linspace(1.0, 0.0, steps + 1) ** 1.7
        table = compile_table("euler", sigmas, "flow", noise)
        return Sampler(table, FlowMatchEulerDiscreteScheduler(shift=1.0), {"sigmas": sigmas[:-1].tolist()})
    kind = DPMSolverMultistepScheduler if solver == "dpmpp-2m" else UniPCMultistepScheduler
    scheduler = kind(flow_shift=3.0, **_FLOW_OPTIONS)
    laid_out = copy.deepcopy(scheduler)
    laid_out.set_timesteps(steps)
    table = compile_table(solver, laid_out.sigmas.double().numpy(), "flow", noise)
    rounded = replace(table, t=laid_out.timesteps.double().numpy())
    return Sampler(rounded, scheduler, {"num_inference_steps": steps})


def sampler_of(wish: Wish, scheduler: object) -> Sampler:
    """By the wish's solver; "own" is the model's own scheduler as its pipeline uses it by default."""
    if wish.solver == "own":
        return Sampler(probe(scheduler, wish.steps), scheduler, {"num_inference_steps": wish.steps})
    config = dict(scheduler.config)
    make = flow_sampler if config["prediction_type"] == "flow_prediction" else vp_sampler
    return make(wish.solver, wish.steps, config)


def draw_together(family: Family, chosen: Sequence[Wish], tables: Sequence[Table], size: tuple[int, int]) -> Tensor:
    """Requests join whenever a slot is free, so that all are at different steps; the last latents, in order."""
    runner, waiting = Runner(Networks(family, max_rows=64), SLOTS), list(range(len(chosen)))
    left: dict[str, int] = {}
    latents: dict[int, Tensor] = {}
    while waiting or left:
        if waiting and len(left) < SLOTS:  # one a turn
            index = waiting.pop(0)
            wish = chosen[index]
            positive, negative = family.encode([wish.prompt])[0], family.encode([wish.negative], negative=True)[0]
            shape = family.latent_shape(*size)
            runner.admit(str(index), Spec(tables[index], wish.guidance, wish.seed, shape, positive, negative))
            left[str(index)] = tables[index].evaluations_count
        assert not runner.step(list(left))
        left = {name: count - 1 for name, count in left.items()}
        for name in [name for name, count in left.items() if count == 0]:
            latents[int(name)] = runner.results([name])[0]
            runner.release(name)
            del left[name]
    return torch.stack([latents[index] for index in range(len(chosen))])


def draw_alone(
    stock: DiffusionPipeline, wish: Wish, sampler: Sampler, size: tuple[int, int], output_type: str, **call: object
) -> object:
    stock.scheduler = copy.deepcopy(sampler.scheduler)
    negative = {"negative_prompt": wish.negative} if wish.negative else {}
    generator = torch.Generator().manual_seed(wish.seed)
    return stock(
        wish.prompt, width=size[0], height=size[1], guidance_scale=wish.guidance, generator=generator,
        output_type=output_type, **negative, **sampler.call, **call,
    ).images[0]  # fmt: skip


def assert_parity(
    folder: Path, chosen: Sequence[Wish], size: tuple[int, int] = (16, 16), *, pictures: int = 3, **call: object
) -> None:
    """Each wish of the batch gets what the stock pipeline draws for it alone.

    Args:
        folder: the model in the stock layout.
        chosen: what to draw.
        size: width and height, in pixels.
        pictures: of how many to compare the 8-bit images too; decoding is the same for all.
        call: further arguments of the stock pipeline's call.
    """
    stock = load_stock(folder)
    samplers = [sampler_of(wish, stock.scheduler) for wish in chosen]
    family = adapted(load_stock(folder))
    together = draw_together(family, chosen, [sampler.table for sampler in samplers], size)
    pixels = family.decode(together)
    for index, (wish, sampler) in enumerate(zip(chosen, samplers, strict=True)):
        alone = draw_alone(stock, wish, sampler, size, "latent", **call)
        assert isinstance(alone, Tensor)
        limit = 1e-4 * max(1.0, float(alone.abs().max()))
        assert float((together[index] - alone).abs().max()) <= limit, wish
        if index >= len(chosen) - pictures:
            picture = np.asarray(draw_alone(stock, wish, sampler, size, "pil", **call), dtype=np.int16)
            assert np.abs(picture - pixels[index].astype(np.int16)).max() <= 1, wish


def assert_heeds_everything(family: Family, size: tuple[int, int] = (16, 16)) -> None:
    """The tiny network is no dummy: its output changes with its text, its time and its company's text does not."""
    texts = family.encode(["red cat", "the red dog sits under a tree"])
    x = torch.randn(family.latent_shape(*size), generator=torch.Generator().manual_seed(1)).expand(3, -1, -1, -1)
    first, other_text, other_time = family.denoise(x, torch.tensor([500.0, 500.0, 500.5]), [*texts, texts[0]])
    assert float((first - other_text).abs().max()) > 1e-3
    assert float((first - other_time).abs().max()) > 1e-6
    alone = family.denoise(x[:1], torch.tensor([500.0]), texts[:1])[0]
    assert float((first - alone).abs().max()) < 1e-5


quiet = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers
diffusers.utils.logging.set_verbosity_error()
