"""Where to spend the evaluations of guidance, and of a smaller network: Pacer's own method under a budget of forwards.

A guided row costs two forwards of the network where its unconditional output is fresh and one where it is reused or
skipped. For a number of forwards:

1. A few patterns (`pattern`) of rows and fresh rows, from every second row fresh to every eighth, get coefficients and
   guidance weights in closed form (`placed_fit`) on a few seeds; the final error on validation seeds ranks them.
2. The best pattern's neighbours are tried, and theirs, as long as that gains; and the best few on other noise levels.
3. Gauss and Newton's descent (`newton`) over every row, time and weight: its first round from the best few patterns,
   each with another number of rows, the others from what was best of these.

Reused rows are more than cheap guided ones: what they add of the old unconditional output lets the rows after them tell
the branches apart, and the descent makes use of it.

Where the model has a smaller network, rows may run it for what it costs (the "model schedules" of OMS-DPM, Liu et al.
2023, and DDSM, Yang et al. 2024): patterns with such rows are ranked beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from schedules.grids import shifted
from schedules.search.fit import FitOptions
from schedules.search.method import Sampler
from schedules.search.newton import Descended, NewtonOptions, descend, looks
from schedules.search.pacer import sampler_of
from schedules.search.pattern import Pattern, Smaller, starting_patterns
from schedules.search.placed_fit import PlacedFit
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher
from schedules.table import Table


@dataclass(frozen=True, slots=True)
class PlacementOptions:
    """Switches of the method.

    Attributes:
        fit: of the coefficients.
        fit_seeds: calibration seeds that they are fitted to.
        screen: validation seeds that rank patterns.
        shifts: of the noise levels; patterns are ranked on the first, and the best tried on each.
        moves: most neighbours of patterns that are tried.
        starts: most patterns that the first round is made from.
        measured: seeds whose derivatives each round measures.
        spend: most forwards for the derivatives of one budget; where they are dear, the last rounds measure less.
        newton: of the descent; its rounds but the last over many seeds are set from the above.
        smaller: the smaller network that rows may run, one of the problem's; None for none.
    """

    fit: FitOptions = field(default_factory=lambda: FitOptions(order=3, ridge=1e-4))
    fit_seeds: int = 32
    screen: int = 24
    shifts: tuple[float, ...] = (2.0, 1.7, 2.3, 2.6, 3.0)
    moves: int = 12
    starts: int = 2
    measured: tuple[int, ...] = (24, 24, 48, 96)
    spend: int = 100_000
    newton: NewtonOptions = field(default_factory=NewtonOptions)
    smaller: str | None = None

    def __post_init__(self) -> None:
        for name in ("fit_seeds", "screen", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, is {getattr(self, name)}")
        if not self.shifts or min(self.shifts) <= 0:
            raise ValueError(f"shifts: must be one or more numbers above 0, are {self.shifts}")


Found = Callable[[int, Descended], None]
"""Called with each budget's forwards and result."""


