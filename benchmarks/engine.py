"""What a turn of the engine costs outside the network call, by batch size.

    python benchmarks/engine.py [--model shapes-64] [--turns 60] [--json benchmarks/results/engine.json]

Every request is guided, so that a batch of n has 2n rows. Turns in which a request joins or ends are not counted. On
the CPU one thread is used, and its processor time is measured, which other processes do not change; on a GPU, whose
kernels are waited for at both ends of the network call, wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Plan, TableMessage
from schedules.compile import compile_table
from workers.engine import Engine
from workers.families.base import Conditioning, Family
from workers.models import LoadedModel, choose_device, load

ROOT = Path(__file__).parents[1]
BATCHES = (1, 2, 4, 8, 16)
BAR = 0.05
WARM_UP = 3
Clock = Callable[[], float]


@dataclass(frozen=True)
class Figures:
    """Medians over the turns of one batch size, seconds."""

    batch: int
    rows: int
    network_s: float
    outside_s: float
    share: float


class Clocked:
    """A family whose network calls are timed."""

    def __init__(self, family: Family, clock: Clock) -> None:
        self._family = family
        self._clock = clock
        self.device = family.device
        self.latent_shape = family.latent_shape
        self.encode = family.encode
        self.combine = family.combine
        self.decode = family.decode
        self.network_s = 0.0

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Conditioning]) -> Tensor:
        """The network call, its seconds added up."""
        started = self._clock()
        output = self._family.denoise(x, t, conditioning)
        self.network_s += self._clock() - started
        return output


def clock_of(device: torch.device) -> Clock:
    """Seconds of this thread's own work on the CPU; elsewhere wall-clock, with nothing left under way."""
    if device.type == "cpu":
        return time.thread_time

    def synchronised() -> float:
        torch.accelerator.synchronize(device)
        return time.perf_counter()

    return synchronised


def claim_of(model: LoadedModel, steps: int, seed: int) -> Claim:
    """A guided job of a multistep solver, so that the whole history counts."""
    sigmas = np.linspace(1.0, 0.0, steps + 1)
    table = compile_table("ab2", sigmas, "flow")
    plan = Plan(model.id, "custom", "ab2", steps, 2 * steps, tuple(sigmas.tolist()), None, None)
    width, height = model.card.default_size
    prompt = "a red circle above a blue square on a gray background"
    job = Job(new_job_id(model.id), prompt, "", seed, width, height, 4.0, plan, TableMessage.of(table))
    return Claim(job, 1, 1, 0, 0)


def measure(model: LoadedModel, batch: int, turns: int) -> Figures:
    """The turns of a full batch."""
    clock = clock_of(model.family.device)
    family = Clocked(model.family, clock)
    engine = Engine(family, slots=batch, max_rows=2 * batch, best_effort_slack_s=3600.0)
    for place in range(batch):
        engine.admit(claim_of(model, WARM_UP + turns + 1, place))
    network, outside = [], []
    for turn in range(WARM_UP + turns):
        family.network_s = 0.0
        started = clock()
        rows = engine.turn().rows
        spent = clock() - started
        if rows != 2 * batch:
            raise RuntimeError(f"a turn had {rows} rows, not {2 * batch}")
        if turn >= WARM_UP:
            network.append(family.network_s)
            outside.append(spent - family.network_s)
    calls, rest = statistics.median(network), statistics.median(outside)
    return Figures(batch, 2 * batch, calls, rest, rest / calls)


def hardware(device: torch.device) -> str:
    """What computed."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, one used"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def commit() -> str:
    """The commit measured, marked where the working tree differs."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> None:
    """Measure, print a line for each batch size, and write the figures down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="shapes-64")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = load(asked.model, choose_device(asked.device))
    figures = []
    for batch in BATCHES:
        figures.append(measure(model, batch, asked.turns))
        one = figures[-1]
        network_ms, outside_ms = 1e3 * one.network_s, 1e3 * one.outside_s
        print(f"batch {one.batch:2}: network {network_ms:8.2f} ms, outside {outside_ms:6.2f} ms, {one.share:6.2%}")
    eighth = next(one.share for one in figures if one.batch == 8)
    print(
        f"outside at batch 8: {eighth:.2%} of the network call; bar {BAR:.0%}: {'met' if eighth <= BAR else 'missed'}"
    )
    if asked.json:
        device = model.family.device
        answer = {
            "what": "seconds of an engine turn outside the network call, medians",
            "model": model.id,
            "hardware": hardware(device),
            "clock": "thread processor time" if device.type == "cpu" else "wall-clock",
            "torch": torch.__version__,
            "commit": commit(),
            "turns": asked.turns,
            "bar_at_batch_8": BAR,
            "batches": [asdict(one) for one in figures],
        }
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
