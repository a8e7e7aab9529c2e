"""Save a trained shapes-64 in the stock layout, and judge it: `python -m workers.shapes.export`.

Prints the six tasks' scores on held-out prompts and writes the model card with them.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline
from rich.progress import Progress

from workers.families.sd3 import Sd3Family
from workers.models import weights_sha256
from workers.shapes.architecture import build_pipeline, build_tokenizer, build_vae
from workers.shapes.recipe import history_of
from workers.shapes.score import score, task_prompts
from workers.shapes.train_flow import FlowModel
from workers.shapes.train_vae import round_trip_db

_CHUNK = 60


def main() -> None:
    """Read the command line, assemble, judge and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/shapes"), help="the training's checkpoints")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="where the model goes")
    parser.add_argument("--prompts", type=int, default=600, help="held-out prompts to judge on")
    parser.add_argument("--steps", type=int, default=50, help="Euler steps to judge with")
    parser.add_argument("--guidance", type=float, default=1.5, help="guidance scale to judge with")
    parser.add_argument("--dry", action="store_true", help="judge, but save nothing")
    options = parser.parse_args()
    pipeline, facts = assemble(options.folder)
    facts |= judge(pipeline, prompts=options.prompts, steps=options.steps, guidance=options.guidance)
    print(json.dumps(facts, indent=1))
    if not options.dry:
        save(pipeline, options.out, facts)


def assemble(folder: Path, round_trips: int = 256) -> tuple[StableDiffusion3Pipeline, dict[str, Any]]:
    """The pipeline from the training's checkpoints, with the averaged weights rounded to float16, in float32.

    Args:
        folder: where the checkpoints lie.
        round_trips: pictures that the autoencoder is judged on.

    Returns:
        The pipeline, and what the model card says about its training.
    """
    tokenizer = build_tokenizer()
    vae, vae_steps = _load_vae(folder)
    state = torch.load(folder / "flow.pt", weights_only=True, map_location="cpu")
    history = history_of(state)
    flow = FlowModel(history.recipe, tokenizer)
    prefix = "module."
    flow.load_state_dict({k.removeprefix(prefix): v for k, v in state["average"].items() if k.startswith(prefix)})
    parts = {"transformer": flow.transformer, "text_encoder": flow.text_encoder, "text_encoder_2": flow.text_encoder_2}
    for part in (vae, *parts.values()):
        part.half().float().eval()
    pipeline = build_pipeline(vae=vae, tokenizer=tokenizer, **parts)
    pipeline.set_progress_bar_config(disable=True)
    steps = int(state["step"])
    return pipeline, {
        "flow_steps": steps,
        "training": history.told(steps, vae_steps),
        "round_trip_db": round_trip_db(vae, torch.device("cpu"), round_trips),
    }


def _load_vae(folder: Path) -> tuple[AutoencoderKL, int]:
    """The autoencoder, and the steps that it was trained for."""
    vae = build_vae()
    state = torch.load(folder / "vae.pt", weights_only=True, map_location="cpu")
    vae.load_state_dict(state["vae"])
    pool = torch.load(folder / "pool.pt", weights_only=True, mmap=True)
    vae.register_to_config(scaling_factor=float(pool["scale"]), shift_factor=float(pool["shift"]))
    return vae, int(state["step"])


@torch.inference_mode()
def judge(pipeline: StableDiffusion3Pipeline, *, prompts: int, steps: int, guidance: float) -> dict[str, Any]:
    """Scores of the six tasks on held-out prompts, drawn with uniform Euler steps."""
    tasks = task_prompts(prompts, seed=7)
    family = Sd3Family(pipeline)
    pictures = []
    with Progress() as progress:
        bar = progress.add_task("judging", total=prompts)
        for first in range(0, prompts, _CHUNK):
            sentences = [str(prompt) for _, prompt in tasks[first : first + _CHUNK]]
            pictures.append(_draw(family, sentences, first, steps, guidance))
            progress.update(bar, advance=len(sentences))
    scores = score(tasks, np.concatenate(pictures))
    return {"prompts": prompts, "teacher_steps": steps, "guidance_scale": guidance, "scores": scores}


def _draw(family: Sd3Family, sentences: list[str], first_seed: int, steps: int, guidance: float) -> np.ndarray:
    positive, negative = family.encode(sentences), family.encode([""]) * len(sentences)
    x = torch.randn(len(sentences), *family.latent_shape(64, 64), generator=torch.Generator().manual_seed(first_seed))
    sigmas = torch.linspace(1, 0, steps + 1)
    for sigma, following in pairwise(sigmas):
        t = torch.full((2 * len(x),), 1000 * float(sigma))
        conditional, unconditional = family.denoise(torch.cat([x, x]), t, positive + negative).chunk(2)
        x = x + (following - sigma) * (unconditional + guidance * (conditional - unconditional))
    return family.decode(x)


def save(pipeline: StableDiffusion3Pipeline, out: Path, facts: dict[str, Any]) -> None:
    """Write the stock layout with float16 weights, and the model card."""
    for name in ("vae", "transformer", "text_encoder", "text_encoder_2"):
        getattr(pipeline, name).half()
    pipeline.save_pretrained(out, safe_serialization=True)
    for name in ("text_encoder", "text_encoder_2"):
        # transformers loads in the dtype that its config names, diffusers in float32; a plain load must not mix them.
        config = out / name / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")
    (out / "README.md").write_text(_card(facts))
    print(f"weights_sha256 {weights_sha256(out)}, for the model's card")


def _card(facts: dict[str, Any]) -> str:
    training = "\n".join(f"- {line}" for line in facts["training"])
    rows = "\n".join(f"| {task} | {share:.3f} |" for task, share in facts["scores"].items())
    return f"""# shapes-64

A text-to-image flow-matching model of 64x64 pictures: one shape, two related shapes, or two or three equal shapes, in
eight colours on three backgrounds. Stock StableDiffusion3Pipeline layout, float16 weights, Apache-2.0.

    from diffusers import StableDiffusion3Pipeline
    pipe = StableDiffusion3Pipeline.from_pretrained(FOLDER, text_encoder_3=None, tokenizer_3=None)
    pipe("a red circle above a blue square on a gray background", guidance_scale={facts["guidance_scale"]}).images[0]

Trained for {facts["flow_steps"]:,} steps:

{training}

Saved and judged by `python -m workers.shapes.export` on {datetime.now(UTC).date()}.

| figure | value |
|---|---|
| autoencoder's round trip | {facts["round_trip_db"]:.2f} dB |
{rows}

Scores: share of {facts["prompts"]} held-out prompts that the recogniser finds fulfilled, {facts["teacher_steps"]}
uniform Euler steps, guidance scale {facts["guidance_scale"]}.
"""


if __name__ == "__main__":
    main()
