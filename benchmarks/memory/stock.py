"""Draw a batch in one call of the stock pipeline, and print what memory that took.

    python -m benchmarks.memory.stock ASKED

Started by `python -m benchmarks.memory`; imports nothing of the engine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from benchmarks.memory.peak import Asked, print_taken
from benchmarks.real_size import build


def main() -> None:
    """Draw what the first argument asks for, as JSON."""
    asked = Asked(**json.loads(sys.argv[1]))
    device = torch.device(asked.device)
    pipeline = _load(asked, device)

    def draw() -> list[tuple[int, int]]:
        images = pipeline(
            prompt=list(asked.prompts),
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance_scale,
            width=asked.side,
            height=asked.side,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in range(len(asked.prompts))],
        ).images
        return [(image.height, image.width) for image in images]

    print_taken(device, draw)


def _load(asked: Asked, device: torch.device) -> DiffusionPipeline:
    if asked.folder is None:
        return build(asked.model, device, asked.torch_dtype)
    folder = Path(asked.folder)
    index = json.loads((folder / "model_index.json").read_text())
    missing = {part: None for part, kind in index.items() if kind == [None, None]}
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=asked.torch_dtype, local_files_only=True, **missing)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


if __name__ == "__main__":
    main()
