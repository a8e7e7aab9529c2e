"""The range of guidance scales that a schedule serves is measured."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from schedules.search.method import Sampler
from workers.lab.searching.found import Found
from workers.lab.searching.guidance import holding_range
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


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b"])
def test_a_range_is_two_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="guidance_range"):
        parse_range(text)


def test_a_range_encloses_its_scale() -> None:
    with pytest.raises(ValueError, match="must enclose 2"):
        SearchRequest("euler", (4,), 2.0, guidance_range=(2.5, 3.0))
