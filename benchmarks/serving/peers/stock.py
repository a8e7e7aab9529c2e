"""The stock diffusers pipeline, as every peer uses it."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from pydantic import BaseModel

from workers.model_folder import find_folder


class Wish(BaseModel):
    """The body of a request, with diffusers' own names."""

    prompt: str
    num_inference_steps: int
    guidance_scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class Options:
    """What every peer is told."""

    model: str
    port: int
    threads: int
    device: str
    batch: int
    wait_s: float


def read_options() -> Options:
    """From the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="a shipped model or a folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True, help="of torch on the CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8, help="most requests of a batch, where there are batches")
    parser.add_argument("--wait-s", type=float, default=0.05, help="longest wait until a batch is full")
    return Options(**vars(parser.parse_args()))


def load(options: Options) -> DiffusionPipeline:
    """The pipeline of the model's folder, in float32, warmed up."""
    torch.set_num_threads(options.threads)
    folder = find_folder(options.model)
    index = json.loads((folder / "model_index.json").read_text())
    absent = {name: None for name, library in index.items() if library == [None, None]}
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, **absent).to(options.device)
    pipeline.set_progress_bar_config(disable=True)
    draw(
        pipeline, [Wish(prompt="a red circle on a white background", num_inference_steps=2, guidance_scale=1.5, seed=0)]
    )
    return pipeline


def draw(pipeline: DiffusionPipeline, wishes: Sequence[Wish]) -> list[bytes]:
    """One pipeline call for requests of equal step count and guidance scale; a PNG for each."""
    pictures = pipeline(
        prompt=[wish.prompt for wish in wishes],
        num_inference_steps=wishes[0].num_inference_steps,
        guidance_scale=wishes[0].guidance_scale,
        generator=[torch.Generator().manual_seed(wish.seed) for wish in wishes],
    ).images
    return [_png(picture) for picture in pictures]


def draw_grouped(pipeline: DiffusionPipeline, wishes: Sequence[Wish]) -> list[bytes]:
    """A pipeline call for each group of equal step count and guidance scale, the shortest first; PNGs in order."""
    groups: dict[tuple[int, float], list[int]] = {}
    for place, wish in enumerate(wishes):
        groups.setdefault((wish.num_inference_steps, wish.guidance_scale), []).append(place)
    drawn: dict[int, bytes] = {}
    for _, places in sorted(groups.items()):
        drawn.update(zip(places, draw(pipeline, [wishes[place] for place in places]), strict=True))
    return [drawn[place] for place in range(len(wishes))]


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
