"""Teach a narrower network what shapes-64 does: `python -m workers.shapes.train_smaller`. Interrupt it at will.

The student sees the noisy latents and the text that the model's own network sees, and learns its velocity (distillation
as in Luhman and Luhman 2021, one evaluation for one evaluation). It is saved beside the model, where rows of a schedule
may name it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F

from pacer.derived_card import SMALLER
from workers.families.folded_text import FoldedTextProcessor
from workers.models import SHIPPED, load, weights_sha256
from workers.shapes.architecture import build_tokenizer, build_transformer
from workers.shapes.averaged import train_averaged
from workers.shapes.pool import Pool, load_or_build_pool, tokenize
from workers.shapes.recipe import FlowRecipe
from workers.shapes.train import progress_bar
from workers.shapes.train_flow import FlowModel, draw_batch, plain_attention, velocity

_JUDGED = 512  # latents that the student is judged on
_MODEL = "shapes-64"


def main() -> None:
    """Read the command line, train, judge and save."""
    options = _options()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pipeline = load(_MODEL, device).pipeline
    teacher = _teacher(pipeline).to(device)
    recipe = FlowRecipe(options.steps, width=options.width, prompt_dropout=0.3, peak_rate=options.rate)
    tokenizer = build_tokenizer()
    with progress_bar() as progress:
        pool = load_or_build_pool(options.folder / "pool.pt", pipeline.vae, tokenizer, options.pictures, progress)
        student = distil(options.folder, teacher, pool, recipe, device=device, progress=progress)
    student = student.half().float().eval()
    print(f"error {error(student, teacher, pool, recipe, device):.5f} of the velocity's mean square, {_JUDGED} latents")
    out = SHIPPED[_MODEL] / SMALLER / options.name
    student.half().save_pretrained(out, safe_serialization=True)
    print(f"{out}: weights_sha256 {weights_sha256(out)}, for the model's card")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/shapes-half"), help="checkpoint and latents")
    parser.add_argument("--name", default="half", help="what schedules call the network")
    parser.add_argument("--width", type=int, default=64, help="channels of a token, a multiple of 32")
    parser.add_argument("--steps", type=int, default=8_000, help="optimiser steps")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="highest learning rate")
    parser.add_argument("--pictures", type=int, default=20_000, help="pictures in the pool of latents")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; by default the best there is")
    parser.add_argument("--threads", type=int, default=0, help="torch threads on the CPU")
    return parser.parse_args()


def _teacher(pipeline: StableDiffusion3Pipeline) -> FlowModel:
    """The model's own networks, which learn no more."""
    teacher = FlowModel(FlowRecipe(), build_tokenizer())
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        getattr(teacher, name).load_state_dict(getattr(pipeline, name).state_dict())
    return teacher.eval().requires_grad_(requires_grad=False)


def distil(
    folder: Path,
    teacher: FlowModel,
    pool: Pool,
    recipe: FlowRecipe,
    *,
    device: torch.device,
    progress: Progress,
) -> SD3Transformer2DModel:
    """Train, or go on with the checkpoint in the folder; returns the averaged network.

    The batch and the noise of a step are functions of its number, so an interrupted run and a whole one agree.
    """
    torch.manual_seed(0)
    student = build_transformer(recipe.width, recipe.layers).to(device)
    student.set_attn_processor(FoldedTextProcessor(attend=plain_attention))
    nothing = tokenize(build_tokenizer(), [""]).to(device)

    def loss(step: int) -> Tensor:
        return _loss(student, teacher, draw_batch(pool, recipe, step, nothing, device))

    return train_averaged(
        student, folder / f"width{recipe.width}.pt", recipe, loss,
        pictures=len(pool.latents), device=device, progress=progress, name="student",
    )  # fmt: skip


def _loss(student: SD3Transformer2DModel, teacher: FlowModel, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    latents, tokens, sigma, noise = batch
    blend = sigma[:, None, None, None]
    noisy = (1 - blend) * latents + blend * noise
    with torch.autocast(latents.device.type, dtype=torch.bfloat16):
        with torch.no_grad():
            text = teacher.read(tokens)
            wanted = velocity(teacher.transformer, noisy, sigma, text)
        predicted = velocity(student, noisy, sigma, text)
    return F.mse_loss(predicted.float(), wanted.float())


@torch.no_grad()
def error(
    student: SD3Transformer2DModel, teacher: FlowModel, pool: Pool, recipe: FlowRecipe, device: torch.device
) -> float:
    """The student's squared error in the velocity, of the velocity's own mean square, on noise that it never saw."""
    nothing = tokenize(build_tokenizer(), [""]).to(device)
    off, size = 0.0, 0.0
    for number in range(-(-_JUDGED // recipe.batch_size)):
        latents, tokens, sigma, noise = draw_batch(pool, recipe, -1 - number, nothing, device)
        blend = sigma[:, None, None, None]
        noisy, text = (1 - blend) * latents + blend * noise, teacher.read(tokens)
        wanted = velocity(teacher.transformer, noisy, sigma, text)
        off += float((velocity(student, noisy, sigma, text) - wanted).square().mean())
        size += float(wanted.square().mean())
    return off / size


if __name__ == "__main__":
    main()
