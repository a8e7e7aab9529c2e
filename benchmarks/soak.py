"""Memory of the whole system over ten thousand requests, a tenth of them cancelled midway.

    python -m benchmarks.soak [--requests 10000] [--json benchmarks/results/soak.json]

A system is started as `make up` does it, results kept for seconds instead of an hour, and asked through its API for
images of one to three steps, many at once; of every tenth request 20 steps are wanted, and it is cancelled after the
first of them. The memory of gateway, worker and store together (PSS) is noted as it goes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
import psutil
from rich.progress import Progress

from benchmarks.serving.memory import tree
from scripts.live import live_system

AT_ONCE = 24
SAMPLES = 20
WARM = 0.1
"""Share of the requests after which memory must stay where it is."""
_PROMPT = "a red circle above a blue square on a gray background"
_BYTES_IN_MIB = 2**20
_MARKS = {"valkey-server": "store", "worker": "worker", "app.cli up": "supervisor"}
"""In the command lines of all but the gateway."""


@dataclass(frozen=True)
class Sample:
    """Memory after so many requests, MiB."""

    requests: int
    mib: float
    parts: dict[str, float]
    """Of each process, by what it is."""


def memory_mib() -> dict[str, float]:
    """Of each process that this one has started."""
    own = tree(psutil.Process())[1:]
    return {_part(process): round(process.memory_full_info().pss / _BYTES_IN_MIB, 1) for process in own}


def _part(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return next((name for mark, name in _MARKS.items() if mark in words), "gateway")


async def soak(url: str, requests: int, progress: Progress) -> list[Sample]:
    """Send all requests, and look at the memory now and then."""
    task = progress.add_task("requests", total=requests)
    samples: list[Sample] = []
    every = max(1, requests // SAMPLES)
    async with httpx2.AsyncClient(base_url=url, timeout=120.0) as client:
        for first in range(0, requests, every):
            numbers = iter(range(first, min(first + every, requests)))
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(_serve(client, numbers, lambda: progress.advance(task)))
            parts = memory_mib()
            samples.append(Sample(min(first + every, requests), round(sum(parts.values()), 1), parts))
    return samples


async def _serve(client: httpx2.AsyncClient, numbers: Iterator[int], done: Callable[[], None]) -> None:
    for number in numbers:
        if number % 10:
            await _draw(client, number)
        else:
            await _cancel(client, number)
        done()


async def _draw(client: httpx2.AsyncClient, number: int) -> None:
    body = {"prompt": _PROMPT, "seed": number, "budget": {"steps": 1 + number % 3}}
    answer = await client.post("/v1/images/generations", json=body)
    answer.raise_for_status()


async def _cancel(client: httpx2.AsyncClient, number: int) -> None:
    body = {"prompt": _PROMPT, "seed": number, "budget": {"steps": 20}}
    answer = await client.post("/v1/jobs", json=body)
    answer.raise_for_status()
    job = answer.headers["location"]
    async for kind in _kinds(client, job):
        if kind == "step":
            break
    (await client.delete(job)).raise_for_status()


async def _kinds(client: httpx2.AsyncClient, job: str) -> AsyncIterator[str]:
    async with client.stream("GET", f"{job}/events") as events:
        async for line in events.aiter_lines():
            if line.startswith("event:"):
                yield line.removeprefix("event:").strip()


def main() -> None:
    """Run it, print how much memory grew after the first tenth, and write all samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/soak.json"))
    asked = parser.parse_args()
    os.environ["PACER_RESULT_TTL_S"] = "5"
    os.environ["PACER_QUEUE_LIMIT"] = "1000"
    with live_system() as url, Progress() as progress:
        samples = asyncio.run(soak(url, asked.requests, progress))
    warm = next(sample for sample in samples if sample.requests >= WARM * asked.requests)
    growth = samples[-1].mib / warm.mib - 1
    written = {"requests": asked.requests, "growth_after_first_tenth": growth, "samples": [asdict(s) for s in samples]}
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(written, indent=1) + "\n")
    for sample in samples:
        print(f"{sample.requests:6d} requests  {sample.mib:7.1f} MiB  {sample.parts}")
    print(f"growth after the first {warm.requests}: {growth:+.1%}")


if __name__ == "__main__":
    main()
