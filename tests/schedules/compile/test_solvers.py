"""What the compilers must do whatever stock schedulers do: exactness, order, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.compile import SOLVERS, CompileError, compile_table, evaluation_sigmas
from schedules.compile.adams import adams_weights
from schedules.compile.deis import deis_weights
from schedules.compile.phi import phi
from schedules.grids import GRIDS, uniform
from schedules.noise import FLOW, vp_of_betas
from schedules.table import Table

VP = vp_of_betas("scaled_linear", 0.00085, 0.012)
UNIT_VARIANCE = ("ddim", "ipndm", "deis-2", "deis-3", "dpmpp-2m", "dpmpp-3m", "unipc-2", "unipc-3")
GAPS = st.lists(st.floats(0.02, 1.0), min_size=1, max_size=12)


def falling_grid(gaps: list[float], top: float) -> np.ndarray:
    grid = np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
    return grid / grid[0] * top


def integrate(table: Table, levels: np.ndarray, output) -> tuple[np.ndarray, np.ndarray]:
    """Run a scalar field output(x, sigma) from noise 0.7 at the evaluations' levels; the states and the history."""
    history, states = [0.7], []
    for k, sigma in enumerate(levels):
        states.append(table.X[k, : k + 1] @ history)
        history.append(output(states[-1], sigma))
    return np.array([*states, table.X[-1] @ history]), np.array(history)


