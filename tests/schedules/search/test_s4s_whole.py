from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from schedules.compile import compile_table
from schedules.compile.adams import adams_weights
from schedules.grids import shifted
from schedules.search.descent import DescentOptions
from schedules.search.evaluate import pooled_error, seed_errors
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.s4s import s4s
from schedules.search.s4s_whole import WholeOptions, s4s_whole
from schedules.search.teacher import Teacher

STEPS = 5
SMALL = WholeOptions(spend=6_000, descent=DescentOptions(seeds=32))
STILL = replace(SMALL, spend=0, rates=(1e-9, 1e-9))


def error(problem: SearchProblem, teacher: Teacher, sampler: Sampler) -> float:
    return pooled_error(roll_out(problem, sampler.table).final, teacher.final, log=True)


def test_it_beats_three_outputs_and_one_alternation_on_held_out_seeds(
    calibration: SearchProblem, calibration_teacher: Teacher, held_out: SearchProblem, held_out_teacher: Teacher
) -> None:
    """At equal cost."""
    rounds = SMALL.spend // (5 * 32 * STEPS // 2)
    rival = s4s(calibration_teacher, calibration, [STEPS], alternate=True, rounds=rounds, options=SMALL.descent)[STEPS]
    found = s4s_whole(calibration_teacher, calibration, [STEPS], options=SMALL)[STEPS]
    assert error(held_out, held_out_teacher, found) < 0.8 * error(held_out, held_out_teacher, rival)
    last = np.diff(found.table.X, axis=0)[-1, 1:]
    assert (np.abs(last) > 1e-4).all()


def test_it_spends_what_it_says(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    spent = 0

    def counting(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        def count(_: Tensor | None = None) -> None:
            nonlocal spent
            spent += len(x)

        count()
        output = calibration.conditional(x, t, rows)
        if output.requires_grad:
            output.register_hook(count)
        return output

    options = WholeOptions(spend=3_000, shifts=(1.0, 2.0), descent=DescentOptions(seeds=32, each=8))
    s4s_whole(calibration_teacher, replace(calibration, conditional=counting), [3, 4], options=options)
    assert spent == options.cost(3, 64) + options.cost(4, 64)
    assert 0.9 * 3_000 < options.cost(4, 64) <= 3_000
    assert options.rounds(4, 64) == 22


def test_it_begins_with_the_grid_that_the_validation_seeds_like_best(
    calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    validation, target = calibration.take(32).drop(24), calibration_teacher.final[24:32]
    errors = {}
    for shift in STILL.shifts:
        final = roll_out(validation, compile_table("ab2", shifted(STEPS, shift), "flow")).final
        errors[shift] = np.log(seed_errors(final, target)).mean()
    best = shifted(STEPS, min(errors, key=errors.__getitem__))
    found = s4s_whole(calibration_teacher, calibration, [STEPS], options=STILL)[STEPS]
    np.testing.assert_allclose(found.sigmas, best, atol=1e-6)
    assert found.table.difference(compile_table("ab2", best, "flow"), tolerance=1e-5) is None


def test_what_is_not_its_turn_stays(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    one = replace(SMALL, spend=1_000, shifts=(2.0,))
    found = s4s_whole(calibration_teacher, calibration, [3], options=replace(one, turns=("coefficients",)))[3]
    np.testing.assert_allclose(found.sigmas, shifted(3, 2.0))
    np.testing.assert_allclose(found.table.t, 1000 * found.sigmas[:-1])
    assert found.table.difference(compile_table("ab2", found.sigmas, "flow"), tolerance=1e-3) is not None
    found = s4s_whole(calibration_teacher, calibration, [3], options=replace(one, turns=("times",)))[3]
    start = shifted(3, 2.0)
    assert np.abs(found.sigmas - start).max() > 1e-3
    for k, row in enumerate(np.diff(found.table.X, axis=0)):
        share = adams_weights(start[: k + 2], min(k + 1, 2)) / (start[k + 1] - start[k])  # newest output first
        expected = np.zeros(3)
        expected[k - len(share) + 1 : k + 1] = share[::-1]
        np.testing.assert_allclose(row[1:] / (found.sigmas[k + 1] - found.sigmas[k]), expected, atol=1e-9)


def test_it_goes_by_what_is_to_be_seen(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    other = roll_out(calibration, compile_table("euler", shifted(3, 1.5), "flow")).final
    split = Split(calibration, 2 * other, lambda final: 2 * final)
    plain = s4s_whole(calibration_teacher, calibration, [3], options=SMALL)[3]
    found = s4s_whole(calibration_teacher, calibration, [3], calibration=split, options=SMALL)[3]
    errors = [split.error(roll_out(calibration, each.table).final, log=True) for each in (plain, found)]
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("bad", [{"shifts": ()}, {"turns": ()}, {"rates": (0.0, 0.1)}])
def test_impossible_options_are_refused(bad: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        WholeOptions(**bad)  # type: ignore[arg-type]
