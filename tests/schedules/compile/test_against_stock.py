"""Our compilers on the grids of stock schedulers give the probed tables.

Stock schedulers keep their sigmas in float32, and some their samples; that alone parts the tables by up to 4e-6 of the
largest coefficient (UniPC-3). With both in float64 it is 2e-14 at the worst. Some work in variance-preserving
coordinates; what the network is fed (c X) and the result at sigma 0 are the same in both.
"""

import copy
from dataclasses import replace
from functools import partial

import diffusers as d
import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.noise import FLOW, vp, vp_of_betas
from schedules.probe import probe

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SOME_STEPS = (1, 2, 3, 4, 7, 12, 16, 20)
FLOW_SIGMAS = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def in_double(scheduler_class):
    """The stock class with its sigmas, once laid out, in float64, and without a step that goes nowhere at the end.

    Stock DEIS ends most grids with one level twice; the last one is halved.
    """

    class InDouble(scheduler_class):
        def set_timesteps(self, *args, **options):
            super().set_timesteps(*args, **options)
            self.sigmas = self.sigmas.double()
            if self.sigmas[-1] == self.sigmas[-2]:
                self.sigmas[-1] /= 2

    return InDouble


LMS, DPM, UNIPC = map(in_double, (d.LMSDiscreteScheduler, d.DPMSolverMultistepScheduler, d.UniPCMultistepScheduler))
VE_SCHEDULERS = {
    "euler": (in_double(d.EulerDiscreteScheduler), {}),
    "ab2": (LMS, {"order": 2}),
    "ab3": (LMS, {"order": 3}),
    "heun": (in_double(d.HeunDiscreteScheduler), {}),
    "dpmpp-2m": (DPM, {}),
    "dpmpp-3m": (partial(DPM, solver_order=3), {}),
    "unipc-2": (UNIPC, {}),
    "unipc-3": (partial(UNIPC, solver_order=3), {}),
}
ROUNDED_TIMES = {"dpmpp-2m", "dpmpp-3m", "unipc-2", "unipc-3"}
"""Their stock forms give the network whole times, which our compilers leave as they are."""


def network_view(table):
    return np.vstack([table.c[:, None] * table.X[:-1], table.X[-1:]])


def assert_same(own, stock, time_tolerance, tolerance=1e-12):
    largest = max(1.0, float(np.abs(network_view(stock)).max()))
    np.testing.assert_allclose(network_view(own), network_view(stock), rtol=0, atol=tolerance * largest)
    np.testing.assert_allclose(own.t, stock.t, rtol=0, atol=time_tolerance)


def laid_out(scheduler, steps):
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    return scheduler


def own_grid(scheduler, steps):
    """The levels that the scheduler laid out; Heun's has most of them twice."""
    sigmas = laid_out(scheduler, steps).sigmas.double().numpy()
    return sigmas[np.append(True, np.diff(sigmas) != 0)]


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
def test_variance_preserving_models(solver, karras, prediction, no_single_precision):
    make, step_options = VE_SCHEDULERS[solver]
    scheduler = make(use_karras_sigmas=karras, prediction_type=prediction, **LATENT)
    noise = vp(scheduler.alphas_cumprod.double().numpy())
    for steps in range(1, 21) if prediction == "epsilon" and not karras else SOME_STEPS:
        with no_single_precision:
            sigmas, stock = own_grid(scheduler, steps), probe(scheduler, steps, step_options=step_options)
        own = compile_table(solver, sigmas, prediction, noise)
        time_tolerance = 0.5001 if solver in ROUNDED_TIMES and karras else 2e-3
        assert_same(own, stock, time_tolerance)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_ddim(prediction):
    scheduler = d.DDIMScheduler(clip_sample=False, prediction_type=prediction, **LATENT)
    abar = scheduler.alphas_cumprod.double().numpy()
    for steps in range(1, 21):
        at_times = abar[laid_out(scheduler, steps).timesteps.numpy()]
        sigmas = np.append(np.sqrt((1 - at_times) / at_times), 0.0)
        assert_same(compile_table("ddim", sigmas, prediction, vp(abar)), probe(scheduler, steps), 1e-9, 1e-6)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(
    ("solver", "make"),
    [
        ("euler", lambda shift: in_double(d.FlowMatchEulerDiscreteScheduler)(shift=shift)),
        ("ddim", lambda shift: in_double(d.FlowMatchEulerDiscreteScheduler)(shift=shift)),
        ("heun", lambda shift: in_double(d.FlowMatchHeunDiscreteScheduler)(shift=shift)),
        ("dpmpp-2m", lambda shift: DPM(flow_shift=shift, **FLOW_SIGMAS)),
        ("dpmpp-3m", lambda shift: DPM(flow_shift=shift, solver_order=3, **FLOW_SIGMAS)),
        ("unipc-2", lambda shift: UNIPC(flow_shift=shift, **FLOW_SIGMAS)),
        ("unipc-3", lambda shift: UNIPC(flow_shift=shift, solver_order=3, **FLOW_SIGMAS)),
    ],
)
def test_flow_models(solver, make, shift, no_single_precision):
    scheduler = make(shift)
    for steps in range(1, 21) if shift == 1.0 else SOME_STEPS:
        with no_single_precision:
            sigmas, stock = own_grid(scheduler, steps), probe(scheduler, steps)
        own = compile_table(solver, sigmas, "flow", FLOW)
        assert_same(own, stock, 1.0001 if solver in ROUNDED_TIMES else 1e-4)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"prediction_type": prediction, "use_karras_sigmas": karras, **LATENT}
        for prediction in ("epsilon", "v_prediction", "sample")
        for karras in (False, True)
    ]
    + [{"flow_shift": shift, **FLOW_SIGMAS} for shift in (1.0, 3.0)],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_deis(order, options):
    scheduler = in_double(d.DEISMultistepScheduler)(solver_order=order, **options)
    flow = "use_flow_sigmas" in options
    noise = FLOW if flow else vp(scheduler.alphas_cumprod.double().numpy())
    prediction = "flow" if flow else options["prediction_type"]
    for steps in range(1, 21) if options.get("prediction_type") == "epsilon" else SOME_STEPS:
        sigmas = own_grid(scheduler, steps)
        stock = probe(scheduler, steps)
        last = 1.0 if flow else np.sqrt(1 + sigmas[-1] ** 2)  # stock ends in variance-preserving coordinates
        rows = np.vstack([stock.X[:-1], last * stock.X[-1:]])
        assert_same(compile_table(f"deis-{order}", sigmas, prediction, noise), replace(stock, X=rows), 1.0001)


def test_ipndm():
    """Stock iPNDM takes its grid as noise levels of variance-preserving coordinates, and has times of its own."""
    noise = vp_of_betas("scaled_linear", LATENT["beta_start"], LATENT["beta_end"])
    for steps in range(1, 21):
        sigmas = np.append(np.geomspace(14.6, 0.05, steps), 0.0)
        scheduler = d.IPNDMScheduler(trained_betas=list(sigmas / np.sqrt(1 + sigmas**2)))
        stock = probe(scheduler, steps)
        kept = laid_out(scheduler, steps)
        sigmas = kept.betas.double().numpy() / kept.alphas.double().numpy()  # rounded to float32
        own = compile_table("ipndm", sigmas, "v_prediction", noise)
        assert_same(replace(own, t=stock.t), stock, 0.0, 1e-6)
