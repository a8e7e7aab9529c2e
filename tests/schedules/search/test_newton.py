from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.moved import moved_cost
from schedules.search.newton import NewtonOptions, descend
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.table_numbers import Place, TableNumbers
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import Table


@pytest.fixture(scope="module")
def guided(flow: MixtureFlow) -> SearchProblem:
    return replace(mixture_problem(flow, 12), unconditional=gaussian_mixture(seed=4), guidance_scale=1.5, batch=5)


def placed(problem: SearchProblem) -> Table:
    """A table with every kind of row."""
    table = compile_table("ab2", shifted(4, 2.0), "flow")
    weights = np.array([1.0, 0.9, 0.0, 1.1])
    return replace(table, w=weights, uncond=("fresh", "reused", "skipped", "fresh")) if problem.guided else table


def numbers_of(problem: SearchProblem) -> TableNumbers:
    return TableNumbers.of(placed(problem), guided=problem.guided, time_scale=problem.time_scale)


def test_rows_without_guidance_have_no_weight_to_move(guided: SearchProblem) -> None:
    weights = [place.row for place in numbers_of(guided).places if place.kind == "weight"]
    assert weights == [0, 1, 3]
    plain = TableNumbers.of(placed(guided), guided=False, time_scale=1000.0)
    assert not [place for place in plain.places if place.kind == "weight"]


def test_a_gain_is_kept_by_every_later_sample() -> None:
    table = compile_table("euler", shifted(3, 2.0), "flow")
    numbers = TableNumbers.of(table, guided=False, time_scale=1000.0)
    moved = numbers.nudged(Place("gain", 1, 2), 0.5)
    assert (moved.X - table.X)[:, 2].tolist() == [0.0, 0.0, 0.5, 0.5]


def test_steps_that_leave_no_sampler_are_refused() -> None:
    table = compile_table("euler", shifted(3, 2.0), "flow")
    numbers = TableNumbers.of(table, guided=False, time_scale=1000.0)
    steps = np.array([-0.9 if place == Place("time", 0) else 0.0 for place in numbers.places])
    assert numbers.moved(steps) is None
    assert numbers.moved(-steps).t[0] == 1000.0  # type: ignore[union-attr]


def test_tables_over_more_than_one_noise_cannot_move() -> None:
    table = compile_table("euler", shifted(2, 2.0), "flow")
    wider = Table(t=table.t, c=table.c, w=table.w, uncond=table.uncond, X=np.insert(table.X, 1, 0.0, axis=1),
                  base=("noise", "image"))  # fmt: skip
    with pytest.raises(ValueError, match="one noise"):
        TableNumbers.of(wider, guided=False, time_scale=1000.0)


