"""The most memory that a batch takes: in the engine, whose requests step together, and in one stock pipeline call.

    python -m benchmarks.memory [--model shapes-64] [--batch 8] [--steps 20] [--json benchmarks/results/memory.json]
    python -m benchmarks.memory --model sd3.5-medium --dtype bfloat16 --size 256 --steps 2 --repeats 1

Both draw guided pictures of the same prompts, sizes and numbers of steps, each in a process that imports nothing of
the other. On the CPU the peak is that of resident memory once the model is loaded, on a GPU that of what torch has
allocated; the rise is what of it came on top of the loaded model. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import count_option, write_model
from benchmarks.memory.peak import Asked, Taken
from benchmarks.real_size import REAL_SIZES
from benchmarks.serving.process import ROOT
from benchmarks.serving.provenance import commit, hardware
from benchmarks.subject import GUIDANCE
from workers.model_folder import find_folder
from workers.models import choose_device

SIDES = {"engine": "benchmarks.memory.stepped", "stock": "benchmarks.memory.stock"}
"""The modules that draw."""

BAR = 1.15
Runs = dict[str, list[Taken]]


def main() -> None:
    """Measure, print, and write the figures down."""
    options = _options().parse_args()
    asked = _asked(options)
    runs: Runs = {side: [] for side in SIDES}
    for _ in range(options.repeats):
        for side, module in SIDES.items():
            one = _run(module, asked)
            runs[side].append(one)
            print(f"{side:6}: loaded {one.loaded_mib:8.1f} MiB, peak {one.peak_mib:8.1f}, rise {one.rise_mib:7.1f}")
    ratios = {what: _ratio(runs, f"{what}_mib") for what in ("peak", "rise")}
    said = "met" if ratios["peak"] <= BAR else "missed"
    print(f"engine to stock: peak {ratios['peak']:.3f}, rise {ratios['rise']:.3f}; bar {BAR} for the peak: {said}")
    if options.json:
        write_model(options.json, "MiB at the peak of a batch", options.model, _written(asked, runs, ratios))


def _asked(options: argparse.Namespace) -> Asked:
    return Asked(
        model=options.model,
        folder=None if options.model in REAL_SIZES else str(find_folder(options.model)),
        device=str(choose_device(options.device)),
        dtype=options.dtype,
        side=options.size,
        steps=options.steps,
        guidance_scale=GUIDANCE,
        prompts=tuple(f"a red circle above a blue square, number {place}" for place in range(options.batch)),
    )


def _run(module: str, asked: Asked) -> Taken:
    """What a process of its own tells in its last line."""
    command = [sys.executable, "-m", module, json.dumps(asdict(asked))]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    taken = Taken(**json.loads(done.stdout.splitlines()[-1]))
    if len(taken.sizes) != len(asked.prompts):
        raise RuntimeError(f"{module} drew {len(taken.sizes)} of {len(asked.prompts)} pictures")
    return taken


def _ratio(runs: Runs, field: str) -> float:
    engine, stock = (statistics.median(getattr(one, field) for one in runs[side]) for side in ("engine", "stock"))
    ratio: float = engine / stock
    return ratio


def _written(asked: Asked, runs: Runs, ratios: dict[str, float]) -> dict[str, Any]:
    on_cpu = asked.device == "cpu"
    return {
        "size": runs["stock"][0].sizes[0],
        "batch": len(asked.prompts),
        "steps": asked.steps,
        "dtype": asked.dtype,
        "hardware": hardware() if on_cpu else torch.cuda.get_device_name(asked.device),
        "measured": "resident memory" if on_cpu else "memory allocated by torch",
        "torch": torch.__version__,
        "commit": commit(),
        "bar": BAR,
        "engine_to_stock": ratios,
        "runs": {side: [_told(one) for one in drawn] for side, drawn in runs.items()},
    }


def _told(one: Taken) -> dict[str, float]:
    return {"loaded_mib": one.loaded_mib, "peak_mib": one.peak_mib, "threads": one.threads}


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").partition("\n")[0])
    real = ", ".join(REAL_SIZES)
    parser.add_argument("--model", default="shapes-64", help=f"name, folder or hub id; random weights: {real}")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--size", type=count_option, help="pixels a side; by default the model's own")
    parser.add_argument("--batch", type=count_option, default=8, help="requests that step together")
    parser.add_argument("--steps", type=count_option, default=20)
    parser.add_argument("--repeats", type=count_option, default=3, help="processes of each")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    main()
