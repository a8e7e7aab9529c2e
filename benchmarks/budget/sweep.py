"""What is measured in which order: capacity, every way at every load, the quality of what was delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from rich.console import Console

from benchmarks.budget.asking import ROUTE, Answer, ask_all, body
from benchmarks.budget.bars import bars_of
from benchmarks.budget.figures import figures_of
from benchmarks.budget.judged import judge
from benchmarks.budget.planning import microseconds
from benchmarks.budget.simulated import published_speed, simulated_goodput
from benchmarks.budget.ways import WAYS, Way
from benchmarks.budget.wishes import FIXED_STEPS, Wish, make_wishes
from benchmarks.common import measuring_bar, write_json
from benchmarks.serving.process import running
from benchmarks.serving.servers import SERVERS, Machine, environment
from pacer.embedded_store import EmbeddedStore
from pacer.models import load as load_card
from schedules.registry import Registry
from scripts.live import free_port

_MODEL = "shapes-64"
_WARM, _SOLO, _BURST = 3, 5, 24
_BURSTS = 3  # of which the quickest counts: what else a machine does can only slow them

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured.

    Attributes:
        loads: in what the server draws of fixed steps a second.
        seconds: of each load.
        seed: of wishes and pictures.
        judged: most wishes with a floor whose pictures are compared with the teacher's.
        others: the same of wishes without one.
        threads: of torch.
        path: of the JSON, written after each row.
    """

    loads: Sequence[float]
    seconds: float
    seed: int
    judged: int
    others: int
    threads: int
    path: Path


@dataclass(frozen=True, slots=True)
class _Served:
    """A running server: its address, and its store's."""

    url: str
    store: str


class Sweep:
    """Measures what is wanted, keeping each row as soon as it is there."""

    def __init__(self, wanted: Wanted, meta: dict[str, Any], console: Console) -> None:
        self._wanted, self._console = wanted, console
        self._card, self._registry = load_card(_MODEL), Registry.load(None)
        self._results: Results = {"meta": meta, "rows": [], "judged": None, "bars": []}
        self._delivered: dict[float, list[Answer]] = {}

    def run(self) -> Results:
        """Everything.

        Raises:
            ServerError: the server does not start.
        """
        with measuring_bar(self._console) as progress:
            task = progress.add_task("capacity", total=2 + len(self._wanted.loads) * len(WAYS))
            self._capacity()
            progress.advance(task)
            for load in self._wanted.loads:
                for way in WAYS:
                    progress.update(task, description=f"{way.name}, load {load:g}")
                    self._row(way, load)
                    progress.advance(task)
            progress.update(task, description="measured quality")
            self._judge()
            progress.advance(task)
        return self._results

    def _capacity(self) -> None:
        """What a picture of the fixed steps takes alone, how many are drawn a second, and what planning costs."""
        with self._served(WAYS[0]) as served:
            wishes = make_wishes(10.0, 60.0, self._wanted.seed + 1, 1.0)[: _WARM + _SOLO + _BURST]
            solo = [self._ask(served, wish) for wish in wishes[: _WARM + _SOLO]][_WARM:]
            drawn_s = min(self._burst(served, wishes[-_BURST:]) for _ in range(_BURSTS))
        self._results["meta"] |= {"solo_s": median(solo), "capacity_per_s": _BURST / drawn_s}
        self._results["planner_us"] = microseconds(self._card, self._registry)
        self._write()

    def _burst(self, served: _Served, wishes: Sequence[Wish]) -> float:
        """Seconds that all of these take, asked for at once."""
        started = time.monotonic()
        with ThreadPoolExecutor(len(wishes)) as threads:
            list(threads.map(lambda wish: self._ask(served, wish), wishes))
        return time.monotonic() - started

    def _ask(self, served: _Served, wish: Wish) -> float:
        asked = body(wish, self._card.guidance_scale, {"steps": FIXED_STEPS})
        started = time.monotonic()
        httpx2.post(f"{served.url}{ROUTE}", json=asked, timeout=300.0).raise_for_status()
        return time.monotonic() - started

    def _row(self, way: Way, load: float) -> None:
        wanted, meta = self._wanted, self._results["meta"]
        per_s = load * meta["capacity_per_s"]
        wishes = make_wishes(per_s, wanted.seconds, wanted.seed, meta["solo_s"])
        with self._served(way) as served:
            self._warm_up(served, wishes)
            answers = asyncio.run(ask_all(served.url, way, wishes, self._card.guidance_scale))
            speed = published_speed(served.store, _MODEL)
        row = {"way": way.name, "load": load, "offered_per_s": per_s, **figures_of(answers, wanted.seconds)}
        if not way.fixed and speed is not None:
            row["simulated_goodput_per_s"] = simulated_goodput(
                wishes, wanted.seconds, self._card, speed, self._registry
            )
            self._delivered[load] = [one for one in answers if one.facts is not None]
        self._results["rows"].append(row)
        self._write()

    def _warm_up(self, served: _Served, wishes: Sequence[Wish]) -> None:
        """Let workers measure turns of all sizes first, as those of a service that runs have long done."""
        fresh = [replace(wish, seed=wish.seed + 500_000) for wish in wishes[:16]]
        for wish in fresh[:2]:
            self._ask(served, wish)
        with ThreadPoolExecutor(len(fresh)) as threads:
            list(threads.map(lambda wish: self._ask(served, wish), fresh))

    def _judge(self) -> None:
        """What was delivered under budgets, at every load."""
        wanted = self._wanted
        if not any(self._delivered.values()) or not wanted.judged + wanted.others:
            return
        with self._served(WAYS[0]) as served:
            self._results["judged"] = judge(
                served.url, self._card.guidance_scale, self._delivered, floored=wanted.judged, others=wanted.others
            )
        self._write()

    @contextmanager
    def _served(self, way: Way) -> Iterator[_Served]:
        """A fresh server with a store of its own."""
        machine = Machine(_MODEL, self._wanted.threads, "cpu", self._card.guidance_scale, 8, "")
        port = free_port()
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            try:
                return httpx2.get(f"{url}/readyz", timeout=5.0).status_code == 200
            except httpx2.HTTPError:
                return False

        with TemporaryDirectory(prefix="budget-") as folder, EmbeddedStore(Path(folder)) as store:
            env = environment(machine, way.policy) | {"PACER_REDIS_URL": store.url}
            with running(SERVERS["pacer"].command(machine, port), env, ready):
                yield _Served(url, store.url)

    def _write(self) -> None:
        self._results["bars"] = bars_of(self._results)
        write_json(self._wanted.path, self._results)