def search_placed(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    calibration: Split | None = None,
    validation: Split | None = None,
    options: PlacementOptions | None = None,
    found: Found | None = None,
) -> dict[int, Sampler]:
    """Search every budget of forwards.

    Args:
        teacher: the calibration seeds' trajectories; nodes are needed of the first `fit_seeds` only.
        problem: the same seeds, guided.
        budgets: forwards of the network for one image, rising.
        calibration: where the final errors of `problem` are compared, in pictures before rounding for instance; in
            latents by default.
        validation: other seeds, for the choice; by default the last third of the problem's, which then calibrate
            nothing, and errors are compared in latents.
        options: the switches.
        found: is told of each budget's result.

    Returns:
        A sampler for each budget, by forwards; it has fewer rows than that.

    Raises:
        ValueError: a problem without guidance or without the smaller network, or a budget below 1.
    """
    chosen = options or PlacementOptions()
    if validation is None:
        kept = max(1, 2 * problem.seeds_count // 3)
        validation = Split(problem.drop(kept), teacher.final[kept:])
        problem, teacher, calibration = problem.take(kept), teacher.take(kept), None
    search = PlacementSearch(teacher, calibration or Split(problem, teacher.final), validation, chosen)
    results: dict[int, Sampler] = {}
    for evaluations in budgets:
        descended = search.budget(evaluations)
        results[evaluations] = sampler_of(descended.table, problem.time_scale)
        if found:
            found(evaluations, descended)
    return results


@dataclass(frozen=True, eq=False)
class _Placed:
    """A pattern with fitted numbers and their error on the screening seeds."""

    pattern: Pattern
    table: Table
    error: float


class PlacementSearch:
    """The method, budget by budget.

    Args:
        teacher: the calibration seeds' trajectories.
        calibration: the same seeds, and where final errors are compared.
        validation: other seeds, for the choice.
        options: the switches.

    Raises:
        ValueError: a problem without guidance, or without the smaller network.
    """

    def __init__(self, teacher: Teacher, calibration: Split, validation: Split, options: PlacementOptions) -> None:
        if not calibration.problem.guided:
            raise ValueError("guidance_scale: must not be 1, or there is no guidance to place")
        self._options, self._calibration, self._validation = options, calibration, validation
        name = options.smaller
        self._smaller = None if name is None else Smaller(name, calibration.problem.network(name).cost)
        count = min(options.fit_seeds, calibration.problem.seeds_count)
        self._fitted, self._paths = calibration.problem.take(count), teacher.take(count)
        self._screen = validation.take(min(options.screen, validation.problem.seeds_count))
        self._spent = 0

    def budget(self, evaluations: int) -> Descended:
        """The best table of a number of forwards; its `evaluations` are those of the search, in forwards."""
        self._spent = 0
        lengths = self._best_of_each_length(self._ranked(evaluations))[: self._options.starts]
        placed = sorted((self._on_best_levels(each) for each in lengths), key=lambda each: each.error)
        rounds = self._options.measured
        if not rounds:
            return self._descended(placed[0].pattern, placed[0].table, (), finish=True)
        first = [self._descended(each.pattern, each.table, rounds[:1], finish=False) for each in placed]
        best = min(first, key=lambda each: each.validation_error)
        pattern = placed[first.index(best)].pattern
        left = self._options.spend - sum(each.pattern.derivatives for each in placed) * rounds[0]
        later = _affordable(rounds[1:], left // pattern.derivatives)
        return self._descended(pattern, best.table, later, finish=True)

    def _ranked(self, evaluations: int) -> list[_Placed]:
        """Patterns that were tried, the best first."""
        known: dict[Pattern, _Placed] = {}
        fits: dict[int, PlacedFit] = {}

        def tried(pattern: Pattern) -> _Placed:
            if pattern not in known:
                known[pattern] = self._fit(pattern, fits)
            return known[pattern]

        patterns = starting_patterns(evaluations, self._smaller)
        best = min((tried(pattern) for pattern in patterns), key=lambda each: each.error)
        most = len(known) + self._options.moves
        while True:
            unknown = [pattern for pattern in best.pattern.neighbours(evaluations) if pattern not in known]
            fresh = unknown[: most - len(known)]
            better = min([best, *(tried(pattern) for pattern in fresh)], key=lambda each: each.error)
            if better is best:
                return sorted(known.values(), key=lambda each: each.error)
            best = better

    def _fit(self, pattern: Pattern, fits: dict[int, PlacedFit]) -> _Placed:
        rows = pattern.rows
        if rows not in fits:
            fits[rows] = self._fits(rows, self._options.shifts[0])
        return self._placed(pattern, fits[rows])

    def _fits(self, rows: int, shift: float) -> PlacedFit:
        return PlacedFit(self._fitted, self._paths, shifted(rows, shift), self._options.fit)

    def _on_best_levels(self, placed: _Placed) -> _Placed:
        """The same pattern on the noise levels that suit it best."""
        pattern = placed.pattern
        others = [self._placed(pattern, self._fits(pattern.rows, shift)) for shift in self._options.shifts[1:]]
        return min([placed, *others], key=lambda each: each.error)

    def _placed(self, pattern: Pattern, fit: PlacedFit) -> _Placed:
        before = fit.spent
        table = fit.table(pattern.modes, pattern.networks)
        self._spend(fit.spent - before + pattern.evaluations * self._screen.problem.seeds_count)
        drawn = roll_out(self._screen.problem, table)
        return _Placed(pattern, table, self._screen.error(drawn.final, log=self._options.newton.log))

    def _best_of_each_length(self, placed: Sequence[_Placed]) -> list[_Placed]:
        best: dict[int, _Placed] = {}
        for each in placed:
            best.setdefault(each.pattern.rows, each)
        return list(best.values())

    def _descended(self, pattern: Pattern, table: Table, rounds: tuple[int, ...], *, finish: bool) -> Descended:
        """The table after these rounds of the descent, and those over many seeds to finish with."""
        most, newton = self._calibration.problem.seeds_count, self._options.newton
        newton = replace(newton, rounds=tuple(min(seeds, most) for seeds in rounds), many=newton.many if finish else ())
        found = descend([table], self._calibration, self._validation, newton)
        tried = 1 + sum(looks(len(newton.dampings), number) for number in range(len(rounds)))
        self._spend(sum(newton.rounds) * pattern.derivatives)
        self._spend(tried * self._validation.problem.seeds_count * pattern.evaluations)
        self._spend(newton.finish(most, self._validation.problem.seeds_count) * pattern.evaluations)
        return replace(found, evaluations=self._spent)

    def _spend(self, forwards: float) -> None:
        self._spent += round(forwards)


def _affordable(rounds: Sequence[int], seeds: int) -> tuple[int, ...]:
    """The rounds until so many seeds are measured, the last one cut short."""
    left = [max(0, seeds - sum(rounds[:number])) for number in range(len(rounds))]
    return tuple(min(each, most) for each, most in zip(rounds, left, strict=True) if most)
