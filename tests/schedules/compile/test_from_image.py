"""Tables that start from an image, against the loops that they stand for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, HeunDiscreteScheduler, UniPCMultistepScheduler

from schedules.compile import SOLVERS, compile_from_image, compile_table
from schedules.noise import FLOW, vp, vp_of_betas
from schedules.table import Table, TableError

SIGMAS = 0.7 * np.linspace(1.0, 0.0, 9) ** 1.4
LATENT = vp_of_betas("scaled_linear", 0.00085, 0.012)
RNG = np.random.default_rng(0)
NOISE, IMAGE, MASK = RNG.normal(size=5), RNG.normal(size=5), np.array([0.0, 0.2, 0.5, 0.9, 1.0])


def field(x: np.ndarray, t: float) -> np.ndarray:
    """A network: anything that is not linear."""
    return np.tanh(1.3 * x + 0.001 * t) - 0.2 * x


def run(table: Table, mask: np.ndarray | None = None) -> np.ndarray:
    """As the runner does it, in float64."""
    columns = np.zeros((table.X.shape[1], len(NOISE)))
    columns[0], columns[1] = NOISE, IMAGE
    for k in range(table.evaluations_count):
        x = table.X[k] @ columns
        if mask is not None and k > 0:
            seen = mask * x + (1 - mask) * (table.original[k] @ columns[:2])
            columns[1 + k], x = seen - x, seen
        columns[len(table.base) + k] = field(table.c[k] * x, table.t[k])
    x = table.X[-1] @ columns
    return x if mask is None else mask * x + (1 - mask) * (table.original[-1] @ columns[:2])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("prediction", "noise"), [("flow", FLOW), ("epsilon", LATENT), ("v_prediction", LATENT)])
def test_a_mask_that_frees_everything_changes_nothing(solver: str, prediction: str, noise: object) -> None:
    free = run(compile_from_image(solver, SIGMAS, prediction, noise))
    blended = run(compile_from_image(solver, SIGMAS, prediction, noise, masked=True), np.ones(5))
    np.testing.assert_allclose(blended, free, rtol=0, atol=1e-12)
    kept = run(compile_from_image(solver, SIGMAS, prediction, noise, masked=True), np.zeros(5))
    np.testing.assert_array_equal(kept, IMAGE)


@pytest.mark.parametrize("solver", SOLVERS)
def test_starting_from_noise_is_text_to_image(solver: str) -> None:
    grid = np.linspace(1.0, 0.0, 7)
    table, plain = compile_from_image(solver, grid, "flow", from_noise=True), compile_table(solver, grid, "flow")
    assert not table.X[:, 1].any()
    np.testing.assert_array_equal(np.delete(table.X, 1, axis=1), plain.X)


def test_the_first_row_is_the_image_at_its_noise_level() -> None:
    np.testing.assert_allclose(compile_from_image("euler", SIGMAS, "flow").X[0, :2], [0.7, 0.3])
    np.testing.assert_allclose(compile_from_image("unipc-2", SIGMAS, "epsilon", LATENT).X[0, :2], [0.7, 1.0])


BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
STOCK = {
    "dpmpp-2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp-3m": (DPMSolverMultistepScheduler, {"solver_order": 3}),
    "unipc-2": (UniPCMultistepScheduler, {}),
    "unipc-3": (UniPCMultistepScheduler, {"solver_order": 3}),
    "heun": (HeunDiscreteScheduler, {}),
}


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers
@pytest.mark.parametrize("solver", STOCK)
def test_blends_are_those_of_a_loop_around_the_stock_scheduler(solver: str) -> None:
    """In the stock loops the scheduler's history stays, and the state is replaced after each step."""
    kind, options = STOCK[solver]
    scheduler = kind(**BETAS, **options)
    scheduler.set_timesteps(9)
    begin = 3 * scheduler.order
    scheduler.set_begin_index(begin)
    times, levels = scheduler.timesteps[begin:], scheduler.sigmas.double()[begin:].numpy()
    # Heun's levels repeat those at which it evaluates twice.
    grid = levels if scheduler.order == 1 else np.append(levels[::2], 0.0)
    noise = vp(scheduler.alphas_cumprod.double().numpy())
    table = compile_from_image(solver, grid, "epsilon", noise, masked=True)
    table = replace(table, t=times.double().numpy())

    image, eps, mask = (torch.tensor(values)[None] for values in (IMAGE, NOISE, MASK))
    x = scheduler.add_noise(image, eps, times[:1])
    for k, time in enumerate(times):
        fed = scheduler.scale_model_input(x, time)
        x = scheduler.step(torch.tensor(field(fed.numpy(), float(time))), time, x).prev_sample
        kept = scheduler.add_noise(image, eps, times[k + 1 : k + 2]) if k + 1 < len(times) else image
        x = mask * x + (1 - mask) * kept
    np.testing.assert_allclose(run(table, MASK), x[0].numpy(), rtol=0, atol=2e-6)


def test_tables_that_cannot_be_are_refused() -> None:
    table = compile_from_image("euler", SIGMAS, "flow", masked=True)
    with pytest.raises(TableError, match="original: must be given"):
        replace(table, original=None)
    with pytest.raises(TableError, match="original: must be finite and of shape"):
        replace(table, original=table.original[:-1])
    early = table.X.copy()
    early[1, 2] = 1.0
    with pytest.raises(TableError, match="a blend that is not there yet"):
        replace(table, X=early)
    with pytest.raises(TableError, match="noise, image and 7 blends"):
        replace(compile_table("euler", SIGMAS, "flow"), original=table.original)
