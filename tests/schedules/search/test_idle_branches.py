"""Forwards that nothing comes of are skipped, and only those: the picture is the same and costs less."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem
from schedules.search.idle_branches import with_all_branches, without_idle_branches
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.table import Table, UncondMode


@pytest.fixture(scope="module")
def guided(flow: MixtureFlow) -> SearchProblem:
    other = gaussian_mixture(components=1, spread=1.0, seed=4)
    return replace(mixture_problem(flow, 4), unconditional=other, guidance_scale=2.0)


def table(*rows: tuple[float, UncondMode]) -> Table:
    plain = compile_table("ab2", shifted(len(rows), 2.0), "flow")
    return replace(plain, w=[w for w, _ in rows], uncond=tuple(mode for _, mode in rows))


@pytest.mark.parametrize(
    ("rows", "modes", "cost"),
    [
        ([(0, "fresh")], ("skipped",), 1),
        ([(0, "fresh"), (0.7, "fresh")], ("skipped", "fresh"), 3),
        ([(0, "fresh"), (0.7, "reused")], ("fresh", "reused"), 3),
        ([(0, "fresh"), (0, "reused"), (1, "fresh")], ("skipped", "skipped", "fresh"), 4),
        ([(1, "fresh"), (0, "fresh"), (0, "reused"), (2, "reused")], ("fresh", "fresh", "skipped", "reused"), 6),
        ([(0, "skipped"), (1, "fresh"), (0.1, "reused")], ("skipped", "fresh", "reused"), 4),
        ([(1, "fresh"), (1, "fresh")], ("fresh", "fresh"), 4),
    ],
)
def test_what_no_weight_lets_in_is_skipped(
    guided: SearchProblem, rows: list[tuple[float, UncondMode]], modes: tuple[UncondMode, ...], cost: int
) -> None:
    lean = without_idle_branches(table(*rows))
    assert (lean.uncond, lean.network_evaluations(2.0)) == (modes, cost)
    torch.testing.assert_close(roll_out(guided, lean).final, roll_out(guided, table(*rows)).final)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=6))
def test_where_nothing_is_reused_all_branches_come_back(weights: list[float]) -> None:
    full = table(*((w, "fresh") for w in weights))
    lean = without_idle_branches(full)
    assert lean.uncond == tuple("fresh" if w else "skipped" for w in weights)
    assert with_all_branches(lean).difference(full) is None


def test_a_table_that_reuses_keeps_its_rows() -> None:
    placed = table((0, "skipped"), (1, "fresh"), (0.5, "reused"))
    assert with_all_branches(placed).difference(placed) is None
