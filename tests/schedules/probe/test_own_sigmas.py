"""Stock schedulers on a grid of one's own: taken verbatim or refused."""

import diffusers as d
import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import karras
from schedules.noise import vp
from schedules.probe import CannotRun, probe

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def test_flow_euler_takes_them_verbatim_at_shift_1():
    sigmas = karras(7)
    table = probe(d.FlowMatchEulerDiscreteScheduler(shift=1.0), 7, sigmas=sigmas)
    assert table.difference(compile_table("euler", sigmas, "flow"), tolerance=1e-6) is None


def test_unipc_takes_flow_sigmas_and_rounds_only_the_times():
    sigmas = karras(7)
    stock = d.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    own = compile_table("unipc-2", sigmas, "flow")
    table = probe(stock, 7, sigmas=sigmas)
    np.testing.assert_allclose(table.X, own.X, atol=3e-5)  # float32 makes its 1 - 1e-6 to 1 - 1.013e-6; measured 1.3e-5
    assert np.abs(table.t - own.t).max() <= 1.0


def test_euler_takes_them_with_the_trailing_zero():
    scheduler = d.EulerDiscreteScheduler(**LATENT)
    sigmas = np.array([14.0, 5.0, 2.0, 0.5, 0.0])
    own = compile_table("euler", sigmas, "epsilon", vp(scheduler.alphas_cumprod.double().numpy()))
    assert probe(scheduler, 4, sigmas=sigmas).difference(own, tolerance=1e-6) is None


@pytest.mark.parametrize(
    "options", [{"shift": 3.0}, {"shift_terminal": 0.02}, {"use_karras_sigmas": True}, {"use_beta_sigmas": True}]
)
def test_scheduler_that_would_change_them_is_refused(options):
    with pytest.raises(CannotRun, match="sigmas: FlowMatchEulerDiscreteScheduler changes them; set shift to 1"):
        probe(d.FlowMatchEulerDiscreteScheduler(**options), 5, sigmas=np.linspace(1, 0, 6) ** 2)


def test_scheduler_that_takes_none_is_refused():
    with pytest.raises(CannotRun, match="sigmas: DPMSolverMultistepScheduler takes none; compile them"):
        probe(d.DPMSolverMultistepScheduler(), 5, sigmas=np.linspace(1, 0, 6))


@pytest.mark.parametrize("sigmas", [[1.0, 0.5], [1.0, 0.5, 0.1], [1.0, 0.5, 0.2, 0.0]])
def test_grid_of_another_length_or_end_is_refused(sigmas):
    with pytest.raises(CannotRun, match="sigmas: must have 3 values for 2 steps, the last 0"):
        probe(d.FlowMatchEulerDiscreteScheduler(), 2, sigmas=sigmas)


def test_first_times_that_coincide_when_rounded_are_both_stepped():
    sigmas = np.array([0.9995, 0.9991, 0.5, 0.0])
    stock = d.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    table = probe(stock, 3, sigmas=sigmas)
    assert table.t[0] == table.t[1] == 999
    own = compile_table("unipc-2", sigmas, "flow")
    np.testing.assert_allclose(table.X, own.X, rtol=1e-3)  # 1 - 0.9995 has four digits in float32
