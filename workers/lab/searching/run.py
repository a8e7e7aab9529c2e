"""One run of the lab: a model, a request, its seeds and their teachers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from schedules.search import refine
from schedules.search.method import Sampler
from schedules.search.newton import NewtonOptions
from schedules.search.pacer_options import PacerOptions
from schedules.search.placement import PlacementOptions
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import FloatArray, Table
from workers.lab.measuring import Stand
from workers.lab.meter import Meter
from workers.lab.model import LabModel
from workers.lab.prompts import SplitName
from workers.lab.searching.request import SearchRequest
from workers.lab.seeds import SeedSet, seed_set
from workers.lab.store import LabStore
from workers.lab.subject import Subject
from workers.lab.teachers import Cost, kept_teacher, teacher_cost


@dataclass(frozen=True, eq=False)
class Split:
    """Seeds of one purpose, with their teacher.

    Attributes:
        seeds: the seeds and prompts.
        problem: the same as the search sees them.
        teacher: their trajectories; but for calibration, the ends only.
        key: what made the teacher; its hash names everything derived from it.
    """

    seeds: SeedSet
    problem: SearchProblem
    teacher: Teacher
    key: dict[str, object]


@dataclass(frozen=True, eq=False)
class SearchRun:
    """Makes each split when it is first asked for."""

    model: LabModel
    request: SearchRequest
    store: LabStore
    meter: Meter

    @property
    def branches(self) -> int:
        """Forwards of the network for one evaluation of one seed."""
        return 2 if self.request.guidance_scale != 1.0 else 1

    def table(self, sigmas: FloatArray) -> Table:
        """The solver's table on flow levels."""
        return self.model.native.compiled_at(self.request.solver, sigmas)

    def baselines(self, steps: int) -> dict[str, Sampler]:
        """What a budget is compared with, by name."""
        native, pairs = self.model.native, {name: self.request.baseline(name) for name in self.request.baselines}
        return {name: native.compiled(solver, native.grid(grid)(steps)) for name, (solver, grid) in pairs.items()}

    @property
    def subject(self) -> Subject:
        """The model as results are compared on it."""
        return Subject(self.model, lambda problem, steps, nodes: run_teacher(problem, steps, nodes=nodes))

    @property
    def learning(self) -> PacerOptions:
        """The switches of a search for coefficients."""
        return PacerOptions(screen=self.request.screen, newton=NewtonOptions(log=self.request.log))

    @property
    def placing(self) -> PlacementOptions:
        """The switches of a search for coefficients, for where guidance is evaluated and with which network."""
        return PlacementOptions(newton=NewtonOptions(log=self.request.log), smaller=self.request.smaller)

    def equal_steps(self, table: Table) -> int:
        """The steps with guidance on every row that cost what a table costs, rounded down, at least 1."""
        costs = {name: network.cost for name, network in self.model.smaller.items()}
        return max(1, table.network_evaluations(self.request.guidance_scale, costs) // self.branches)

    @property
    def key(self) -> dict[str, object]:
        """What makes the result of a search."""
        return {**self.calibration.key, "validation": self.validation.key, "request": repr(self.request)}

    @property
    def teacher_cost(self) -> Cost | None:
        """Of the calibration and validation seeds; None where nobody counted."""
        costs = [teacher_cost(self.store, split.key) for split in (self.calibration, self.validation)]
        known = [cost for cost in costs if cost is not None]
        return (sum(cost[0] for cost in known), sum(cost[1] for cost in known)) if len(known) == len(costs) else None

    def compared(self, split: Split) -> refine.Split:
        """A split as the refinement takes it, in the request's measure."""
        if self.request.measure == "latents":
            return refine.Split(split.problem, split.teacher.final)
        return self.subject.split(split.problem, split.teacher.final)

    def smoothly_compared(self, split: Split) -> refine.Split:
        """The same before rounding."""
        if self.request.measure == "latents":
            return refine.Split(split.problem, split.teacher.final)
        return self.subject.smooth_split(split.problem, split.teacher.final)

    @cached_property
    def calibration(self) -> Split:
        """Seeds that decide about moves; their teacher keeps the nodes of the grid, or all where states are fitted."""
        request = self.request
        return self._split("calibration", request.seeds, request.teacher_steps if request.learned else request.grid)

    @cached_property
    def validation(self) -> Split:
        """Seeds that end the refinement and choose between it and the baselines."""
        return self._split("validation", self.request.validation, 1)

    @cached_property
    def held_out(self) -> Split:
        """Seeds of the evidence."""
        return self._split("held-out", self.request.held_out, 1)

    @property
    def stand(self) -> Stand:
        """The same as measurements take them."""
        return self._stand(self.held_out)

    def stand_of(self, seeds: SeedSet, name: str) -> Stand:
        """Any seeds with their teacher, as measurements take them; `name` is what progress calls them."""
        return self._stand(self._taught(seeds, name, 1))

    def _stand(self, split: Split) -> Stand:
        return Stand(self.subject, split.problem, split.teacher.final, split.seeds.prompts, split.key, self.store)

    def _split(self, name: SplitName, count: int, nodes: int) -> Split:
        return self._taught(seed_set(self.model.prompts, name, count, self.request.seed_offset), name, nodes)

    def _taught(self, seeds: SeedSet, name: str, nodes: int) -> Split:
        request, model, count = self.request, self.model, len(seeds.prompts)
        self.meter.stage(f"teacher of the {name} seeds", count * request.teacher_steps * self.branches)
        problem = self.meter.watch(model.problem(seeds, guidance_scale=request.guidance_scale, batch=request.batch))
        key: dict[str, object] = {
            **model.identity,
            "seeds": [seeds.offset, count],
            "prompts": seeds.prompts_sha256,
            "guidance_scale": request.guidance_scale,
            "steps": request.teacher_steps,
            "nodes": nodes,
        }
        teacher = kept_teacher(
            self.store, self.meter, model.device, key, lambda: run_teacher(problem, request.teacher_steps, nodes=nodes)
        )
        return Split(seeds, problem, teacher, key)
