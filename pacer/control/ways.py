"""Which schedules a request can go on with: any of its artefact that begins as its own does, and splices of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from pacer.control.figures import figures_of
from pacer.control.latency_spread import times_of
from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.control.picture_size import sized_forwards
from pacer.control.replan import SETTLED_S, Underway, Way, another_way
from pacer.jobs.messages import Leeway, Plan, TableMessage, WorkerSpeed
from schedules.artefact import Entry, Schedule
from schedules.evidence import Evidence
from schedules.registry import Registry
from schedules.splice import Splice
from schedules.table import Table, common_rows


@dataclass(frozen=True, slots=True)
class Sampler:
    """A schedule of an artefact, or a splice of two.

    Attributes:
        way: as planning sees it.
        name: a plan's.
        sigmas: its noise levels.
        table: on the wire.
        evidence: what was measured of it at the guidance scale at hand; None where nobody did.
    """

    way: Way
    name: str
    sigmas: tuple[float, ...]
    table: TableMessage
    evidence: Evidence | None

    def plan(self, before: Plan, done: int, speed: WorkerSpeed, pixels: int = 0) -> Plan:
        """What a job's plan becomes; the wait that it told was over when the job began.

        Args:
            before: the job's plan.
            done: evaluations made by it.
            speed: of workers.
            pixels: of the picture; 0 where nobody said them.
        """
        forecast, evaluations = Forecast(speed).at(pixels), sum(self.way.rows)
        service_s = forecast.service_s(*self.way.left(0))
        return Plan(
            model=before.model,
            schedule=self.name,
            solver=before.solver,
            steps=self.way.steps,
            evaluations=evaluations,
            sigmas=self.sigmas,
            **figures_of(self.evidence),
            **times_of(speed, service_s, before.predicted_wait_seconds),
            other_model=before.other_model,
            replanned=(before.steps if before.replanned is None else before.replanned[0], done),
            sized_forwards=sized_forwards(forecast.weight, evaluations),
        )


@dataclass(frozen=True, slots=True)
class Going:
    """A job with a deadline that leaves something open.

    Attributes:
        plan: its own.
        table: of that plan.
        scale: of guidance.
        allowed_s: seconds from its arrival until it is due.
        leeway: within which another plan may take its place.
        pixels: of its picture; 0 where nobody said them.
    """

    plan: Plan
    table: TableMessage
    scale: float
    allowed_s: float
    leeway: Leeway
    pixels: int = 0


class Ways:
    """The ways of one model's jobs.

    Args:
        registry: the schedules at hand.
        model: the model.
    """

    def __init__(self, registry: Registry, model: str) -> None:
        self._schedules = {schedule.solver_id: schedule for schedule in registry.schedules(model)}
        self._made: dict[tuple[str, float], _Artefact] = {}

    def of(
        self, plan: Plan, table: TableMessage, scale: float, done: int
    ) -> tuple[Sampler, tuple[Sampler, ...]] | None:
        """How a job goes on, and how else it could; None where its table is none of the artefacts'.

        Args:
            plan: the job's.
            table: the job's.
            scale: of guidance.
            done: evaluations that were made of it.
        """
        _, _, named = plan.schedule.partition(f"{plan.model}/")
        solver, _, steps = named.partition("/")
        if solver not in self._schedules or not steps.isdecimal():
            return None
        key = solver, scale
        if key not in self._made:
            self._made[key] = _Artefact(self._schedules[solver], scale)
        artefact = self._made[key]
        own = artefact.entries.get(int(steps))
        return None if own is None or own.table != table else (own, artefact.others(own, done))

    def another(
        self, job: Going, load: Load, *, done: int, due_s: float, degrade_at: float
    ) -> tuple[Plan, Sampler] | None:
        """The plan that a job goes on by, if it is another than its own, and the sampler of it.

        What came in a moment ago, and has not begun, keeps to its plan.

        Args:
            job: as it is.
            load: what workers have before them, its own work included.
            done: evaluations that were made of it.
            due_s: seconds from now until it is due.
            degrade_at: as `plan` takes it.
        """
        if not done and job.allowed_s - due_s < SETTLED_S:
            return None
        ways = self.of(job.plan, job.table, job.scale, done)
        if ways is None:
            return None
        own, others = ways
        request = Underway(own.way, done, due_s, job.allowed_s, job.leeway, job.pixels)
        way = another_way(request, [each.way for each in others], load, degrade_at=degrade_at)
        chosen = next((each for each in others if each.way is way), None)
        return None if chosen is None else (chosen.plan(job.plan, done, load.speed, job.pixels), chosen)


class _Artefact:
    """An artefact's samplers at a guidance scale.

    Args:
        schedule: the artefact.
        scale: of guidance.
    """

    def __init__(self, schedule: Schedule, scale: float) -> None:
        def sampler(each: Splice | Entry, table: Table) -> Sampler:
            shown = each.evidence  # of whatever scale: it says which way is the better one
            rows = tuple(int(n) for n in table.forwards(scale))
            way = Way(each.steps, rows, -inf if shown is None else shown.psnr_db.mean)
            name, told = schedule.entry_id(each.steps), schedule.evidence_at(shown, scale)
            return Sampler(way, name, each.sigmas, TableMessage.of(table), told)

        self.entries = {each.steps: sampler(each, schedule.table(each)) for each in schedule.entries}
        self._tables = {each.steps: schedule.table(each) for each in schedule.entries}
        self._splices = tuple((each.begun, each.done, sampler(each, each.table.table())) for each in schedule.splices)
        self._others: dict[tuple[int, int], tuple[Sampler, ...]] = {}

    def others(self, own: Sampler, done: int) -> tuple[Sampler, ...]:
        """How else an image can go on: by budgets that begin as its own does, and by splices."""
        key = own.way.steps, done
        if key not in self._others:
            table = self._tables[own.way.steps]
            alike = [
                self.entries[steps]
                for steps, other in self._tables.items()
                if steps != own.way.steps and done < steps and common_rows(table, other) >= done
            ]
            spliced = [each for begun, made, each in self._splices if (begun, made) == key]
            self._others[key] = (*alike, *spliced)
        return self._others[key]
