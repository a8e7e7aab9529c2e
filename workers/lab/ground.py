"""What a method may see of a model: its calibration seeds and their teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schedules.artefact import Schedule
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.teacher import Teacher
from workers.lab.subject import Levels, Subject, chunks


@dataclass(frozen=True, eq=False)
class Ground:
    """The calibration seeds.

    Attributes:
        problem: the seeds.
        fine: the teacher at all its nodes.
        stride: of how many of these nodes the coarser teacher of path searches keeps one.
        levels: from latents to what is compared, on a scale of 0 to 255.
        floor: squared errors in levels below this mean nothing.
        registry: the model's artefacts that hold for this run, by solver.
    """

    problem: SearchProblem
    fine: Teacher
    stride: int
    levels: Levels
    floor: float
    registry: Mapping[str, Schedule] = field(default_factory=dict)

    @property
    def coarse(self) -> Teacher:
        """The teacher at fewer nodes, for methods whose cost grows with their number."""
        kept = slice(None, None, self.stride)
        return Teacher(self.fine.sigmas[kept], self.fine.states[kept], self.fine.velocities[kept], self.fine.steps)

    def split(self, start: int, stop: int) -> Split:
        """Some of the seeds as the refinement takes them, compared in levels."""
        problem = self.problem.take(stop).drop(start)
        return Split(problem, self.levels(self.fine.final[start:stop]), self.levels, floor=self.floor)


def ground_of(
    subject: Subject, problem: SearchProblem, teacher: Teacher, stride: int, registry: Mapping[str, Schedule]
) -> Ground:
    """The ground of a subject's calibration seeds."""
    return Ground(
        problem,
        teacher,
        stride,
        lambda latents: chunks(latents, problem.batch, subject.view),
        subject.floor,
        registry,
    )