@pytest.mark.parametrize(("steps", "done"), [(1, 0), (3, 0), (7, 0), (3, 1), (7, 3)])
@pytest.mark.parametrize(("rounds", "many"), [((4,), ()), ((), (3, 4)), ((4,), (4,))])
def test_the_cost_is_what_the_network_does(
    calibration: SearchProblem, steps: int, done: int, rounds: tuple[int, ...], many: tuple[int, ...]
) -> None:
    counted = 0

    def count(seen: torch.Tensor) -> None:
        nonlocal counted
        counted += len(seen)

    def counting(x: torch.Tensor, t: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        count(x)
        output = calibration.conditional(x, t, rows)
        if output.requires_grad:
            output.register_hook(count)
        return output

    few = replace(calibration.take(4), conditional=counting, unconditional=counting, guidance_scale=2.0)
    split = Split(few, torch.zeros_like(few.noise))
    options = NewtonOptions(rounds=rounds, many=many, dampings=(1e9,), gentle=(1e9, 1e10), sketched=6, directions=1)
    found = descend([compile_table("euler", shifted(steps, 2.0), "flow")], split, split, options, done=done)
    moving = sum(4 * (moved_cost(steps, done) + steps) for _ in rounds)
    assert found.evaluations == 4 * steps + moving + steps * options.finish(seeds=4, validation=4)
    assert 2 * found.evaluations == counted


@pytest.mark.parametrize("steps", [4, 7])
def test_it_beats_its_start_by_far_on_unseen_seeds(
    flow: MixtureFlow, calibration: SearchProblem, calibration_teacher: Teacher, steps: int
) -> None:
    unseen = mixture_problem(flow, 96, seed_offset=40_000)
    target = run_teacher(unseen, 96, nodes=1).final
    start = compile_table("unipc-2", shifted(steps, 2.0), "flow")
    kept, other = (
        Split(calibration.take(40), calibration_teacher.final[:40]),
        Split(calibration.drop(40), calibration_teacher.final[40:]),
    )
    options = NewtonOptions(rounds=(40, 40, 40), many=())
    found = descend([start], kept, other, options)
    before, after = (pooled_error(roll_out(unseen, table).final, target, log=True) for table in (start, found.table))
    assert after < 0.1 * before


@pytest.mark.parametrize(("rounds", "many"), [((40, 40), ()), ((), (40, 40, 40))])
def test_it_goes_down_in_what_is_seen(
    calibration: SearchProblem, calibration_teacher: Teacher, rounds: tuple[int, ...], many: tuple[int, ...]
) -> None:
    def descended(view: Callable[[torch.Tensor], torch.Tensor]) -> float:
        kept = Split(calibration.take(40), view(calibration_teacher.final[:40]), view)
        return descend([start], kept, judging, NewtonOptions(rounds=rounds, many=many)).validation_error

    judging = Split(calibration.drop(40), calibration_teacher.final[40:])
    start = compile_table("unipc-2", shifted(3, 2.0), "flow")
    seeing, blind = descended(lambda final: final), descended(lambda final: 0 * final[:, :1])
    assert blind == descend([start], judging, judging, NewtonOptions(rounds=(), many=())).validation_error
    assert seeing < 0.5 * blind


@pytest.mark.parametrize(("rounds", "many"), [((20,), ()), ((), (20,))])
def test_batches_do_not_change_the_step(
    calibration: SearchProblem, calibration_teacher: Teacher, rounds: tuple[int, ...], many: tuple[int, ...]
) -> None:
    start, options = compile_table("ab2", shifted(4, 2.0), "flow"), NewtonOptions(rounds=rounds, many=many)
    splits = [Split(replace(calibration, batch=batch), calibration_teacher.final) for batch in (7, 64)]
    tables = [descend([start], split, splits[0], options).table for split in splits]
    assert tables[0] is not start
    assert tables[0].difference(tables[1], tolerance=2e-3) is None


def test_without_rounds_the_start_comes_back(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    split = Split(calibration, calibration_teacher.final)
    starts = [compile_table(solver, shifted(5, 2.0), "flow") for solver in ("euler", "unipc-2")]
    found = descend(starts, split, split, NewtonOptions(rounds=(), many=()))
    assert found.table is starts[1]


def test_rounds_go_through_all_seeds(
    flow: MixtureFlow, calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    unseen = mixture_problem(flow, 96, seed_offset=40_000)
    target = run_teacher(unseen, 96, nodes=1).final
    start, options = compile_table("unipc-2", shifted(5, 2.0), "flow"), NewtonOptions(rounds=(4,) * 6, many=())
    judging = Split(calibration.drop(40), calibration_teacher.final[40:])
    few, many = (Split(calibration.take(n), calibration_teacher.final[:n]) for n in (4, 24))
    tables = [descend([start], split, judging, options).table for split in (few, many)]
    errors = [pooled_error(roll_out(unseen, table).final, target, log=True) for table in tables]
    assert errors[1] < 0.6 * errors[0]


def test_a_start_that_overflows_is_never_taken(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    split = Split(calibration, calibration_teacher.final)
    good = compile_table("euler", shifted(4, 2.0), "flow")
    wild = replace(good, X=good.X * 1e30)
    assert descend([wild, good], split, split, NewtonOptions(rounds=(), many=())).table is good


@pytest.mark.parametrize(
    ("switches", "named"),
    [
        ({"rounds": (8, 0)}, "rounds"),
        ({"many": (0,)}, "many"),
        ({"directions": 0}, "directions"),
        ({"sketched": 0}, "sketched"),
        ({"dampings": ()}, "dampings"),
        ({"gentle": (0.0,)}, "gentle"),
        ({"floor": 0.0}, "floor"),
    ],
)
def test_impossible_switches_are_refused(switches: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        NewtonOptions(**switches)  # type: ignore[arg-type]


def test_many_seeds_help_where_few_have_overfitted(
    flow: MixtureFlow, calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    unseen = mixture_problem(flow, 96, seed_offset=40_000)
    target = run_teacher(unseen, 96, nodes=1).final
    start = compile_table("unipc-2", shifted(5, 2.0), "flow")
    judging = Split(calibration.drop(40), calibration_teacher.final[40:])
    split = Split(calibration.take(40), calibration_teacher.final[:40])
    few = descend([start], split, judging, NewtonOptions(rounds=(6, 6), many=())).table
    more = descend([few], split, judging, NewtonOptions(rounds=(), many=(40, 40))).table
    errors = [pooled_error(roll_out(unseen, table).final, target, log=True) for table in (few, more)]
    assert (more.t == few.t).all()
    assert errors[1] < 0.6 * errors[0]


def test_no_step_is_taken_that_the_validation_seeds_speak_against(
    calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    """Steps within two standard errors of the best end up to 1.4 times above where they began."""
    judging = Split(calibration.drop(40), calibration_teacher.final[40:])
    many = Split(calibration.take(40), calibration_teacher.final[:40])
    good = descend([compile_table("ab2", shifted(6, 2.0), "flow")], many, judging, NewtonOptions(many=(40, 40)))
    for first in range(0, 40, 5):  # few seeds each, of all the numbers of a table that fits all of them
        few = Split(calibration.take(first + 5).drop(first), calibration_teacher.final[first : first + 5])
        found = descend([good.table], few, judging, NewtonOptions(rounds=(), many=(5, 5)))
        assert found.validation_error <= 1.1 * good.validation_error


def test_a_view_or_a_network_without_gradients_is_refused(
    calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    def cut(x: torch.Tensor, t: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return calibration.conditional(x, t, rows).detach()

    split, options = Split(calibration, calibration_teacher.final), NewtonOptions(rounds=())
    start = compile_table("euler", shifted(3, 2.0), "flow")
    with pytest.raises(ValueError, match="view lets no gradients"):
        descend([start], replace(split, view=lambda final: final.detach()), split, options)
    with pytest.raises(ValueError, match="network lets no gradients"):
        descend([start], replace(split, problem=replace(calibration, conditional=cut)), split, options)


@pytest.mark.parametrize(("seeds", "along"), [(256, 4), (128, 4), (100, 6), (1, 512)])
def test_few_seeds_have_more_directions_each(seeds: int, along: int) -> None:
    assert NewtonOptions(directions=4, sketched=512).along(seeds) == along
