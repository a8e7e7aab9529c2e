"""Which measurements are made, in what order: solo times, all loads, the load beyond the peak, higher ones, bursts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from benchmarks.common import measuring_bar
from benchmarks.serving.measure import Reference, Second, measure_burst, measure_load, solo
from benchmarks.serving.process import ServerError
from benchmarks.serving.ratios import as_json, beyond_of, peak_load, ratios_of, still_rising
from benchmarks.serving.results import Kind, Results, Row
from benchmarks.serving.servers import Contestant, Machine, missing
from benchmarks.serving.trace import make_burst, make_trace, mean_seconds

DEADLINE = 3.0
"""A request's deadline, in times that its budget takes alone."""

_MOST_BEYOND = 3  # times that a peer may turn out to peak later than was thought
_MOST_RISES = 4  # of a server that does best at the highest load so far


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured.

    Attributes:
        contestants: the servers.
        loads: offered, as fractions of what the stock pipeline can do alone.
        seconds: of each load.
        seed: of traces and pictures.
        burst: requests of the closed burst; 0 leaves it out.
        beyond: whether the load beyond the best peer's peak is measured too, and higher ones of whoever does best at
            the highest so far, so that every server shows its own best load.
        deadlines: whether Pacer is told the deadlines.
        solo_repeats: requests of each budget from which the solo times come.
        policy: the one that the ratios are about.
    """

    contestants: Sequence[Contestant]
    loads: Sequence[float]
    seconds: float
    seed: int
    burst: int
    beyond: bool
    deadlines: bool
    solo_repeats: int
    policy: str


class Sweep:
    """Measures what is wanted, keeping each row as soon as it is there."""

    def __init__(self, wanted: Wanted, machine: Machine, results: Results, console: Console) -> None:
        self._wanted = wanted
        self._machine = machine
        self._results = results
        self._console = console
        self._references: list[Reference] = []
        self._told: set[str] = set()

    def run(self) -> None:
        """Everything.

        Raises:
            ServerError: the stock pipeline behind FastAPI, from which the deadlines come, does not run.
        """
        contestants = self._present()
        with measuring_bar(self._console) as progress:
            total = len(contestants) * (len(self._wanted.loads) + self._wanted.beyond + bool(self._wanted.burst))
            self._bar, self._task = progress, progress.add_task("solo times", total=total)
            self._prepare()
            for load in self._wanted.loads:
                self._loads(contestants, load)
            if self._wanted.beyond:
                self._beyond(contestants)
                self._rises(contestants)
            if self._wanted.burst:
                for contestant in contestants:
                    self._measure("burst", contestant, None)

    def _present(self) -> list[Contestant]:
        """Those that can be started; the others are named, loudly."""
        present = []
        for contestant in self._wanted.contestants:
            why = missing(contestant.server, self._machine)
            if why is None:
                present.append(contestant)
                continue
            self._results.skipped[contestant.label] = why
            self._console.print(f"[bold red]SKIPPED {contestant.label}[/]: {why}", soft_wrap=True)
        return present

    def _prepare(self) -> None:
        """Solo times, and so the deadlines and the capacity; and the pictures that every server must draw."""
        meta = self._results.meta
        repeats = 0 if "solo_s" in meta else self._wanted.solo_repeats
        seconds, self._references = solo(self._machine, repeats, self._wanted.seed, self._tell)
        if repeats:
            meta["solo_s"] = {str(steps): taken for steps, taken in seconds.items()}
            meta["deadlines_s"] = {str(steps): DEADLINE * taken for steps, taken in seconds.items()}
            self._results.write()
        self._solo_s = {int(steps): float(seconds) for steps, seconds in meta["solo_s"].items()}
        self._deadlines_s = {int(steps): float(seconds) for steps, seconds in meta["deadlines_s"].items()}

    def _loads(self, contestants: Sequence[Contestant], load: float) -> None:
        for contestant in contestants:
            self._measure("load", contestant, load)

    def _beyond(self, contestants: Sequence[Contestant]) -> None:
        """The load beyond the peak; where a peer does best there, that is the peak, and it goes on from there."""
        measured = None
        for _ in range(_MOST_BEYOND):
            peak = peak_load(self._results.rows)
            if peak is None or peak == measured:
                return
            if measured is not None:
                self._bar.update(self._task, total=(self._bar.tasks[0].total or 0) + len(contestants))
            measured = peak
            self._loads(contestants, beyond_of(peak))

    def _rises(self, contestants: Sequence[Contestant]) -> None:
        """Higher loads for each that does best at the highest one that it has seen."""
        for contestant in contestants:
            for _ in range(_MOST_RISES):
                load = still_rising(self._results.rows, contestant.server.name, contestant.policy)
                if load is None:
                    break
                self._bar.update(self._task, total=(self._bar.tasks[0].total or 0) + 1)
                self._measure("load", contestant, beyond_of(load))

    def _measure(self, kind: Kind, contestant: Contestant, load: float | None) -> None:
        """One row, unless it is there already."""
        what = f"{contestant.label}, {'burst' if load is None else f'load {load:g}'}"
        self._bar.update(self._task, description=what)
        done = int(self._bar.tasks[0].completed)
        if self._results.find(kind, contestant, load) is None:
            row: Row = {"kind": kind, "server": contestant.server.name, "policy": contestant.policy, "load": load}
            try:
                row |= self._burst(contestant) if load is None else self._load(contestant, load, self._on_second(done))
            except ServerError as error:
                row["failed"] = str(error)
                self._console.print(f"[bold red]FAILED {what}[/]: {error}", soft_wrap=True)
            self._results.add(row)
            self._results.ratios = [as_json(one) for one in ratios_of(self._results.rows, self._wanted.policy)]
            self._results.write()
        self._bar.update(self._task, completed=done + 1)

    def _load(self, contestant: Contestant, load: float, on_second: Second) -> Row:
        per_s = load / mean_seconds(self._solo_s)
        row = measure_load(
            contestant,
            self._machine,
            make_trace(per_s, self._wanted.seconds, self._wanted.seed),
            self._deadlines_s,
            self._references,
            seconds=self._wanted.seconds,
            deadlines=self._wanted.deadlines,
            tell=self._tell,
            on_second=on_second,
        )
        return {"offered_per_s": per_s, **row}

    def _burst(self, contestant: Contestant) -> Row:
        burst = make_burst(self._wanted.burst, self._wanted.seed)
        return measure_burst(
            contestant, self._machine, burst, self._references, tell=self._tell, on_second=lambda _: None
        )

    def _on_second(self, done: int) -> Callable[[float], None]:
        """Moves the bar within a measurement."""
        return lambda now_s: self._bar.update(
            self._task, completed=done + min(0.95, max(0.0, now_s) / (1.5 * self._wanted.seconds))
        )

    def _tell(self, text: str) -> None:
        """Say it, once."""
        if text not in self._told:
            self._told.add(text)
            self._console.print(f"[yellow]{text}[/]", soft_wrap=True)
