"""Train shapes-64 from nothing: `python -m workers.shapes.train`. Interrupt it at will, it goes on where it was.

The autoencoder comes first, then its latents of a pool of pictures, then the flow with its text encoders. The
defaults are the settings that the shipped weights ended with; their card says with which ones they began.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from workers.shapes.architecture import build_tokenizer
from workers.shapes.pool import load_or_build_pool
from workers.shapes.recipe import FlowRecipe
from workers.shapes.train_flow import train_flow
from workers.shapes.train_vae import train_vae

_RECIPE = FlowRecipe()


def main() -> None:
    """Read the command line and train."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    tokenizer = build_tokenizer()
    with progress_bar() as progress:
        vae = train_vae(options.folder, steps=options.vae_steps, batch_size=16, device=device, progress=progress).eval()
        pool = load_or_build_pool(options.folder / "pool.pt", vae, tokenizer, options.pictures, progress)
        recipe = FlowRecipe(options.flow_steps, count_share=options.count_share, sigma_mean=options.sigma_mean)
        train_flow(options.folder, pool, tokenizer, recipe, device=device, progress=progress, compiled=options.compile)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/shapes"), help="checkpoints and latents")
    parser.add_argument("--vae-steps", type=int, default=2_200, help="optimiser steps of the autoencoder")
    parser.add_argument("--flow-steps", type=int, default=_RECIPE.steps, help="optimiser steps of the flow")
    parser.add_argument("--pictures", type=int, default=80_000, help="pictures in the pool of latents")
    parser.add_argument("--count-share", type=float, default=_RECIPE.count_share, help="of counting prompts in a batch")
    parser.add_argument("--sigma-mean", type=float, default=_RECIPE.sigma_mean, help="of the logit-normal noise levels")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; by default the best there is")
    parser.add_argument("--threads", type=int, default=0, help="torch threads on the CPU")
    parser.add_argument("--compile", action="store_true", help="compile the network's blocks before training")
    return parser.parse_args()


def progress_bar() -> Progress:
    """How far a training is, and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        refresh_per_second=1,
    )


if __name__ == "__main__":
    main()
