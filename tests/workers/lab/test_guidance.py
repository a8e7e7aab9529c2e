"""The range of guidance scales that a schedule serves is measured."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from schedules.artefact import LEARNED
from schedules.search.analytic import gaussian_mixture
from schedules.search.method import Sampler
from workers.lab.searching.found import Found
from workers.lab.searching.guidance import FAILED, holding_range, tried
from workers.lab.searching.request import SearchRequest, parse_range
from workers.lab.searching.run import SearchRun
from workers.lab.searching.search import search_schedule

MakeBench = Callable[[SearchRequest], SearchRun]


def test_without_a_wish_the_searched_scale_alone_is_served(bench_of: MakeBench, request_: SearchRequest) -> None:
    served = search_schedule(bench_of(request_)).valid_for.guidance_scale
    assert served == (request_.guidance_scale, request_.guidance_scale)


def test_a_wish_is_granted_where_no_baseline_is_better(bench_of: MakeBench, request_: SearchRequest) -> None:
    wide = replace(request_, budgets=(4,), guidance_range=(1.0, 2.0), baselines=("uniform",))
    low, high = search_schedule(bench_of(wide)).valid_for.guidance_scale
    assert low < request_.guidance_scale < high


def test_where_a_baseline_is_better_the_range_gives_up(bench_of: MakeBench, request_: SearchRequest) -> None:
    bench = bench_of(replace(request_, budgets=(4,), guidance_range=(1.0, 2.0)))
    spoilt = Found(Sampler.compiled("euler", np.array([1.0, 0.999, 0.998, 0.997, 0.0])), "searched", 1.0, 1.0)
    assert holding_range(bench, {4: spoilt}) == (request_.guidance_scale, request_.guidance_scale)


def test_budgets_that_stand_for_all_are_always_measured(bench_of: MakeBench, request_: SearchRequest) -> None:
    bench = bench_of(replace(request_, budgets=(6,), guidance_range=(1.0, 2.0)))
    levels = np.append(np.linspace(1.0, 0.995, 6), 0.0)
    spoilt = Found(Sampler.compiled("euler", levels), "searched", 1.0, 1.0)
    assert holding_range(bench, {6: spoilt}) == (request_.guidance_scale, request_.guidance_scale)
    assert tried([1, 2, 3]) == [3]
    assert tried([5, 6, 7, 20]) == [5, 7, 20]


def test_a_learned_artefact_serves_a_range_that_was_measured(bench_of: MakeBench, request_: SearchRequest) -> None:
    wide = replace(
        request_, solver=LEARNED, budgets=(3,), guidance_range=(1.4, 1.6), baselines=("euler uniform",), refine=8
    )
    schedule = search_schedule(bench_of(wide))
    assert schedule.valid_for.guidance_scale == (1.4, 1.6)
    assert FAILED not in schedule.provenance.parameters


def test_a_learned_artefact_whose_range_fails_is_narrowed_and_says_so(
    bench_of: MakeBench, request_: SearchRequest
) -> None:
    # Many modes and strong guidance are what coefficients fitted at 1.5 do not know; Heun's method evaluates twice.
    prompted, unprompted = (gaussian_mixture(dimensions=48, components=6, spread=0.1, seed=seed) for seed in (0, 1))
    run = bench_of(
        replace(
            request_, solver=LEARNED, budgets=(3,), guidance_range=(1.25, 15.0), baselines=("heun shift3",), refine=8
        )
    )
    crowded = replace(run.model, field=lambda prompts: prompted if prompts[0] else unprompted)
    schedule = search_schedule(replace(run, model=crowded), variant="wide")
    low, high = schedule.valid_for.guidance_scale
    assert low == 1.25
    assert high in (1.5, 8.25)
    said = str(schedule.provenance.parameters[FAILED])
    assert said.startswith("heun shift3 has ")
    assert "in 3 steps at guidance 15" in said
    assert (schedule.variant, schedule.solver_id) == ("wide", "learned@wide")


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b"])
def test_a_range_is_two_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="guidance_range"):
        parse_range(text)


def test_a_range_encloses_its_scale() -> None:
    with pytest.raises(ValueError, match="must enclose 2"):
        SearchRequest("euler", (4,), 2.0, guidance_range=(2.5, 3.0))