@pytest.mark.parametrize("solver", SOLVERS)
@given(gaps=GAPS)
@settings(max_examples=30)
def test_flow_to_a_single_point_is_solved_exactly(solver, gaps):
    """All its paths are straight, so every consistent solver gets them right on every grid."""
    sigmas, point = falling_grid(gaps, 0.95), 0.3
    table, levels = compile_table(solver, sigmas, "flow"), evaluation_sigmas(solver, sigmas)
    states, history = integrate(table, levels, lambda x, sigma: (x - point) / sigma)
    start = 0.7  # not on the path of noise 0.7, but on that of another one
    expected = point + (start - point) * np.append(levels, 0.0) / sigmas[0]
    np.testing.assert_allclose(states, expected, atol=1e-9)
    np.testing.assert_allclose(table.x0_rows(levels, "flow") @ history, point, atol=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("solver", SOLVERS)
@given(gaps=GAPS)
@settings(max_examples=20)
def test_model_of_a_single_point_is_solved_exactly(solver, prediction, gaps):
    sigmas, point = falling_grid(gaps, 14.0), 0.3
    table, levels = compile_table(solver, sigmas, prediction, VP), evaluation_sigmas(solver, sigmas)

    def output(x: float, sigma: float) -> float:
        eps = (x - point) / sigma
        c = 1 / np.sqrt(1 + sigma**2)
        return {"epsilon": eps, "v_prediction": c * eps - sigma * c * point, "sample": point}[prediction]

    states, history = integrate(table, levels, output)
    expected = point + (states[0] - point) * np.append(levels, 0.0) / sigmas[0]
    np.testing.assert_allclose(states, expected, atol=1e-8)
    np.testing.assert_allclose(table.x0_rows(levels, prediction) @ history, point, atol=1e-8)


@given(gaps=st.lists(st.floats(0.1, 1.0), min_size=4, max_size=4), order=st.integers(1, 4))
def test_adams_weights_integrate_polynomials_exactly(gaps, order):
    sigmas = np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
    weights = adams_weights(sigmas, order)
    nodes = sigmas[-2 : -order - 2 : -1]
    for power in range(order):
        integral = (sigmas[-1] ** (power + 1) - sigmas[-2] ** (power + 1)) / (power + 1)
        assert weights @ nodes**power == pytest.approx(integral, abs=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("grid", GRIDS)
def test_every_solver_compiles_on_every_grid(solver, grid):
    for steps in (1, 2, 3, 20, 100):
        table = compile_table(solver, GRIDS[grid](steps), "flow")
        assert table.evaluations_count == (2 * steps - 1 if solver == "heun" else steps)
        assert evaluation_sigmas(solver, GRIDS[grid](steps)).shape == table.t.shape
        assert table.X[0, 0] == 1.0
        assert np.abs(table.X).max() < 100


def test_euler_is_what_the_formula_says():
    table = compile_table("euler", np.array([1.0, 0.6, 0.0]), "flow")
    np.testing.assert_allclose(table.X, [[1, 0, 0], [1, -0.4, 0], [1, -0.4, -0.6]])
    np.testing.assert_allclose(table.t, [1000, 600])
    assert (table.c == 1).all()
    assert (table.w == 1).all()
    assert table.uncond == ("fresh", "fresh")


@pytest.mark.parametrize(
    ("solver", "scale"),
    [("euler", 3.0), ("ab2", 3.0), ("ab3", 3.0), ("heun", 3.0), *((name, 10**0.5) for name in UNIT_VARIANCE)],
)
def test_start_is_scaled_as_the_stock_scheduler_of_that_name_does(solver, scale):
    assert compile_table(solver, np.array([3.0, 1.0, 0.0]), "epsilon", VP).X[0, 0] == pytest.approx(scale)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rk45", uniform(3), "flow"), "solver: must be one of .*, is 'rk45'"),
        (("euler", [1.0], "flow"), r"sigmas: must have shape \(steps \+ 1,\)"),
        (("euler", [[1.0, 0.0]], "flow"), r"sigmas: must have shape \(steps \+ 1,\)"),
        (("euler", [1.0, 0.5, 0.5, 0.0], "flow"), "sigmas: must fall strictly"),
        (("euler", [1.0, 0.5, -0.1], "flow"), "sigmas: must fall strictly, the last >= 0"),
        (("euler", [1.0, np.nan, 0.0], "flow"), "sigmas: must be finite"),
        (("euler", [1.2, 0.5, 0.0], "flow"), "sigmas: must be from 0 to 1, has 1.2"),
        (("euler", [20.0, 0.5, 0.0], "epsilon", VP), r"sigmas: must be from 0 to 14\.6\d+, has 20"),
        (("euler", uniform(3), "epsilon", FLOW), "prediction: 'epsilon' does not go with the noise schedule 'flow'"),
        (("euler", uniform(3), "flow", VP), "prediction: 'flow' does not go with the noise schedule 'vp'"),
        (("euler", uniform(3), "velocity", FLOW), "prediction: 'velocity' does not go with"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(CompileError, match=message):
        compile_table(*arguments)


def test_ipndm_is_adams_bashforth_of_rising_order_on_even_grids():
    sigmas = np.linspace(1.0, 0.0, 8)
    rows = compile_table("ipndm", sigmas, "flow").X
    for k in range(7):
        order = min(k + 1, 4)
        weights = adams_weights(sigmas[: k + 2], order)
        change = (rows[k + 1] - rows[k])[k + 1 - np.arange(order)]
        np.testing.assert_allclose(change, weights, atol=1e-14)


@given(gaps=st.lists(st.floats(0.05, 1.0), min_size=4, max_size=4), order=st.integers(1, 4))
def test_deis_weights_integrate_polynomials_in_log_rho_exactly(gaps, order):
    log_rho = np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
    weights = deis_weights(log_rho, order)
    nodes, end = log_rho[-2 : -order - 2 : -1] - log_rho[-2], log_rho[-1] - log_rho[-2]
    fine = np.linspace(0.0, end, 20_001)
    for power in range(order):
        assert weights @ nodes**power == pytest.approx(np.trapezoid(np.exp(fine) * fine**power, fine), abs=1e-8)


def test_heun_is_what_the_formula_says():
    table = compile_table("heun", np.array([1.0, 0.6, 0.2, 0.0]), "flow")
    np.testing.assert_allclose(table.t, [1000, 600, 600, 200, 200])
    np.testing.assert_allclose(
        table.X,
        [
            [1, 0, 0, 0, 0, 0],
            [1, -0.4, 0, 0, 0, 0],
            [1, -0.2, -0.2, 0, 0, 0],
            [1, -0.2, -0.2, -0.4, 0, 0],
            [1, -0.2, -0.2, -0.2, -0.2, 0],
            [1, -0.2, -0.2, -0.2, -0.2, -0.2],
        ],
    )


def test_heun_corrects_the_last_step_too_where_it_ends_above_0():
    sigmas = np.array([1.0, 0.6, 0.2])
    assert compile_table("heun", sigmas, "flow").evaluations_count == 4
    np.testing.assert_allclose(evaluation_sigmas("heun", sigmas), [1.0, 0.6, 0.6, 0.2])


def test_levels_of_a_solver_that_is_not_there_are_refused():
    with pytest.raises(CompileError, match=r"solver: must be one of .*, is 'rk45'"):
        evaluation_sigmas("rk45", uniform(3))


@pytest.mark.parametrize(("n", "limit"), [(2, 1 / 2), (3, 1 / 6)])
def test_moments_of_the_corrector_do_not_cancel(n, limit):
    assert phi(n, -1e-9) == pytest.approx(limit, rel=1e-8)
    assert phi(n, -0.9999999) == pytest.approx(phi(n, -1.0000001), rel=1e-6)
    assert phi(2, -5.0) == pytest.approx((np.exp(-5.0) - 1 + 5) / 25)
