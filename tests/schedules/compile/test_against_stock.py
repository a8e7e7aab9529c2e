"""Our compilers on the grids of stock schedulers give the probed tables.

Stock schedulers keep their sigmas in float32, and some work in variance-preserving coordinates; what the network is fed
(c X) and the result at sigma 0 are the same in both. Measured: 5e-7 of the largest coefficient at the worst.
"""

import copy

import diffusers as d
import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.noise import FLOW, vp
from schedules.probe import probe

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW_SIGMAS = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
VE_SCHEDULERS = {
    "euler": (d.EulerDiscreteScheduler, {}),
    "ab2": (d.LMSDiscreteScheduler, {"order": 2}),
    "ab3": (d.LMSDiscreteScheduler, {"order": 3}),
    "dpmpp-2m": (d.DPMSolverMultistepScheduler, {}),
    "unipc-2": (d.UniPCMultistepScheduler, {}),
}
ROUNDED_TIMES = {"dpmpp-2m", "unipc-2"}
"""Their stock forms give the network whole times, which our compilers leave as they are."""


def network_view(table):
    return np.vstack([table.c[:, None] * table.X[:-1], table.X[-1:]])


def assert_same(own, stock, time_tolerance):
    largest = max(1.0, float(np.abs(network_view(stock)).max()))
    np.testing.assert_allclose(network_view(own), network_view(stock), rtol=0, atol=1e-6 * largest)
    np.testing.assert_allclose(own.t, stock.t, rtol=0, atol=time_tolerance)


def laid_out(scheduler, steps):
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("karras", [False, True], ids=["linspace", "karras"])
@pytest.mark.parametrize(
    ("solver", "prediction"),
    [
        (solver, prediction)
        for solver in VE_SCHEDULERS
        for prediction in ("epsilon", "v_prediction", "sample")
        if (solver, prediction) != ("euler", "sample")  # stock Euler does not know it
    ],
)
def test_variance_preserving_models(solver, karras, prediction):
    make, step_options = VE_SCHEDULERS[solver]
    scheduler = make(use_karras_sigmas=karras, prediction_type=prediction, **LATENT)
    noise = vp(scheduler.alphas_cumprod.double().numpy())
    for steps in (1, 2, 3, 4, 7, 12, 20):  # LMS integrates numerically, and slowly
        sigmas = laid_out(scheduler, steps).sigmas.double().numpy()
        own = compile_table(solver, sigmas, prediction, noise)
        time_tolerance = 0.5001 if solver in ROUNDED_TIMES and karras else 2e-3
        assert_same(own, probe(scheduler, steps, step_options=step_options), time_tolerance)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_ddim(prediction):
    scheduler = d.DDIMScheduler(clip_sample=False, prediction_type=prediction, **LATENT)
    abar = scheduler.alphas_cumprod.double().numpy()
    for steps in range(1, 21):
        at_times = abar[laid_out(scheduler, steps).timesteps.numpy()]
        sigmas = np.append(np.sqrt((1 - at_times) / at_times), 0.0)
        assert_same(compile_table("ddim", sigmas, prediction, vp(abar)), probe(scheduler, steps), 1e-9)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(
    ("solver", "make"),
    [
        ("euler", lambda shift: d.FlowMatchEulerDiscreteScheduler(shift=shift)),
        ("ddim", lambda shift: d.FlowMatchEulerDiscreteScheduler(shift=shift)),
        ("dpmpp-2m", lambda shift: d.DPMSolverMultistepScheduler(flow_shift=shift, **FLOW_SIGMAS)),
        ("unipc-2", lambda shift: d.UniPCMultistepScheduler(flow_shift=shift, **FLOW_SIGMAS)),
    ],
)
def test_flow_models(solver, make, shift):
    scheduler = make(shift)
    for steps in range(1, 21):
        sigmas = laid_out(scheduler, steps).sigmas.double().numpy()
        own = compile_table(solver, sigmas, "flow", FLOW)
        assert_same(own, probe(scheduler, steps), 1.0001 if solver in ROUNDED_TIMES else 1e-4)
