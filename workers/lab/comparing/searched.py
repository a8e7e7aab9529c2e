"""Search a method, or take what was found from disk; say what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.lab.candidate import Candidate, pack_all, unpack_all
from workers.lab.comparing.comparison import Comparison
from workers.lab.comparing.listed import Listed
from workers.lab.store import Json
from workers.lab.teachers import costed

_KIND = "searches"


@dataclass(frozen=True, eq=False)
class Searched:
    """What a method found.

    Attributes:
        candidates: for each of the run's budgets that the method has.
        evaluations: forwards of the network in its whole search, the teacher's included; None where nobody knows.
        seconds: of wall-clock for the same.
    """

    candidates: dict[int, Candidate]
    evaluations: int | None
    seconds: float | None


def allowed(run: Comparison, method: Listed) -> list[int]:
    """The run's budgets that a method has; forwards where it has budgets of its own."""
    if method.evaluations:
        return list(method.evaluations)
    return [budget for budget in run.request.budgets if method.allows(budget)]


def search(run: Comparison, method: Listed) -> Searched:
    """A method's samplers for the run's budgets."""
    budgets = allowed(run, method)
    if not method.searched:
        return Searched(dict(method.find(run.ground, budgets)), *method.known_cost)
    records = [_record(run, method, group) for group in _groups(method, budgets)]
    found = {budget: each for record in records for budget, each in unpack_all(str(record["found"])).items()}
    candidates = {budget: found[budget] for budget in budgets}
    teacher = run.teacher_cost(method.searched_on) if method.needs_teacher else (0, 0.0)
    if teacher is None:
        return Searched(candidates, None, None)
    evaluations = sum(int(str(record["evaluations"])) for record in records)
    seconds = sum(float(str(record["seconds"])) for record in records)
    return Searched(candidates, teacher[0] + evaluations, teacher[1] + seconds)


def expected(run: Comparison, method: Listed) -> float:
    """Evaluations that the search will take, roughly; what is on disk takes none."""
    if not method.searched:
        return 0.0
    groups = _groups(method, allowed(run, method))
    missing = [group for group in groups if run.fresh or not run.store.known(_KIND, _key(run, method, group))]
    request = run.request
    seeds = request.seeds if method.searched_on == "held-out" else request.calibration_seeds
    return run.branches * sum(method.cost(seeds, request.grid, group) for group in missing)


def _groups(method: Listed, budgets: Sequence[int]) -> list[list[int]]:
    """Budgets that are searched in one go."""
    if not budgets:
        return []
    if method.together:
        return [list(range(1, max(budgets) + 1))]
    return [list(budgets)] if method.in_order else [[budget] for budget in budgets]


def _key(run: Comparison, method: Listed, budgets: Sequence[int]) -> dict[str, object]:
    return {
        **run.key(method.searched_on),
        "grid": run.request.grid,
        "method": method.name,
        "solver": method.solver,
        "switches": method.switches,
        "budgets": list(budgets),
    }


def _record(run: Comparison, method: Listed, budgets: Sequence[int]) -> Json:
    def make() -> Json:
        ground = run.ground_of(method.searched_on)
        _ = ground.fine  # made before the clock starts: its cost is counted apart
        return costed(run.meter, lambda: {"found": pack_all(method.find(ground, budgets))})

    return run.store.record(_KIND, _key(run, method, budgets), make, again=run.fresh)
