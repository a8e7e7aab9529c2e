from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.grids import shifted
from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.fit import FitOptions, fit_rows
from schedules.search.moved import moved_cost
from schedules.search.newton import Descended, NewtonOptions, descend
from schedules.search.pattern import Pattern, Smaller, spread, starting_patterns
from schedules.search.placed_fit import LARGEST_WEIGHT, Choice, PlacedFit
from schedules.search.placement import PlacementOptions, search_placed
from schedules.search.problem import Branches, SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import Table

GUIDANCE = 2.0
QUICK = PlacementOptions(screen=12, fit_seeds=24, shifts=(2.0, 3.0), moves=4, measured=(16, 32))


def guided(flow: MixtureFlow, seeds: int, seed_offset: int = 0) -> SearchProblem:
    problem = mixture_problem(flow, seeds, seed_offset=seed_offset)
    # One centre for all of the mixture: as a model without its prompt, it knows where pictures are and no more.
    plain = gaussian_mixture(components=1, spread=1.0, seed=4)
    return replace(problem, unconditional=replace(plain, means=plain.means * 0), guidance_scale=GUIDANCE)


@pytest.fixture(scope="module")
def problem(flow: MixtureFlow) -> SearchProblem:
    return guided(flow, 64)


@pytest.fixture(scope="module")
def teacher(problem: SearchProblem) -> Teacher:
    return run_teacher(problem, 96, nodes=48)


@pytest.fixture(scope="module")
def placed(teacher: Teacher, problem: SearchProblem) -> dict[int, Table]:
    return {budget: found.table for budget, found in search_placed(teacher, problem, (8,), options=QUICK).items()}


@given(st.integers(1, 40))
def test_starting_patterns_cost_exactly_the_budget(evaluations: int) -> None:
    patterns = starting_patterns(evaluations)
    assert patterns
    for pattern in patterns:
        assert pattern.evaluations == evaluations
        assert all(other.evaluations == evaluations for other in pattern.neighbours(evaluations))
        assert pattern not in pattern.neighbours(evaluations)


@given(st.integers(1, 12), st.sets(st.integers(0, 11)))
def test_a_pattern_s_modes_make_a_table_of_its_cost(rows: int, fresh: set[int]) -> None:
    pattern = Pattern(rows, tuple(sorted(place for place in fresh if place < rows)))
    weights = np.array([mode != "skipped" for mode in pattern.modes], dtype=np.float64)
    table = Table(
        t=np.arange(rows, 0.0, -1.0), c=np.ones(rows), w=weights, uncond=pattern.modes, X=np.eye(rows + 1)
    )  # fmt: skip
    assert table.network_evaluations(1.5) == pattern.evaluations
    assert table.uncond_sources() == tuple(
        max((place for place in pattern.fresh if place <= row), default=None) for row in range(rows)
    )


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_derivatives_cost_two_forwards_a_row_where_all_are_fresh(rows: int) -> None:
    assert Pattern(rows, tuple(range(rows))).derivatives == 2 * moved_cost(rows)
    assert Pattern(rows, ()).derivatives == moved_cost(rows)


@pytest.mark.parametrize(("rows", "fresh"), [(4, (1, 1)), (4, (2, 1)), (4, (4,))])
def test_impossible_patterns_are_refused(rows: int, fresh: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="fresh"):
        Pattern(rows, fresh)


def test_patterns_that_do_not_fit_are_none() -> None:
    assert spread(3, 4, 0.0, 1.0) is None
    assert spread(0, 0, 0.0, 1.0) is None
    assert spread(5, 5, 0.3, 0.5) == Pattern(5, (0, 1, 2, 3, 4))


def test_guided_throughout_it_comes_near_the_plain_fit(problem: SearchProblem, teacher: Teacher) -> None:
    options = FitOptions(ridge=1e-4)
    table = PlacedFit(problem, teacher, shifted(6, 2.0), options).table(("fresh",) * 6)
    plain = fit_rows(problem, teacher, shifted(6, 2.0), options).table
    errors = [pooled_error(roll_out(problem, each).final, teacher.final, log=True) for each in (table, plain)]
    assert errors[0] < 1.5 * errors[1]  # the weights are fitted to the next state, not to the end
    assert (table.w <= LARGEST_WEIGHT).all()


def test_the_fit_s_student_is_the_table_s_rollout(problem: SearchProblem, teacher: Teacher) -> None:
    """The last row's target is the teacher's end, so the fitted error must be the table's own."""
    modes = Pattern(5, (1, 3)).modes
    fit = PlacedFit(problem, teacher, shifted(5, 2.0))
    table = fit.table(modes)
    assert fit.spent == table.network_evaluations(GUIDANCE) * problem.seeds_count
    drawn, student = roll_out(problem, table), fit._drawn(tuple(map(Choice, modes)))
    for row, output in enumerate(student.history):
        torch.testing.assert_close(drawn.history[row], output, rtol=1e-4, atol=1e-4)


def test_tables_that_begin_alike_share_their_forwards(problem: SearchProblem, teacher: Teacher) -> None:
    fit = PlacedFit(problem, teacher, shifted(4, 2.0))
    fit.table(("fresh", "reused", "reused", "fresh"))
    before = fit.spent
    fit.table(("fresh", "reused", "reused", "reused"))
    assert fit.spent == before


def test_a_fit_says_what_is_wrong_with_its_modes(problem: SearchProblem, teacher: Teacher) -> None:
    fit = PlacedFit(problem, teacher, shifted(3, 2.0))
    with pytest.raises(ValueError, match="must be 3"):
        fit.table(("fresh", "fresh"))
    with pytest.raises(ValueError, match="nothing to reuse"):
        fit.table(("skipped", "reused", "fresh"))


