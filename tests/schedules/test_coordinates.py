"""The same sampler in both coordinates draws the same result, whatever the network computes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.compile import SOLVERS, compile_table, evaluation_sigmas
from schedules.coordinates import CoordinatesError, exploding_sigmas, flow_levels, to_flow, to_network, view
from schedules.grids import uniform
from schedules.noise import FLOW, vp_of_betas
from schedules.table import Table

VP = vp_of_betas("linear", 1e-4, 0.02)
TOP = float(flow_levels(np.array(VP.sigma_max)))
PREDICTIONS = ("epsilon", "v_prediction", "sample")
GAPS = st.lists(st.floats(0.05, 1.0), min_size=1, max_size=10)
STARTS = st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=3)


def falling_levels(gaps: list[float], top: float) -> np.ndarray:
    levels = np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
    return levels / levels[0] * top


def network(z: np.ndarray, t: float) -> np.ndarray:
    return 1.5 * np.tanh(0.7 * z + 0.3 * np.sin(3 * z) + t / 1000) + 0.2 * np.roll(z, 1)


def run(table: Table, noise: np.ndarray, outputs) -> np.ndarray:
    history = [noise]
    for k in range(table.evaluations_count):
        history.append(outputs(k, table.c[k] * (table.X[k, : k + 1] @ np.array(history))))
    return table.X[-1] @ np.array(history)


def run_flow(table: Table, levels: np.ndarray, noise: np.ndarray, prediction: str) -> np.ndarray:
    """With the network's velocity, worked out from x0 and the noise at every call."""

    def velocity(k: int, x: np.ndarray) -> np.ndarray:
        s, sigma = levels[k], min(levels[k] / max(1 - levels[k], 1e-12), VP.sigma_max)
        alpha, beta = 1 / np.sqrt(1 + sigma**2), sigma / np.sqrt(1 + sigma**2)
        z = x / np.sqrt((1 - s) ** 2 + s**2)
        out = network(z, float(VP.time(np.array(sigma))))
        if prediction == "epsilon":
            return out - (z - beta * out) / alpha
        if prediction == "v_prediction":
            return (beta * z + alpha * out) - (alpha * z - beta * out)
        return (z - alpha * out) / beta - out

    return run(table, noise, velocity)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("solver", ["euler", "ab3", "unipc-3", "heun"])
@given(gaps=GAPS, top=st.sampled_from([0.5, TOP, 1.0]), start=STARTS)
@settings(max_examples=25)
def test_a_table_of_a_wrapped_network_and_its_own_draw_the_same(solver, prediction, gaps, top, start):
    sigmas = falling_levels(gaps, top)
    flow, levels = compile_table(solver, sigmas, "flow"), np.append(evaluation_sigmas(solver, sigmas), 0.0)
    own = to_network(flow, levels, prediction, VP)
    wanted = run_flow(flow, levels, np.array(start), prediction)
    got = run(own, np.array(start), lambda k, z: network(z, own.t[k]))
    np.testing.assert_allclose(got, wanted, atol=1e-8 * max(1.0, np.abs(wanted).max(), np.abs(own.X).max()))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("solver", ["ddim", "ab2", "dpmpp-3m", "deis-3", "heun"])
@given(gaps=GAPS, start=STARTS)
@settings(max_examples=25)
def test_a_networks_own_table_and_that_of_its_flow_draw_the_same(solver, prediction, gaps, start):
    sigmas = falling_levels(gaps, 100.0)
    own = compile_table(solver, sigmas, prediction, VP)
    levels = flow_levels(np.append(evaluation_sigmas(solver, sigmas), 0.0))
    flow = to_flow(own, levels, prediction, VP)
    wanted = run(own, np.array(start), lambda k, z: network(z, own.t[k]))
    got = run_flow(flow, levels, np.array(start), prediction)
    np.testing.assert_allclose(got, wanted, atol=1e-8 * max(1.0, np.abs(wanted).max(), np.abs(own.X).max()))
    assert to_network(flow, levels, prediction, VP).difference(own, tolerance=1e-9) is None


@pytest.mark.parametrize("solver", ["ddim", "deis-2", "deis-3", "dpmpp-2m", "dpmpp-3m", "unipc-2", "unipc-3"])
@given(gaps=GAPS)
@settings(max_examples=25)
def test_solvers_of_log_snr_are_the_same_sampler_in_both_coordinates(solver, gaps):
    levels = falling_levels(gaps, 0.99)
    sigmas = exploding_sigmas(levels, VP)
    changed = to_network(compile_table(solver, levels, "flow"), levels, "epsilon", VP)
    own = compile_table(solver, sigmas, "epsilon", VP)
    # The starting noise is unit variance in each one's own coordinates.
    scale = np.where(np.arange(own.X.shape[1]) == 0, changed.X[0, 0] / own.X[0, 0], 1.0)
    assert changed.difference(Table(own.t, own.c, own.w, own.uncond, own.X * scale), tolerance=1e-9) is None


