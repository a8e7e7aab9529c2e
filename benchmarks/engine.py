"""What a turn of the engine costs outside the network call, by batch size.

    python -m benchmarks.engine [--model shapes-64] [--turns 60] [--json benchmarks/results/engine.json]
    python -m benchmarks.engine --model sd3.5-medium --size 256 --batches 1 8 --warm-up 1 --turns 3

Every request is guided, so that a batch of n has 2n rows, or n where the network takes the guidance scale as an input.
Turns in which a request joins or ends are not counted. On the CPU one thread is used, and its processor time is
measured, which other processes do not change; on a GPU, whose kernels are waited for at both ends of the network call,
wall-clock time. Of sd3.5-medium and flux.1-dev only the sizes are real: their weights are random.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import count_option, write_model
from benchmarks.real_size import REAL_SIZES
from benchmarks.serving.provenance import commit, hardware
from benchmarks.subject import Subject, guided_claim, load_subject
from workers.engine import Engine
from workers.families.base import Conditioning, Family
from workers.heap import keep_freed_memory
from workers.models import choose_device, choose_dtype

BATCHES = (1, 2, 4, 8, 16)
BAR, REAL_SIZE_BAR = 0.05, 0.01
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


def measure(subject: Subject, batch: int, turns: int, warm_up: int = 3) -> Figures:
    """The turns of a full batch, after so many that do not count."""
    clock = clock_of(subject.family.device)
    family = Clocked(subject.family, clock)
    rows = subject.guided_rows * batch
    engine = Engine(family, slots=batch, max_rows=rows, best_effort_slack_s=3600.0)
    for place in range(batch):
        engine.admit(guided_claim(subject, warm_up + turns + 1, place))
    network, outside = [], []
    for turn in range(warm_up + turns):
        family.network_s = 0.0
        started = clock()
        stepped = engine.turn().rows
        spent = clock() - started
        if stepped != rows:
            raise RuntimeError(f"a turn had {stepped} rows, not {rows}")
        if turn >= warm_up:
            network.append(family.network_s)
            outside.append(spent - family.network_s)
    calls, rest = statistics.median(network), statistics.median(outside)
    return Figures(batch, rows, calls, rest, rest / calls)


def main() -> None:
    """Measure, print a line for each batch size, and write the figures down."""
    asked = _options().parse_args()
    torch.set_num_threads(1)
    subject = load_subject(asked.model, choose_device(asked.device), choose_dtype(asked.dtype), asked.size)
    keep_freed_memory(subject.family.device)  # as workers do
    figures = []
    for batch in asked.batches:
        figures.append(measure(subject, batch, asked.turns, asked.warm_up))
        _tell(figures[-1])
    bar = REAL_SIZE_BAR if subject.name in REAL_SIZES else BAR
    for one in figures:
        if one.batch == 8:
            print(f"bar at batch 8: {bar:.0%} of the network call, {'met' if one.share <= bar else 'missed'}")
    if asked.json:
        what = "seconds of an engine turn outside the network call, medians"
        write_model(asked.json, what, subject.name, _written(subject, asked.turns, bar, figures))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    real = ", ".join(REAL_SIZES)
    parser.add_argument("--model", default="shapes-64", help=f"name, folder or hub id; random weights: {real}")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "float16", "bfloat16"))
    parser.add_argument("--size", type=count_option, help="pixels a side; by default the model's own")
    parser.add_argument("--batches", type=count_option, nargs="+", default=BATCHES, help="requests that step together")
    parser.add_argument("--warm-up", type=count_option, default=3, help="turns before those that are measured")
    parser.add_argument("--turns", type=count_option, default=60)
    parser.add_argument("--json", type=Path)
    return parser


def _tell(one: Figures) -> None:
    network_ms, outside_ms = 1e3 * one.network_s, 1e3 * one.outside_s
    print(f"batch {one.batch:2}: network {network_ms:8.2f} ms, outside {outside_ms:6.2f} ms, {one.share:8.3%}")


def _written(subject: Subject, turns: int, bar: float, figures: Sequence[Figures]) -> dict[str, object]:
    device = subject.family.device
    on_cpu = device.type == "cpu"
    return {
        "size": subject.size,
        "dtype": str(subject.dtype).removeprefix("torch."),
        "hardware": f"{hardware()}, one used" if on_cpu else torch.cuda.get_device_name(device),
        "clock": "thread processor time" if on_cpu else "wall-clock",
        "torch": torch.__version__,
        "commit": commit(),
        "turns": turns,
        "bar_at_batch_8": bar,
        "batches": [asdict(one) for one in figures],
    }


if __name__ == "__main__":
    main()
