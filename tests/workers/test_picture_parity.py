"""Requests that start from pictures, mixed in one batch with others, each against the stock pipeline alone."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
    UniPCMultistepScheduler,
)
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor

from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, PictureFiles, PictureInput, Plan, TableMessage
from schedules.compile import compile_from_image, compile_table
from schedules.table import Table
from tests.workers.conftest import load_stock
from tests.workers.test_engine_parity import Recording, draw_all
from workers.engine import Engine
from workers.models import SHIPPED

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
RED, PAIR = "a red circle on a white background", "an orange star left of a pink square on a gray background"
NEARLY_ALL = 0.9999  # at 1 the stock pipeline starts from noise


class FlowDpm(DPMSolverMultistepScheduler):
    """Under the name by which the stock pipeline of a flow asks for it."""

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        return self.add_noise(sample, noise, timestep)


class FlowUniPc(UniPCMultistepScheduler):
    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        return self.add_noise(sample, noise, timestep)


def picture() -> Image.Image:
    """A slope of colours with a disc on it."""
    rows, columns = np.mgrid[0:64, 0:64]
    pixels = np.stack([4 * rows, 4 * columns, 255 - 2 * rows - columns], axis=-1)
    pixels[(rows - 20) ** 2 + (columns - 40) ** 2 < 150] = (250, 20, 30)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def mask(kind: str) -> Image.Image:
    if kind == "binary":
        levels = np.zeros((64, 64))
        levels[8:40, 20:64] = 255
    else:
        levels = np.add.outer(np.linspace(0, 200, 64), np.linspace(0, 55, 64))
    return Image.fromarray(levels.astype(np.uint8))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class Wish:
    """One request; its start is the first sigma of Euler, and half of a stock grid for the others."""

    prompt: str
    seed: int
    guidance: float
    steps: int
    solver: str
    start: float = 0.7
    mask: str | None = None
    from_noise: bool = False

    def scheduler(self) -> object:
        made = {"euler": FlowMatchEulerDiscreteScheduler(), "dpmpp-2m": FlowDpm(**FLOW), "unipc-2": FlowUniPc(**FLOW)}
        return made[self.solver]

    def sigmas(self) -> np.ndarray:
        if self.solver == "euler":
            return self.start * np.linspace(1.0, 0.0, self.steps + 1) ** 1.3
        return self._laid_out().sigmas.double().numpy()[self.steps :]

    def _laid_out(self) -> DPMSolverMultistepScheduler:
        scheduler = self.scheduler()
        scheduler.set_timesteps(2 * self.steps)
        return scheduler

    def table(self) -> Table:
        masked, noisy = self.mask is not None, self.from_noise
        table = compile_from_image(self.solver, self.sigmas(), "flow", masked=masked, from_noise=noisy)
        if self.solver == "euler":
            return table
        # Stock multistep schedulers round a flow's times to integers.
        rounded = self._laid_out().timesteps.double().numpy()[self.steps :]
        return Table(rounded, table.c, table.w, table.uncond, table.X, table.base, table.original)

    def draw_alone(self, stock: StableDiffusion3Pipeline, output_type: str) -> object:
        parts = {**stock.components, "scheduler": self.scheduler()}
        kind = StableDiffusion3Img2ImgPipeline if self.mask is None else StableDiffusion3InpaintPipeline
        pipeline = kind(**parts)
        pipeline.set_progress_bar_config(disable=True)
        call: dict[str, object] = {"image": picture(), "output_type": output_type}
        if self.mask is not None:
            pipeline.mask_processor = VaeImageProcessor(
                vae_scale_factor=pipeline.vae_scale_factor, do_normalize=False, do_binarize=False,
                do_convert_grayscale=True,
            )  # fmt: skip
            call |= {"mask_image": mask(self.mask), "width": 64, "height": 64}
        if self.solver == "euler":
            strength = NEARLY_ALL if self.mask and not self.from_noise else 1.0
            call |= {"sigmas": list(self.sigmas()[:-1]), "strength": strength}
        else:
            call |= {"num_inference_steps": 2 * self.steps, "strength": 0.5}
        generator = torch.Generator().manual_seed(self.seed)
        return pipeline(
            self.prompt, negative_prompt="", guidance_scale=self.guidance, generator=generator, **call
        ).images[0]

    def claim(self) -> Claim:
        table = self.table()
        plan = Plan("tiny", "custom", self.solver, self.steps, self.steps, tuple(self.sigmas().tolist()), None, None)
        said = PictureInput(64, 64, mask="white" if self.mask else None)
        files = PictureFiles(png(picture()), png(mask(self.mask)) if self.mask else b"")
        job = Job(
            id=new_job_id("tiny"), prompt=self.prompt, negative_prompt="", seed=self.seed, width=64, height=64,
            guidance_scale=self.guidance, plan=plan, table=TableMessage.of(table), picture=said,
        )  # fmt: skip
        return Claim(job, 1, 1, 0, 0, files)


def wishes() -> list[Wish]:
    return [
        Wish(RED, 1, 1.0, 1, "euler"),
        Wish(PAIR, 2, 2.5, 4, "euler", 0.3),
        Wish(RED, 3, 4.0, 10, "euler", 0.95),
        Wish(PAIR, 4, 1.5, 4, "dpmpp-2m"),
        Wish(RED, 5, 2.0, 10, "unipc-2"),
        Wish(RED, 6, 2.5, 1, "euler", 0.6, "binary"),
        Wish(PAIR, 7, 2.5, 4, "euler", 0.8, "soft"),
        Wish(RED, 8, 1.0, 10, "euler", 0.9, "binary"),
        Wish(PAIR, 9, 3.0, 10, "dpmpp-2m", mask="binary"),
        Wish(RED, 10, 1.5, 4, "dpmpp-2m", mask="soft"),
        Wish(PAIR, 11, 2.0, 10, "unipc-2", mask="soft"),
        Wish(RED, 12, 1.5, 10, "euler", 1.0, "soft", from_noise=True),
        Wish(PAIR, 13, 1.5, 1, "dpmpp-2m", mask="binary"),
    ]


def plain_claim(steps: int) -> Claim:
    """Text to image, which shares the batch."""
    sigmas = np.linspace(1.0, 0.0, steps + 1)
    plan = Plan("tiny", "uniform", "ab2", steps, steps, tuple(sigmas.tolist()), None, None)
    job = Job(
        id=new_job_id("tiny"), prompt=RED, negative_prompt="", seed=77, width=64, height=64, guidance_scale=2.0,
        plan=plan, table=TableMessage.of(compile_table("ab2", sigmas, "flow")),
    )  # fmt: skip
    return Claim(job, 1, 1, 0, 0)


def engine_of(family: Recording, **options: object) -> Engine:
    return Engine(family, **{"slots": 6, "max_rows": 7, "best_effort_slack_s": 60.0, **options})


def draw_together(folder: Path, claims: list[Claim], **options: object) -> dict[str, tuple[Tensor, np.ndarray]]:
    family = Recording(load_stock(folder))
    drawn, _ = draw_all(engine_of(family, **options), claims, np.random.default_rng(0))
    return {one.claim.job.id: (latent, one.pixels) for one, latent in zip(drawn, family.decoded, strict=True)}


def check(folder: Path, chosen: list[Wish]) -> None:
    stock = load_stock(folder)
    stock.transformer.register_to_config(in_channels=16)  # the stock inpainting pipeline blends at 16 alone
    claims = {wish: wish.claim() for wish in chosen}
    plain = [plain_claim(steps) for steps in (3, 8)]
    edits = list(claims.values())
    results = draw_together(folder, [*edits[:1], plain[0], *edits[1:4], plain[1], *edits[4:]])
    for wish, claim in claims.items():
        latent, pixels = results[claim.job.id]
        alone = wish.draw_alone(stock, "latent")
        assert isinstance(alone, Tensor)
        assert float((latent - alone).abs().max()) <= 1e-4 * max(1.0, float(alone.abs().max())), wish
        if wish.mask is None:  # the stock inpainting pipeline decodes without the autoencoder's shift
            seen = np.asarray(wish.draw_alone(stock, "pil"), dtype=np.int16)
            assert np.abs(seen - pixels.astype(np.int16)).max() <= 1, wish
    alone = draw_together(folder, plain)
    for claim in plain:
        torch.testing.assert_close(results[claim.job.id][0], alone[claim.job.id][0], rtol=0, atol=2e-5)


def test_mixed_requests_match_the_stock_pipelines_alone(tiny_folder: Path) -> None:
    check(tiny_folder, wishes())


def test_the_shipped_model_edits_as_stock_diffusers_does() -> None:
    check(SHIPPED["shapes-64"], [wishes()[place] for place in (1, 2, 3, 6, 8, 10)])
