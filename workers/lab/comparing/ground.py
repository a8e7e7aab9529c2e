"""What a method may see of a model: its calibration seeds and their teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.teacher import Teacher
from workers.lab.subject import Levels, Subject


@dataclass(frozen=True, eq=False)
class Ground:
    """The calibration seeds.

    Attributes:
        problem: the seeds.
        teach: makes their teacher.
        stride: of how many of these nodes the coarser teacher of path searches keeps one.
        levels: from latents to what is compared, on a scale of 0 to 255.
        floor: squared errors in levels below this mean nothing.
    """

    problem: SearchProblem
    teach: Callable[[], Teacher]
    stride: int
    levels: Levels
    floor: float

    @classmethod
    def of(cls, subject: Subject, problem: SearchProblem, teach: Callable[[], Teacher], stride: int) -> Self:
        """A subject's calibration seeds."""
        return cls(problem, teach, stride, lambda latents: subject.view(latents, problem.batch), subject.floor)

    @cached_property
    def fine(self) -> Teacher:
        """The teacher at all its nodes; made when the first search needs it."""
        return self.teach()

    @property
    def coarse(self) -> Teacher:
        """The teacher at fewer nodes, for methods whose cost grows with their number."""
        fine, every = self.fine, slice(None, None, self.stride)
        return Teacher(fine.sigmas[every], fine.states[every], fine.velocities[every], fine.steps)

    def split(self, start: int, stop: int) -> Split:
        """Seeds from `start` to before `stop` as the refinement takes them, compared in levels."""
        problem = self.problem.take(stop).drop(start)
        return Split(problem, self.levels(self.fine.final[start:stop]), self.levels, floor=self.floor)
