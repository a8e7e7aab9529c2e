"""What a method may see of a model: the seeds of its search and their teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.teacher import Teacher
from workers.lab.subject import Subject


@dataclass(frozen=True, eq=False)
class Ground:
    """The seeds of a search, the calibration seeds of nearly all.

    Attributes:
        problem: the seeds.
        teach: makes their teacher.
        stride: of how many of these nodes the coarser teacher of path searches keeps one.
        subject: says how results are compared.
    """

    problem: SearchProblem
    teach: Callable[[], Teacher]
    stride: int
    subject: Subject

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
        """Seeds from `start` to before `stop`, compared as they are judged."""
        return self.subject.split(self.problem.take(stop).drop(start), self.fine.final[start:stop])

    def smooth_split(self, stop: int) -> Split:
        """The first seeds, compared before rounding."""
        return self.subject.smooth_split(self.problem.take(stop), self.fine.final[:stop])
