"""One comparison of methods: its request, and the seeds and teachers that all methods share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher
from workers.lab.comparing.ground import Ground
from workers.lab.measuring import Stand
from workers.lab.meter import Meter
from workers.lab.prompts import SplitName
from workers.lab.seeds import SeedSet, seed_set
from workers.lab.store import LabStore
from workers.lab.subject import Subject
from workers.lab.teachers import Cost, kept_teacher, teacher_cost


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """What is asked for.

    Attributes:
        budgets: numbers of guided evaluations, rising.
        guidance_scale: for teacher and methods alike.
        seeds: held-out seeds.
        seed_offset: moves the held-out seeds, never those of the searches.
        calibration_seeds: for every search.
        teacher_steps: the teacher's Euler steps.
        grid: the intervals that path searches choose from, a divisor of the teacher's steps.
        batch: most rows in one call of the network.
    """

    budgets: tuple[int, ...]
    guidance_scale: float
    seeds: int = 256
    seed_offset: int = 0
    calibration_seeds: int = 64
    teacher_steps: int = 100
    grid: int = 50
    batch: int = 128

    def __post_init__(self) -> None:
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)) or self.budgets[0] < 1:
            raise ValueError(f"budgets: must rise from 1 or more without repeats, are {self.budgets}")
        if self.guidance_scale < 1:
            raise ValueError(f"guidance: must be at least 1, is {self.guidance_scale:g}")
        if self.calibration_seeds < 3:
            raise ValueError(f"calibration_seeds: must be at least 3, is {self.calibration_seeds}")
        if self.batch < 1:
            raise ValueError(f"batch: must be at least 1, is {self.batch}")
        if self.grid < 2 or self.teacher_steps % self.grid:
            raise ValueError(f"grid: must be at least 2 and divide {self.teacher_steps} teacher steps, is {self.grid}")
        if self.budgets[-1] > self.grid:
            raise ValueError(f"budgets: must not exceed the grid's {self.grid} intervals, has {self.budgets[-1]}")


@dataclass(frozen=True, eq=False)
class Comparison:
    """One run.

    Attributes:
        subject: the model.
        request: what is asked for.
        store: what is kept on disk.
        meter: counts evaluations.
        fresh: search and measure anew what is on disk; teachers are kept, being the same whoever makes them.
    """

    subject: Subject
    request: ComparisonRequest
    store: LabStore
    meter: Meter
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.request.guidance_scale != 1 and not self.subject.guidable:
            raise ValueError(f"guidance: {self.subject.model.name} has no prompts, so only 1 is possible")

    @property
    def branches(self) -> int:
        """Forwards of the network for one guided evaluation of one seed."""
        return 2 if self.request.guidance_scale != 1.0 else 1

    @cached_property
    def held_out(self) -> SeedSet:
        """Seeds and prompts that no search has seen."""
        return seed_set(self.subject.model.prompts, "held-out", self.request.seeds, self.request.seed_offset)

    @cached_property
    def calibration(self) -> SeedSet:
        """Seeds and prompts of the searches."""
        return seed_set(self.subject.model.prompts, "calibration", self.request.calibration_seeds, 0)

    @cached_property
    def problem(self) -> SearchProblem:
        """The held-out seeds."""
        return self._problem(self.held_out)

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher of the held-out seeds, its ends alone."""
        return self._teacher("held-out", self.problem, nodes=1)

    @property
    def stand(self) -> Stand:
        """The held-out seeds as measurements take them."""
        prompts, key = self.held_out.prompts, self.key("held-out")
        return Stand(self.subject, self.problem, self.teacher.final, prompts, key, self.store)

    @cached_property
    def ground(self) -> Ground:
        """What the searches see."""
        return self._ground("calibration", self._problem(self.calibration))

    @cached_property
    def measured_ground(self) -> Ground:
        """What is seen by a search that the laboratory alone can make, on the held-out seeds themselves."""
        return self._ground("held-out", self.problem)

    def ground_of(self, split: SplitName) -> Ground:
        """What a search on these seeds sees."""
        return self.measured_ground if split == "held-out" else self.ground

    def key(self, split: SplitName) -> dict[str, object]:
        """What made the teacher of a split, and so everything that depends on it."""
        model, request = self.subject.model, self.request
        seeds = self.held_out if split == "held-out" else self.calibration
        return {
            **model.identity,
            "split": split,
            "seeds": [seeds.offset, len(seeds.prompts)],
            "prompts": seeds.prompts_sha256,
            "guidance_scale": request.guidance_scale,
            "steps": request.teacher_steps,
            "exact": self.subject.exact,
        }

    def teacher_cost(self, split: SplitName) -> Cost | None:
        """Evaluations and seconds of a search's teacher, when it was made; None where nobody counted."""
        key = self._teacher_key(split, self.request.teacher_steps)
        if not teacher_cost(self.store, key):
            _ = self.ground_of(split).fine
        return teacher_cost(self.store, key)

    def _ground(self, split: SplitName, problem: SearchProblem) -> Ground:
        steps = self.request.teacher_steps
        teach = partial(self._teacher, split, problem, nodes=steps)
        return Ground(problem, teach, steps // self.request.grid, self.subject)

    def _problem(self, seeds: SeedSet) -> SearchProblem:
        request = self.request
        problem = self.subject.model.problem(seeds, guidance_scale=request.guidance_scale, batch=request.batch)
        return self.meter.watch(problem)

    def _teacher(self, split: SplitName, problem: SearchProblem, nodes: int) -> Teacher:
        key, device = self._teacher_key(split, nodes), self.subject.model.device
        steps = self.request.teacher_steps
        return kept_teacher(self.store, self.meter, device, key, lambda: self.subject.teach(problem, steps, nodes))

    def _teacher_key(self, split: SplitName, nodes: int) -> dict[str, object]:
        return {**self.key(split), "kept": nodes}
