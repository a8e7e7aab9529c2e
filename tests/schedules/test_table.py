import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.table import Table, TableError, all_fresh


def fields(**changes):
    """A plain Euler table of two steps, with changes."""
    return {
        "t": np.array([1000.0, 500.0]),
        "c": np.ones(2),
        "w": np.ones(2),
        "uncond": all_fresh(2),
        "X": np.array([[1.0, 0, 0], [1.0, -0.5, 0], [1.0, -0.5, -0.5]]),
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": np.ones((2, 1))}, r"t: must have shape \(E,\) with E >= 1"),
        ({"t": np.ones(0)}, r"t: must have shape \(E,\) with E >= 1"),
        ({"c": np.ones(3)}, r"c: must have shape \(2,\) as t has, has \(3,\)"),
        ({"w": np.ones(1)}, r"w: must have shape \(2,\) as t has"),
        ({"uncond": ("fresh",)}, "uncond: must have 2 entries as t has, has 1"),
        ({"uncond": ("fresh", "stale")}, r"uncond\[1\]: must be one of fresh, reused, skipped, is 'stale'"),
        ({"uncond": ("fresh", "skipped")}, r"w\[1\]: must be 0 where the unconditional output is skipped, is 1.0"),
        ({"uncond": ("reused", "fresh")}, "uncond: nothing to reuse before the first fresh"),
        ({"uncond": ("reused", "reused")}, "uncond: nothing to reuse before the first fresh"),
        ({"base": ()}, "base: must begin with 'noise'"),
        ({"base": ("image",)}, "base: must begin with 'noise'"),
        ({"base": ("noise", "draw")}, r"X: must have shape \(3, 4\), has \(3, 3\)"),
        ({"X": np.ones((3, 2))}, r"X: must have shape \(3, 3\)"),
        ({"X": np.ones((3, 3))}, "X: a row uses an output that is not there yet"),
        ({"X": np.full((3, 3), np.nan)}, "X: must be finite"),
        ({"t": np.array([np.inf, 0])}, "t: must be finite"),
        ({"w": np.array([1.0, -0.1])}, "w: must not be negative"),
        ({"networks": ("half",)}, "networks: must have 2 entries as t has, or none, has 1"),
    ],
)
def test_what_is_no_sampler_is_refused_by_field(changes, message):
    with pytest.raises(TableError, match=message):
        Table(**fields(**changes))


def test_arrays_are_copied_and_read_only():
    t = np.array([1000.0, 500.0])
    table = Table(**fields(t=t))
    t[0] = 0.0
    assert table.t[0] == 1000.0
    with pytest.raises(ValueError, match="read-only"):
        table.X[0, 0] = 2.0


def test_guidance_and_cost_follow_the_unconditional_modes():
    modes = ("fresh", "reused", "skipped", "fresh", "reused", "reused")
    rows = np.tril(np.ones((7, 7)))
    table = Table(np.arange(6.0)[::-1], np.ones(6), np.array([1, 0.5, 0, 2, 1, 1]), modes, rows)
    assert table.uncond_sources() == (0, 0, None, 3, 3, 3)
    assert table.forwards(4.0).tolist() == [2, 1, 1, 2, 1, 1]
    assert table.forwards(1.0).tolist() == [1] * 6
    assert table.network_evaluations(4.0) == 8
    assert table.network_evaluations(1.0) == 6
    np.testing.assert_allclose(table.guidance(4.0), [4, 2.5, 1, 7, 4, 4])


def test_smaller_networks_count_as_what_they_cost():
    table = Table(**fields(networks=("half", "")))
    assert (table.network(0), table.network(1)) == ("half", "")
    assert table.cost(2.0, {"half": 0.3}) == pytest.approx(2.6)
    assert table.network_evaluations(2.0, {"half": 0.3}) == 3, "rounded up"
    assert table.network_evaluations(1.0, {"half": 0.5, "third": 0.1}) == 2
    assert Table(**fields(networks=("half", "half"))).network_evaluations(2.0, {"half": 0.25}) == 1
    with pytest.raises(TableError, match="networks: nothing says what a forward of half costs"):
        table.network_evaluations(2.0)


def test_a_table_of_the_models_own_network_alone_names_none():
    table = Table(**fields(networks=("", "")))
    assert table.networks == ()
    assert table.difference(Table(**fields())) is None
    assert table.cost(2.0) == 4
    assert Table(**fields(networks=("half", ""))).difference(table) == "networks: ('half', '') against ()"


def test_draws_are_counted():
    rows = np.hstack([np.ones((3, 3)), np.tril(np.ones((3, 2)), -1)])
    assert Table(**fields(base=("noise", "draw", "draw"), X=rows)).draws_count == 2


@given(steps=st.integers(1, 12), shift=st.floats(0.5, 5))
def test_previews_of_a_flow_are_state_less_sigma_velocity(steps, shift):
    sigmas = shifted(steps, shift)
    table = compile_table("unipc-2", sigmas, "flow")
    history = np.random.default_rng(0).standard_normal(steps + 1)
    expected = table.X[:-1] @ history - sigmas[:-1] * history[1:]
    rows = table.x0_rows(sigmas[:-1], "flow")
    np.testing.assert_allclose(rows @ history, expected, atol=1e-12)
    assert not np.triu(rows[:, 1:], 1).any()


def test_preview_of_the_last_euler_step_is_the_result():
    sigmas = uniform(5)
    table = compile_table("euler", sigmas, "flow")
    np.testing.assert_allclose(table.x0_rows(sigmas[:-1], "flow")[-1], table.X[-1])


def test_preview_needs_a_sigma_for_each_evaluation():
    with pytest.raises(TableError, match=r"sigmas: must have shape \(2,\), one for each evaluation, has \(3,\)"):
        Table(**fields()).x0_rows(np.ones(3), "flow")


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({}, None),
        ({"t": np.array([1000.0, 500.0 + 1e-10])}, None),
        ({"t": np.array([1000.0, 501.0])}, r"t\[1\]: 500.0 against 501.0"),
        ({"c": np.array([1.0, 0.9])}, r"c\[1\]: 1.0 against 0.9"),
        ({"w": np.array([0.0, 1.0])}, r"w\[0\]: 1.0 against 0.0"),
        ({"X": np.array([[1.0, 0, 0], [1.0, -0.5, 0], [1.0, -0.5, -0.4]])}, r"X\[2, 2\]: -0.5 against -0.4"),
        ({"uncond": ("fresh", "reused")}, r"uncond: .*'fresh', 'fresh'.* against .*'fresh', 'reused'"),
    ],
)
def test_difference_names_the_place(changes, difference):
    found = Table(**fields()).difference(Table(**fields(**changes)), tolerance=1e-12)
    if difference is None:
        assert found is None
    else:
        assert found is not None
        with pytest.raises(AssertionError, match=difference):
            raise AssertionError(found)


def test_tables_of_other_lengths_differ():
    assert compile_table("euler", uniform(2), "flow").difference(compile_table("euler", uniform(3), "flow")) is not None
