"""The probed table against the stock scheduler, on a nonlinear field, for every step count from 1 to 20."""

import copy

import diffusers as d
import numpy as np
import pytest
import torch

from schedules.probe import CannotRun, NotFinite, ProbeError, probe

# diffusers 0.42.1 hands torch tensors to numpy in ways that numpy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
KARRAS = {**LATENT, "use_karras_sigmas": True}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}

DOUBLE = {
    "ddim": lambda: d.DDIMScheduler(clip_sample=False, **LATENT),
    "ddim-v": lambda: d.DDIMScheduler(clip_sample=False, prediction_type="v_prediction", **LATENT),
    "pndm": lambda: d.PNDMScheduler(skip_prk_steps=True, **LATENT),
    "pndm-prk": lambda: d.PNDMScheduler(skip_prk_steps=False, **LATENT),
    "lms": lambda: d.LMSDiscreteScheduler(**LATENT),
    "deis": lambda: d.DEISMultistepScheduler(**LATENT),
    "ipndm": d.IPNDMScheduler,
    "heun": lambda: d.HeunDiscreteScheduler(**LATENT),
    "heun-karras": lambda: d.HeunDiscreteScheduler(**KARRAS),
    "kdpm2": lambda: d.KDPM2DiscreteScheduler(**LATENT),
    "unipc2": lambda: d.UniPCMultistepScheduler(**LATENT),
    "unipc2-karras": lambda: d.UniPCMultistepScheduler(**KARRAS),
    "unipc2-flow": lambda: d.UniPCMultistepScheduler(**FLOW),
    "unipc3": lambda: d.UniPCMultistepScheduler(solver_order=3, **LATENT),
    "unipc3-flow": lambda: d.UniPCMultistepScheduler(solver_order=3, **FLOW),
    "dpmpp-singlestep": lambda: d.DPMSolverSinglestepScheduler(**LATENT),
    "dpmpp-singlestep-karras": lambda: d.DPMSolverSinglestepScheduler(**KARRAS),
    "dpmpp-singlestep-flow": lambda: d.DPMSolverSinglestepScheduler(**FLOW),
    "edm-dpmpp": d.EDMDPMSolverMultistepScheduler,
}
"""These compute in float64 when given float64; measured: 3e-14 at the worst (Heun), 3e-15 for most."""

SINGLE = {
    "euler": lambda: d.EulerDiscreteScheduler(**LATENT),
    "euler-karras": lambda: d.EulerDiscreteScheduler(**KARRAS),
    "dpmpp-2m": lambda: d.DPMSolverMultistepScheduler(**LATENT),
    "dpmpp-2m-karras": lambda: d.DPMSolverMultistepScheduler(**KARRAS),
    "dpmpp-2m-flow": lambda: d.DPMSolverMultistepScheduler(**FLOW),
    "dpmpp-3m": lambda: d.DPMSolverMultistepScheduler(solver_order=3, **LATENT),
    "dpmpp-3m-karras": lambda: d.DPMSolverMultistepScheduler(solver_order=3, **KARRAS),
    "dpmpp-3m-flow": lambda: d.DPMSolverMultistepScheduler(solver_order=3, **FLOW),
    **{
        f"flow-euler-shift-{shift:g}": lambda shift=shift: d.FlowMatchEulerDiscreteScheduler(shift=shift)
        for shift in (0.5, 1.0, 2.0, 3.0, 7.0)
    },
    "flow-euler-karras": lambda: d.FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
    "flow-heun": d.FlowMatchHeunDiscreteScheduler,
}
"""These cast the sample to float32 in every step, whatever they are given; measured: 2e-7 to 8e-7."""

UNRUNNABLE = {"pndm-prk": {1, 2, 3}}
"""Step counts at which the stock scheduler itself raises."""

EVALUATIONS = {
    "pndm": lambda steps: steps + (steps > 1),
    "pndm-prk": lambda steps: steps + 9,
    **dict.fromkeys(("heun", "heun-karras", "kdpm2", "flow-heun"), lambda steps: 2 * steps - 1),
}


