"""What is not linear is refused: by name where an option says so, else by random combinations."""

import diffusers as d
import pytest
import torch

from schedules.probe import NotLinear, probe

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (d.DDIMScheduler, "clip_sample"),
        (d.DDPMScheduler, "clip_sample"),
        (lambda: d.DDIMScheduler(clip_sample=False, thresholding=True), "thresholding"),
        (lambda: d.UniPCMultistepScheduler(thresholding=True), "thresholding"),
        (lambda: d.DPMSolverMultistepScheduler(thresholding=True), "thresholding"),
        (lambda: d.DPMSolverSinglestepScheduler(thresholding=True), "thresholding"),
        (lambda: d.DEISMultistepScheduler(thresholding=True), "thresholding"),
        (lambda: d.LCMScheduler(clip_sample=True), "clip_sample"),
        (lambda: d.TCDScheduler(clip_sample=True), "clip_sample"),
        (lambda: d.HeunDiscreteScheduler(clip_sample=True), "clip_sample"),
    ],
)
def test_option_that_clips_is_refused_by_name(make, option):
    with pytest.raises(NotLinear, match=rf"{option} is on; turn it off"):
        probe(make(), 4)


def test_clipping_that_no_option_tells_of_is_found():
    """The consistency-model scheduler clips its denoised sample by an option of another name."""
    with pytest.raises(NotLinear, match="CMStochasticIterativeScheduler: the sample before evaluation 1 is not linear"):
        probe(d.CMStochasticIterativeScheduler(clip_denoised=True), 4)


def test_the_same_scheduler_without_clipping_compiles():
    assert probe(d.CMStochasticIterativeScheduler(clip_denoised=False), 4).draws_count == 4


class Perturbed(d.FlowMatchEulerDiscreteScheduler):
    """Goes wrong in a way of the test's choosing."""

    def step(self, model_output, timestep, sample, **options):
        (following,) = super().step(model_output, timestep, sample, **options)
        return (self.perturb(following),)


@pytest.mark.parametrize(
    "perturb",
    [
        lambda x: x + 0.1,
        lambda x: x * x,
        torch.abs,
        lambda x: x.clamp(-100, 100),
        lambda x: x / (1 + x.abs().mean()),
        lambda x: x + 1e-3 * torch.rand(1, generator=torch.default_generator),
    ],
    ids=["constant", "square", "magnitude", "rare clipping", "normalising", "hidden randomness"],
)
def test_any_nonlinear_step_is_found(perturb):
    scheduler = Perturbed()
    scheduler.perturb = perturb
    with pytest.raises(NotLinear, match="Perturbed: the sample before evaluation 1 is not linear"):
        probe(scheduler, 3)


class OddInput(d.FlowMatchEulerDiscreteScheduler):
    """Feeds the network something that is no multiple of the sample."""

    def scale_model_input(self, sample, timestep):
        return sample.clamp(-10, 10)


def test_nonlinear_input_scaling_is_found():
    with pytest.raises(NotLinear, match="OddInput: the network's input at evaluation 0 is not linear"):
        probe(OddInput(), 3)
