"""The shipped network in plain torch and in stock diffusers."""

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from schedules.compile import compile_table
from schedules.noise import vp
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from workers.digits.network import FOLDER, NO_DIGIT, DigitsNetwork, load_network, noise_schedule
from workers.lab.digits import epsilon_field

WEIGHTS = FOLDER / "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def network() -> DigitsNetwork:
    return load_network()


def pictures(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_weights_are_small_and_half_precision() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    assert {tensor.dtype for tensor in load_file(WEIGHTS).values()} == {torch.float16}


def test_plain_torch_loads_them(network: DigitsNetwork) -> None:
    plain = DigitsNetwork()
    plain.load_state_dict(load_file(WEIGHTS))
    torch.testing.assert_close(plain(pictures(2), 500).sample, network(pictures(2), 500).sample)


def test_stock_pipeline_draws_what_the_table_draws(network: DigitsNetwork) -> None:
    scheduler = diffusers.DDIMScheduler.from_pretrained(FOLDER / "scheduler")
    pipeline = diffusers.DDIMPipeline(unet=network, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    noise = pictures(4)
    drawn = pipeline(4, generator=torch.Generator().manual_seed(0), num_inference_steps=10, output_type="np").images
    scheduler.set_timesteps(10)
    at_times = scheduler.alphas_cumprod.double().numpy()[scheduler.timesteps.numpy()]
    sigmas = np.append(np.sqrt((1 - at_times) / at_times), 0.0)
    table = compile_table("ddim", sigmas, "epsilon", vp(scheduler.alphas_cumprod.double().numpy()))
    final = roll_out(SearchProblem(noise, epsilon_field(network, [""] * 4)), table).final
    np.testing.assert_allclose((final / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy(), drawn, atol=1e-4)


def test_its_noise_schedule_is_that_of_the_stock_scheduler() -> None:
    abar = diffusers.DDPMScheduler.from_pretrained(FOLDER / "scheduler").alphas_cumprod.double().numpy()
    np.testing.assert_allclose(noise_schedule().log_sigmas, vp(abar).log_sigmas, atol=1e-4)


def test_no_label_is_the_eleventh(network: DigitsNetwork) -> None:
    x, none = pictures(3), torch.full((3,), NO_DIGIT)
    torch.testing.assert_close(network(x, 100).sample, network(x, 100, none).sample)
    assert (network(x, 100).sample - network(x, 100, torch.tensor([1, 2, 3])).sample).abs().max() > 0.01


def test_every_picture_has_its_own_time(network: DigitsNetwork) -> None:
    x = pictures(2)
    both = network(x, torch.tensor([10.0, 900.0])).sample
    for k, time in enumerate((10.0, 900.0)):
        torch.testing.assert_close(both[k], network(x[k : k + 1], time, return_dict=False)[0][0])


def test_nearly_pure_noise_is_predicted_as_itself(network: DigitsNetwork) -> None:
    noise = network(pictures(8), 999).sample
    assert (noise - pictures(8)).abs().max() < 0.03
