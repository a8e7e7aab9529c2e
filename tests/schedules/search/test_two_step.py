import numpy as np
import pytest
import torch

from schedules.compile import compile_table
from schedules.grids import karras, shifted, uniform
from schedules.search.two_step import SOLVERS, solver_rows

GRIDS = [uniform(1), uniform(2), shifted(7, 3.0), karras(5), np.array([0.9, 0.4, 0.1])]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("sigmas", GRIDS, ids=len)
def test_rows_equal_the_compiled_ones(solver: str, sigmas: np.ndarray) -> None:
    np.testing.assert_allclose(
        solver_rows(solver, torch.tensor(sigmas)).numpy(), compile_table(solver, sigmas, "flow").X, atol=1e-12
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_in_the_noise_levels_are_right(solver: str) -> None:
    inner = torch.tensor(shifted(5, 2.0)[1:-1], requires_grad=True)
    ends = torch.tensor([0.98]), torch.zeros(1, dtype=torch.float64)  # at 1 itself the log-ratio is held

    def rows(levels: torch.Tensor) -> torch.Tensor:
        return solver_rows(solver, torch.cat([ends[0].double(), levels, ends[1]]))

    assert torch.autograd.gradcheck(rows, (inner,))


def test_unknown_solver_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of euler, ab2, dpmpp-2m"):
        solver_rows("heun", torch.tensor(uniform(3)))
