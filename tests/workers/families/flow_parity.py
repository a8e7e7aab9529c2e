"""What the parity tests of flow-matching transformers share: requests, the stock pipeline alone, our mixed batch."""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor, nn

from schedules.compile import compile_table
from workers import models
from workers.families.base import Family, hand_over_guidance
from workers.families.patches import from_patches
from workers.networks import Networks
from workers.runner import Runner, Spec

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
PURE_NOISE = 1 - 1e-6
WIDTH, HEIGHT = 64, 48
LATENT_SIDES = HEIGHT // 4, WIDTH // 4
SLOTS = 5


@dataclass(frozen=True)
class Wish:
    """One request. `guidance` is classifier-free; `embedded` the network's input where it has one."""

    prompt: str
    negative: str
    seed: int
    guidance: float
    steps: int
    solver: str
    embedded: float = 3.5

    @property
    def sigmas(self) -> np.ndarray:
        """A clustered grid that no stock scheduler would make; every third one starts below 1."""
        start = 0.97 if self.seed % 3 == 0 else 1.0
        return start * np.linspace(1.0, 0.0, self.steps + 1) ** 1.6


def wishes() -> list[Wish]:
    """Every budget from 1 to 20; three solvers, guided and not; prompts of 0 to 20 words, negative ones of 0 to 6."""
    red, pair = "a red circle on a white background", "an orange star left of a pink square on a gray background"
    long = "a small dragon in the foggy harbour painted with wide brush strokes and three green dog on a blue circle"
    return [
        Wish(red, "blue", 1, 1.0, 1, "euler", 2.0),
        Wish(pair, "", 2, 4.0, 2, "dpmpp-2m"),
        Wish(long, "blue", 3, 2.5, 3, "unipc-2", 1.0),
        Wish("", "a dog", 4, 1.5, 4, "euler", 7.0),
        Wish(pair, "", 5, 1.0, 5, "unipc-2"),
        Wish(red, "green", 6, 3.0, 7, "dpmpp-2m", 5.0),
        Wish(long, "", 7, 2.0, 8, "euler"),
        Wish("dog", "two three", 8, 1.0, 10, "dpmpp-2m", 1.5),
        Wish(long, "a blue square in the foggy morning", 9, 5.0, 13, "unipc-2"),
        Wish(red, "", 10, 1.5, 16, "dpmpp-2m"),
        Wish(pair, "small", 11, 2.0, 18, "unipc-2", 2.5),
        Wish("a dog", "", 12, 3.0, 20, "euler"),
        Wish(pair, "blue", 13, 1.0, 6, "euler", 4.0),
        Wish("", "", 14, 6.0, 9, "unipc-2"),
        Wish(red, "a dog", 15, 2.5, 11, "dpmpp-2m", 1.0),
        Wish(long, "", 16, 1.0, 12, "unipc-2"),
        Wish("dog", "green", 17, 3.5, 14, "euler", 6.0),
        Wish(pair, "", 18, 1.0, 15, "dpmpp-2m"),
        Wish(long, "two three", 19, 4.5, 17, "euler"),
        Wish(red, "", 20, 2.0, 19, "unipc-2", 3.0),
    ]


class OwnGrid:
    """A stock multistep scheduler on a grid of the caller's, which it would else quantise or refuse."""

    grid: np.ndarray

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, sigmas: Any = None, mu: Any = None
    ) -> None:
        super().set_timesteps(len(self.grid) - 1, device=device)
        self.timesteps = torch.tensor(1000 * self.grid[:-1], dtype=torch.float32)
        # As stock UniPC does: at pure noise the first step would be endless.
        self.sigmas = torch.tensor(np.minimum(self.grid, PURE_NOISE))


class UniPC(OwnGrid, UniPCMultistepScheduler):
    pass


class DPMSolver(OwnGrid, DPMSolverMultistepScheduler):
    pass


def scheduler_for(wish: Wish) -> Any:
    if wish.solver == "euler":
        return FlowMatchEulerDiscreteScheduler()
    kind = {"unipc-2": UniPC, "dpmpp-2m": DPMSolver}[wish.solver]
    scheduler = kind(**FLOW)
    scheduler.grid = wish.sigmas
    return scheduler


Arguments = Callable[[Wish], dict[str, Any]]
"""A request's guidance in the words of a stock pipeline's `__call__`."""

Spatial = Callable[[Tensor], Tensor]
"""A stock pipeline's latents, shape (1, ...), as (channels, height, width)."""