@pytest.mark.parametrize("end", [0.0, 0.1])
def test_euler_on_a_flow_is_ddim(end):
    levels = np.array([0.9, 0.5, 0.2, end])
    euler = to_network(compile_table("euler", levels, "flow"), levels, "v_prediction", VP)
    ddim = compile_table("ddim", exploding_sigmas(levels, VP), "v_prediction", VP)
    np.testing.assert_allclose(euler.X[:, 1:], ddim.X[:, 1:], atol=1e-12)
    np.testing.assert_allclose(euler.t, ddim.t)
    back = to_flow(ddim, levels, "v_prediction", VP)
    np.testing.assert_allclose(back.X[:, 1:], compile_table("euler", levels, "flow").X[:, 1:], atol=1e-12)


def test_pure_noise_is_given_to_the_network_as_its_largest_level():
    table = to_network(compile_table("euler", uniform(2), "flow"), uniform(2), "epsilon", VP)
    assert table.t[0] == pytest.approx(999)
    assert table.c[0] * table.X[0, 0] == pytest.approx(1.0)
    assert np.isfinite(table.X).all()


def test_guidance_weights_go_along():
    euler = compile_table("euler", uniform(3), "flow")
    guided = Table(euler.t, euler.c, np.array([0.0, 1.0, 0.5]), ("skipped", "fresh", "fresh"), euler.X)
    changed = to_network(guided, uniform(3), "epsilon", VP)
    assert (changed.uncond, changed.w.tolist()) == (guided.uncond, [0.0, 1.0, 0.5])


def test_further_base_latents_keep_their_columns():
    rows = np.array([[1, 0.0, 0, 0], [0.8, 0.1, -0.3, 0], [0.2, 0.5, -0.1, -0.4]])
    flow = Table(np.array([900.0, 400.0]), np.ones(2), np.ones(2), ("fresh", "fresh"), rows, base=("noise", "draw"))
    levels = np.array([0.9, 0.4, 0.0])
    own = to_network(flow, levels, "epsilon", VP)
    assert own.base == flow.base
    assert to_flow(own, levels, "epsilon", VP).difference(flow, tolerance=1e-12) is None


def reusing() -> Table:
    euler = compile_table("euler", uniform(2), "flow")
    return Table(euler.t, euler.c, euler.w, ("fresh", "reused"), euler.X)


@pytest.mark.parametrize(
    ("table", "levels", "prediction", "noise", "message"),
    [
        (compile_table("euler", uniform(2), "flow"), uniform(3), "epsilon", VP, r"levels: must have shape \(3,\)"),
        (compile_table("euler", uniform(1), "flow"), [1.0, 1.0], "epsilon", VP, "levels: the last must be"),
        (compile_table("euler", uniform(1), "flow"), [1.5, 0.0], "epsilon", VP, "levels: must be from 0 to 1"),
        (compile_table("euler", uniform(1), "flow"), uniform(1), "flow", FLOW, "'flow' with 'flow' noise"),
        (compile_table("euler", uniform(1), "flow"), uniform(1), "epsilon", FLOW, "'epsilon' with 'flow' noise"),
        (compile_table("euler", [9.0, 0.0], "epsilon", VP), [0.9, 0.0], "epsilon", VP, "not in flow coordinates"),
        (reusing(), uniform(2), "epsilon", VP, "uncond: a reused"),
    ],
)
def test_what_cannot_be_changed_is_refused(table, levels, prediction, noise, message):
    with pytest.raises(CoordinatesError, match=message):
        to_network(table, levels, prediction, noise)


def test_a_clean_image_has_no_noise_to_tell():
    with pytest.raises(CoordinatesError, match="undefined at 0"):
        view(np.array([0.0]), "sample", VP)


def test_every_solver_survives_the_way_there_and_back():
    for solver in SOLVERS:
        flow = compile_table(solver, 0.98 * uniform(6), "flow")
        levels = np.append(evaluation_sigmas(solver, 0.98 * uniform(6)), 0.0)
        for prediction in PREDICTIONS:
            back = to_flow(to_network(flow, levels, prediction, VP), levels, prediction, VP)
            assert back.difference(flow, tolerance=1e-10) is None
