"""Progress in network evaluations, so that the time left is in the unit that costs."""

from __future__ import annotations

from collections.abc import Callable

from rich.progress import Progress, TaskID
from torch import Tensor

from schedules.search.problem import Field, SearchProblem


class Meter:
    """Counts the network's evaluations of a run and shows them; a smaller network's count as what they cost.

    Args:
        progress: where they are shown.
        heard: is told of each count.

    Attributes:
        evaluations: forwards of the network so far, and ways back through it.
    """

    def __init__(self, progress: Progress | None = None, heard: Callable[[int], None] | None = None) -> None:
        self.evaluations = 0
        self._heard = heard
        self._progress = progress
        self._task: TaskID | None = None if progress is None else progress.add_task("starting", total=0)
        self._total = 0.0
        self._stage_end = 0.0

    def expect(self, evaluations: float) -> None:
        """Tell the meter how many evaluations the whole run will need at most."""
        self._total = evaluations
        self._show()

    def stage(self, name: str, evaluations: float) -> None:
        """Begin a stage with its share of the expectation, which the last stage's true cost corrects."""
        self._total += self.evaluations - self._stage_end
        self._stage_end = self.evaluations + evaluations
        self._show(name)

    def watch(self, problem: SearchProblem) -> SearchProblem:
        """The same problem with its evaluations counted."""
        return problem.with_branches(lambda network: network.mapped(lambda field: self._counted(field, network.cost)))

    def add(self, evaluations: int) -> None:
        """Count evaluations, those of another process for instance."""
        self.evaluations += evaluations
        if self._heard:
            self._heard(evaluations)
        self._show()

    def _counted(self, field: Field, cost: float) -> Field:
        def counted(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
            spent = round(cost * len(x))
            self.add(spent)
            output = field(x, t, rows)
            if output.requires_grad:
                output.register_hook(lambda _: self.add(spent))  # the way back, with weights fixed, costs as much
            return output

        return counted

    def _show(self, name: str | None = None) -> None:
        if self._progress is None or self._task is None:
            return
        total = max(self._total, self.evaluations)
        self._progress.update(self._task, completed=self.evaluations, total=total)
        if name is not None:
            self._progress.update(self._task, description=name)