@dataclass(frozen=True)
class Stock:
    """The stock pipeline, how a request is put to it, and how its latents are laid out as ours."""

    pipeline: Any
    arguments: Arguments
    spatial: Spatial

    def draw(self, wish: Wish) -> tuple[Tensor, np.ndarray]:
        """Final latents and 8-bit picture of one call."""
        self.pipeline.scheduler = scheduler_for(wish)
        seen: list[Tensor] = []

        def keep(_pipeline: Any, _step: int, _time: Any, kept: dict[str, Tensor]) -> dict[str, Tensor]:
            seen.append(kept["latents"])
            return kept

        picture = self.pipeline(
            prompt=wish.prompt,
            height=HEIGHT,
            width=WIDTH,
            generator=torch.Generator().manual_seed(wish.seed),
            num_inference_steps=wish.steps,
            sigmas=wish.sigmas[:-1].tolist() if wish.solver == "euler" else None,
            callback_on_step_end=keep,
            output_type="pil",
            **self.arguments(wish),
        ).images[0]
        assert len(seen) == wish.steps
        return self.spatial(seen[-1]), np.asarray(picture)


def draw_together(family: Family, chosen: Sequence[Wish], slots: int = SLOTS) -> list[Tensor]:
    """Two requests join at each turn while there is room; all that are there step together."""
    runner, waiting = Runner(Networks(family, max_rows=64), slots=slots), list(enumerate(chosen))
    left: dict[str, int] = {}
    latents: dict[str, Tensor] = {}
    while waiting or left:
        for index, wish in waiting[: min(2, slots - len(left))]:
            left[str(index)] = admit(runner, family, str(index), wish)
        waiting = [pair for pair in waiting if str(pair[0]) not in left and str(pair[0]) not in latents]
        assert not runner.step(list(left))
        left = {name: count - 1 for name, count in left.items()}
        for name in [name for name, count in left.items() if count == 0]:
            latents[name] = runner.results([name])[0]
            runner.release(name)
            del left[name]
    return [latents[str(index)] for index in range(len(chosen))]


def admit(runner: Runner, family: Family, name: str, wish: Wish) -> int:
    """The number of evaluations that the request has before it."""
    table = compile_table(wish.solver, wish.sigmas, "flow")
    texts = [*family.encode([wish.prompt]), *family.encode([wish.negative], negative=True)]
    embeds = getattr(texts[0], "guidance", None) is not None
    scales = (wish.embedded, wish.guidance) if embeds else (wish.guidance, 1.0)
    (positive, negative), scale = hand_over_guidance(texts, *scales)
    assert scale == wish.guidance
    runner.admit(name, Spec(table, scale, wish.seed, family.latent_shape(WIDTH, HEIGHT), positive, negative))
    return table.evaluations_count


def check(family: Family, stock: Stock, chosen: Sequence[Wish]) -> None:
    """Every request of a mixed batch equals the stock pipeline's own call, alone: latents and pictures."""
    together = draw_together(family, chosen)
    pictures = family.decode(torch.stack(together))
    for wish, latent, picture in zip(chosen, together, pictures, strict=True):
        alone, stock_picture = stock.draw(wish)
        worst = float((latent - alone).abs().max())
        assert worst <= 1e-4 * max(1.0, float(alone.abs().max())), (wish, worst)
        assert np.abs(stock_picture.astype(np.int16) - picture.astype(np.int16)).max() <= 1, wish


def load(pipeline: DiffusionPipeline, arguments: Arguments, spatial: Spatial) -> tuple[Family, Stock]:
    """The adapter as a worker loads it, with a card that is derived, and the stock pipeline; both from one folder."""
    awaken(pipeline.transformer)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tiny"
        pipeline.save_pretrained(folder)
        ours = models.load(str(folder), torch.device("cpu"))
        stock = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    return ours.family, Stock(stock, arguments, spatial)


@torch.no_grad()
def awaken(network: nn.Module, seed: int = 0) -> None:
    """Weights large enough that every input matters to the output; as libraries initialise them, some are zero."""
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        if weight.ndim >= 2:
            weight.normal_(0.0, 1 / math.sqrt(weight[0].numel()), generator=generator)
        else:
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


def unpacked(packed: Tensor) -> Tensor:
    """Tokens of 2 x 2, as the stock pipelines of FLUX.1 and Qwen-Image pack them, as a latent."""
    return from_patches(packed, *LATENT_SIDES)[0]


def assert_heeded(family: Family, texts: Sequence[Any], times: Sequence[float]) -> None:
    """Each text and each time gives another output: none is lost on the way to the network."""
    shape = family.latent_shape(WIDTH, HEIGHT)
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).expand(len(texts), *shape)
    outputs = family.denoise(x, torch.tensor(times), texts)
    for i, one in enumerate(outputs):
        for other in outputs[i + 1 :]:
            assert float((one - other).abs().max()) > 1e-2


def assert_company_is_unheard(family: Family, texts: Sequence[Any], time: float = 700.0) -> None:
    """A row's output is what it is alone, whatever the length of its neighbours' prompts."""
    x = torch.randn(len(texts), *family.latent_shape(WIDTH, HEIGHT), generator=torch.Generator().manual_seed(1))
    times = torch.full((len(texts),), time)
    together = family.denoise(x, times, texts)
    for i, text in enumerate(texts):
        alone = family.denoise(x[i : i + 1], times[:1], [text])[0]
        torch.testing.assert_close(together[i], alone, rtol=0, atol=2e-5)
