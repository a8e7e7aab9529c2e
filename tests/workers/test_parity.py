"""The engine's batch of mixed requests gives each the picture that the stock pipeline gives it alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusion3Pipeline,
    UniPCMultistepScheduler,
)

from schedules.compile import compile_table
from schedules.probe import probe
from schedules.table import Table
from tests.workers.conftest import load_stock
from workers.families.sd3 import Sd3Family
from workers.models import SHIPPED
from workers.networks import Networks
from workers.runner import Runner, Spec

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}


@dataclass(frozen=True)
class Wish:
    """One request: its scheduler is None where it brings sigmas of its own for Euler."""

    prompt: str
    negative: str
    seed: int
    guidance: float
    steps: int
    scheduler: object | None = None

    def sigmas(self) -> np.ndarray:
        """A clustered grid that no stock scheduler would make."""
        return np.linspace(1.0, 0.0, self.steps + 1) ** 1.7

    def table(self) -> Table:
        if self.scheduler is None:
            return compile_table("euler", self.sigmas(), "flow")
        return probe(self.scheduler, self.steps)

    def draw_alone(self, pipeline: StableDiffusion3Pipeline, output_type: str) -> object:
        pipeline.scheduler = self.scheduler or FlowMatchEulerDiscreteScheduler()
        grid = {"sigmas": list(self.sigmas()[:-1])} if self.scheduler is None else {"num_inference_steps": self.steps}
        return pipeline(
            self.prompt,
            negative_prompt=self.negative,
            guidance_scale=self.guidance,
            generator=torch.Generator().manual_seed(self.seed),
            output_type=output_type,
            **grid,
        ).images[0]


def wishes() -> list[Wish]:
    red, pair = "a red circle on a white background", "an orange star left of a pink square on a gray background"
    unipc, dpm = UniPCMultistepScheduler(**FLOW), DPMSolverMultistepScheduler(**FLOW)
    shifted = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return [
        Wish(red, "", 1, 1.0, 1),
        Wish(red, "", 2, 1.5, 2),
        Wish(pair, "blue", 3, 4.0, 3),
        Wish(pair, "", 4, 1.5, 20),
        Wish("", "", 5, 3.0, 7),
        Wish("a dragon", "a dog", 6, 7.5, 11),
        Wish(red, "", 7, 1.5, 6, unipc),
        Wish(pair, "green", 8, 2.0, 13, unipc),
        Wish(red, "", 9, 1.0, 5, dpm),
        Wish(pair, "", 10, 3.0, 16, dpm),
        Wish(pair, "", 11, 1.0, 9, shifted),
        Wish(red, "two", 12, 2.5, 18, shifted),
    ]


def draw_together(family: Sd3Family, chosen: list[Wish]) -> list[torch.Tensor]:
    """Two requests join at each turn; all that are there step together."""
    runner, waiting = Runner(Networks(family, max_rows=64), slots=4), list(enumerate(chosen))
    left: dict[str, int] = {}
    latents: dict[int, torch.Tensor] = {}
    while waiting or left:
        while waiting and len(left) < 4:
            index, wish = waiting.pop(0)
            positive, negative = family.encode([wish.prompt, wish.negative])
            table = wish.table()
            shape = family.latent_shape(64, 64)
            runner.admit(str(index), Spec(table, wish.guidance, wish.seed, shape, positive, negative))
            left[str(index)] = table.evaluations_count
        assert not runner.step(list(left))
        left = {name: count - 1 for name, count in left.items()}
        for name in [name for name, count in left.items() if count == 0]:
            latents[int(name)] = runner.results([name])[0]
            runner.release(name)
            del left[name]
    return [latents[index] for index in range(len(chosen))]


def check(family: Sd3Family, stock: StableDiffusion3Pipeline, chosen: list[Wish]) -> None:
    together = draw_together(family, chosen)
    pixels = family.decode(torch.stack(together))
    for wish, latent, picture in zip(chosen, together, pixels, strict=True):
        alone = wish.draw_alone(stock, "latent")
        assert isinstance(alone, torch.Tensor)
        limit = 1e-4 * max(1.0, float(alone.abs().max()))
        assert float((latent - alone).abs().max()) <= limit, wish
        stock_pixels = np.asarray(wish.draw_alone(stock, "pil"), dtype=np.int16)
        assert np.abs(stock_pixels - picture.astype(np.int16)).max() <= 1, wish


def test_mixed_requests_match_the_stock_pipeline_alone(family: Sd3Family, stock: StableDiffusion3Pipeline) -> None:
    check(family, stock, wishes())


def test_the_shipped_model_draws_what_stock_diffusers_draws() -> None:
    folder: Path = SHIPPED["shapes-64"]
    check(Sd3Family(load_stock(folder)), load_stock(folder), [wishes()[i] for i in (2, 6, 9)])