def test_the_cost_is_never_above_the_budget(placed: dict[int, Table]) -> None:
    for budget, table in placed.items():
        assert table.network_evaluations(GUIDANCE) <= budget


def test_it_beats_guidance_on_every_row_at_equal_cost(
    flow: MixtureFlow, problem: SearchProblem, teacher: Teacher, placed: dict[int, Table]
) -> None:
    unseen = guided(flow, 96, seed_offset=40_000)
    target = run_teacher(unseen, 96, nodes=1).final
    kept, chosen = (
        Split(problem.take(42), teacher.final[:42]),
        Split(problem.drop(42), teacher.final[42:]),
    )
    rounds = NewtonOptions(rounds=QUICK.measured)
    for budget, table in placed.items():
        grid = shifted(budget // 2, 2.0)
        start = fit_rows(kept.problem, teacher.take(42), grid, QUICK.fit).table
        everywhere = descend([start], kept, chosen, rounds).table
        pair = (table, everywhere)
        errors = [pooled_error(roll_out(unseen, each).final, target, log=True) for each in pair]
        assert errors[0] < 0.5 * errors[1]


def test_it_finds_the_same_again_and_tells_what_it_cost(
    teacher: Teacher, problem: SearchProblem, placed: dict[int, Table]
) -> None:
    told: dict[int, Descended] = {}
    counted = 0

    def counting(x: torch.Tensor, t: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        nonlocal counted
        counted += len(x)
        return problem.conditional(x, t, rows)

    again = search_placed(
        teacher, replace(problem, conditional=counting), (8,), options=QUICK, found=told.__setitem__
    )  # fmt: skip
    assert again[8].table.difference(placed[8]) is None
    assert counted < told[8].evaluations < 2 * counted


@settings(max_examples=40)
@given(st.integers(2, 16), st.floats(0.2, 1.0))
def test_patterns_with_a_smaller_network_keep_to_the_budget(evaluations: int, cost: float) -> None:
    mixed = [each for each in starting_patterns(evaluations, Smaller("half", cost)) if each.small]
    for pattern in mixed:
        for each in (pattern, *pattern.neighbours(evaluations)):
            assert evaluations - 2 * (1 - cost) - 1e-6 <= each.evaluations <= evaluations + 1e-6
        table = Table(
            t=np.arange(pattern.rows, 0.0, -1.0), c=np.ones(pattern.rows), w=np.zeros(pattern.rows),
            uncond=pattern.modes, X=np.eye(pattern.rows + 1), networks=pattern.networks,
        )  # fmt: skip
        assert table.cost(1.5, {"half": cost}) == pytest.approx(pattern.evaluations)
    assert mixed or int(evaluations / cost + 1e-9) == evaluations


def sized(problem: SearchProblem, *, cost: float, good: bool) -> SearchProblem:
    """With a smaller network that is as good as the model's own, or knows nothing."""
    own = problem.network("")

    def nothing(x: torch.Tensor, t: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return 0.0 * x

    smaller = replace(own, cost=cost) if good else Branches(nothing, nothing, cost)
    return replace(problem, smaller={"half": smaller})


def test_a_smaller_network_is_used_where_it_is_good_and_left_where_it_is_not(
    teacher: Teacher, problem: SearchProblem, placed: dict[int, Table]
) -> None:
    options = replace(QUICK, smaller="half")
    costs = {"half": 0.5}
    good = search_placed(teacher, sized(problem, cost=0.5, good=True), (8,), options=options)[8].table
    assert "half" in good.networks
    assert good.cost(GUIDANCE, costs) <= 8
    errors = [
        pooled_error(roll_out(sized(problem, cost=0.5, good=True), each).final, teacher.final, log=True)
        for each in (good, placed[8])
    ]
    assert errors[0] < 0.7 * errors[1], "twice as many forwards for the same"
    bad = search_placed(teacher, sized(problem, cost=0.5, good=False), (8,), options=options)[8].table
    assert not bad.networks


def test_a_network_that_is_not_there_is_named(teacher: Teacher, problem: SearchProblem) -> None:
    with pytest.raises(ValueError, match="there is no 'half'; there are none"):
        search_placed(teacher, problem, (8,), options=replace(QUICK, smaller="half"))
    with pytest.raises(ValueError, match="small"):
        Pattern(3, (0, 1, 2), (1,))


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_the_smallest_budgets_are_possible(problem: SearchProblem, teacher: Teacher, budget: int) -> None:
    found = search_placed(teacher, problem, (budget,), options=QUICK)[budget]
    assert found.table.network_evaluations(GUIDANCE) <= budget


def test_without_guidance_there_is_nothing_to_place(problem: SearchProblem, teacher: Teacher) -> None:
    with pytest.raises(ValueError, match="guidance"):
        search_placed(teacher, replace(problem, guidance_scale=1.0), (4,), options=QUICK)
    with pytest.raises(ValueError, match="evaluations"):
        search_placed(teacher, problem, (0,), options=QUICK)


@pytest.mark.parametrize(("switch", "value"), [("fit_seeds", 0), ("screen", 0), ("starts", 0), ("shifts", ())])
def test_impossible_switches_are_refused(switch: str, value: object) -> None:
    with pytest.raises(ValueError, match=switch):
        PlacementOptions(**{switch: value})  # type: ignore[arg-type]