def compare_all_steps(name, make, run_stock, run_table, relative_error) -> float:
    scheduler, worst = make(), 0.0
    noise = np.random.default_rng(7).standard_normal(16)
    for steps in set(range(1, 21)) - UNRUNNABLE.get(name, set()):
        table = probe(scheduler, steps)
        assert table.evaluations_count == EVALUATIONS.get(name, lambda steps: steps)(steps)
        assert table.base == ("noise",)
        worst = max(worst, relative_error(run_table(table, noise[None]), run_stock(scheduler, steps, noise)))
    return worst


@pytest.mark.parametrize("name", DOUBLE)
def test_table_equals_stock_scheduler_in_double_precision(name, run_stock, run_table, relative_error):
    assert compare_all_steps(name, DOUBLE[name], run_stock, run_table, relative_error) < 1e-12


@pytest.mark.parametrize("name", SINGLE)
def test_table_equals_stock_scheduler_that_rounds_to_single_precision(name, run_stock, run_table, relative_error):
    assert compare_all_steps(name, SINGLE[name], run_stock, run_table, relative_error) < 1e-6


@pytest.mark.parametrize("name", ["euler-karras", "dpmpp-2m-karras", "dpmpp-3m", "flow-euler-shift-3"])
def test_without_the_casts_only_double_rounding_is_left(
    name, run_stock, run_table, relative_error, no_single_precision
):
    with no_single_precision:
        assert compare_all_steps(name, SINGLE[name], run_stock, run_table, relative_error) < 1e-12


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_step_count_that_the_scheduler_cannot_run_is_refused(steps):
    with pytest.raises(CannotRun, match=rf"PNDMScheduler.set_timesteps\(num_inference_steps={steps}\)"):
        probe(DOUBLE["pndm-prk"](), steps)


def test_result_that_is_not_finite_is_refused(run_stock):
    scheduler = d.UniPCMultistepScheduler(predict_x0=False, **LATENT)
    assert not np.isfinite(run_stock(scheduler, 4, np.ones(3))).all()
    with pytest.raises(NotFinite, match="UniPCMultistepScheduler gives nan or inf at 4 steps"):
        probe(scheduler, 4)


def test_no_steps_are_refused():
    with pytest.raises(CannotRun, match="steps: must be >= 1"):
        probe(DOUBLE["ddim"](), 0)


@pytest.mark.parametrize("thing", [object(), torch.nn.Identity()])
def test_what_is_no_scheduler_is_refused(thing):
    with pytest.raises(ProbeError, match="is no scheduler"):
        probe(thing, 4)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_scale_and_time_are_the_schedulers_own(name):
    scheduler = {**DOUBLE, **SINGLE}[name]()
    table = probe(scheduler, 6)
    scheduler.set_timesteps(6)
    sigmas = scheduler.sigmas[: table.evaluations_count].double().numpy()
    assert table.X[0, 0] == pytest.approx(float(scheduler.init_noise_sigma), rel=1e-7)
    np.testing.assert_array_equal(table.t, scheduler.timesteps.double().numpy())
    np.testing.assert_allclose(table.c, 1 / np.sqrt(1 + sigmas**2), rtol=1e-6)


def test_the_callers_scheduler_is_left_as_it_was():
    scheduler = SINGLE["dpmpp-2m"]()
    scheduler.set_timesteps(5)
    before = copy.deepcopy(scheduler.__dict__)
    probe(scheduler, 9)
    after = scheduler.__dict__
    assert scheduler.step_index is None
    assert torch.equal(before["timesteps"], after["timesteps"])
    assert before["model_outputs"] == after["model_outputs"]


def test_dynamic_shift_is_passed_on():
    scheduler = d.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    table = probe(scheduler, 5, set_options={"mu": 1.15})
    plain = np.linspace(1.0, 0.001, 5)
    np.testing.assert_allclose(table.t, 1000 * np.exp(1.15) / (np.exp(1.15) + 1 / plain - 1), rtol=1e-6)
