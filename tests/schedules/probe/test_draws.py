"""Schedulers that draw noise: one column per draw, and the stock result when the same noise is drawn."""

import diffusers as d
import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm

from schedules.probe import NotLinear, probe
from schedules.probe.draws import intercepted_draws

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SDE = {"algorithm_type": "sde-dpmsolver++"}

CASES = {
    "euler-ancestral": (lambda: d.EulerAncestralDiscreteScheduler(**LATENT), {}, 0, 1e-6),
    "euler-churn": (lambda: d.EulerDiscreteScheduler(**LATENT), {"s_churn": 2.0}, 0, 1e-6),
    "lcm": (lambda: d.LCMScheduler(**LATENT), {}, -1, 1e-12),
    "tcd": (lambda: d.TCDScheduler(**LATENT), {"eta": 0.3}, -1, 1e-12),
    "ddim-eta": (lambda: d.DDIMScheduler(clip_sample=False, **LATENT), {"eta": 1.0}, 0, 1e-12),
    "ddpm": (lambda: d.DDPMScheduler(clip_sample=False, **LATENT), {}, -1, 1e-12),
    "kdpm2-ancestral": (lambda: d.KDPM2AncestralDiscreteScheduler(**LATENT), {}, -1, 1e-12),
    "sde-dpmpp-2m": (lambda: d.DPMSolverMultistepScheduler(**SDE, **LATENT), {}, 0, 1e-5),
    "sde-dpmpp-2m-karras": (
        lambda: d.DPMSolverMultistepScheduler(use_karras_sigmas=True, **SDE, **LATENT),
        {},
        0,
        1e-5,
    ),
    "sde-dpmpp-2m-flow": (lambda: d.DPMSolverMultistepScheduler(**SDE, **FLOW), {}, 0, 1e-5),
    "sde-dpmpp-singlestep": (lambda: d.DPMSolverSinglestepScheduler(**SDE, **LATENT), {}, 0, 1e-12),
    "flow-lcm": (d.FlowMatchLCMScheduler, {}, 0, 1e-6),
    "flow-euler-stochastic": (
        lambda: d.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
        {},
        0,
        1e-6,
    ),
}
"""Scheduler, options of step, draws at N steps less N, tolerance: 1e-12 where it computes in float64. Those that cast
to float32 measured 3e-7 and less, the multistep SDE solver, which casts the noise too, 3.0e-6."""


def compare_all_steps(name, run_stock, run_table, relative_error) -> float:
    make, options, extra_draws, _ = CASES[name]
    scheduler, rng, worst = make(), np.random.default_rng(3), 0.0
    for steps in range(1, 21):
        table = probe(scheduler, steps, step_options=options)
        assert table.base == ("noise", *("draw",) * (steps + extra_draws))
        bases = rng.standard_normal((len(table.base), 16))
        given = torch.from_numpy(bases[1:]).reshape(-1, 1, 16, 1, 1)
        with intercepted_draws(scheduler, lambda k, given=given: given[k], ValueError) as drawn:
            wanted = run_stock(scheduler, steps, bases[0], **options)
        assert drawn.count == table.draws_count
        worst = max(worst, relative_error(run_table(table, bases), wanted))
    return worst


@pytest.mark.parametrize("name", CASES)
def test_table_equals_stock_scheduler_with_the_same_noise(name, run_stock, run_table, relative_error):
    assert compare_all_steps(name, run_stock, run_table, relative_error) < CASES[name][-1]


@pytest.mark.parametrize("name", ["euler-ancestral", "sde-dpmpp-2m-karras", "sde-dpmpp-2m-flow"])
def test_without_the_casts_only_double_rounding_is_left(
    name, run_stock, run_table, relative_error, no_single_precision
):
    with no_single_precision:
        assert compare_all_steps(name, run_stock, run_table, relative_error) < 1e-12


@pytest.mark.parametrize("name", ["euler-ancestral", "lcm", "tcd", "sde-dpmpp-2m", "ddpm"])
def test_every_draw_but_an_idle_last_one_matters(name):
    make, options, _, _ = CASES[name]
    table = probe(make(), 6, step_options=options)
    used = np.abs(table.X[-1, 1 : len(table.base)]) > 0
    assert used[:-1].all()


def test_schedulers_draw_their_own_noise_again_afterwards():
    before = scheduling_lcm.randn_tensor, scheduling_euler_ancestral_discrete.randn_tensor
    probe(d.LCMScheduler(**LATENT), 4)
    with pytest.raises(NotLinear):
        probe(d.LCMScheduler(clip_sample=True, **LATENT), 4)
    with (
        pytest.raises(ZeroDivisionError),
        intercepted_draws(d.LCMScheduler(), lambda k: torch.zeros(1, 1, k // 0, 1), ValueError),
    ):
        scheduling_lcm.randn_tensor((1, 1, 1, 1))
    assert before == (scheduling_lcm.randn_tensor, scheduling_euler_ancestral_discrete.randn_tensor)


def test_noise_of_another_shape_is_refused():
    draw = torch.zeros(1, 3, 1, 1)
    refused = pytest.raises(NotLinear, match=r"draw 0 has shape \(1, 1, 1, 1\), the sample \(1, 3, 1, 1\)")
    with intercepted_draws(d.LCMScheduler(), lambda _: draw, NotLinear), refused:
        scheduling_lcm.randn_tensor((1, 1, 1, 1))
