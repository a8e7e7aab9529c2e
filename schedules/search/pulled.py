"""The equations of many seeds: along a few random directions of what is seen, back through the rollout.

The slope of a seed's error in every number takes one way back (`adjoint`), and the curvature a few more: the mean of
J's (J's)' over random signs s is J' J (Hutchinson 1990). At 10 evaluations a seed costs a fifth of what moving each
number in turn does, at 20 a fourteenth, and what few seeds want is not what others want. Times stay: what is left of
the noise would move them by more than the ripples of their embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from schedules.search.adjoint import pull_back
from schedules.search.normal_equations import Equations, Part, drawn_parts, log_weights
from schedules.search.refine import Split
from schedules.search.table_numbers import TableNumbers
from schedules.table import FloatArray


def pulled_cost(directions: int) -> int:
    """Rollouts of one seed, a way back through the network counted as an evaluation."""
    return 3 + directions  # there, each evaluation again, and the ways back


def pulled_equations(split: Split, numbers: TableNumbers, seeds: range, floor: float, directions: int) -> Equations:
    """The equations of some seeds, at `pulled_cost` rollouts each.

    Memory: (directions + 1) (E + 1) latents for each seed of a batch, and the network's activations for one call with
    gradients.

    Args:
        split: the seeds, and what is seen of their results.
        numbers: the table and which of its numbers may move.
        seeds: which of them.
        floor: as in `log_weights`.
        directions: random ones for each seed; all seeds together need several for each number.

    Raises:
        ValueError: the network or the split's view lets no gradients through.
    """
    generator = torch.Generator().manual_seed(seeds.start)
    parts = list(drawn_parts(split, numbers.table, seeds))
    total: Equations | None = None
    for part, weights in zip(parts, log_weights(split, parts, floor), strict=True):
        signs = torch.randint(
            0, 2, (len(part.off), directions, part.off.shape[1]), generator=generator, dtype=torch.int8
        )
        summed = _summed(split, numbers, part, weights, (2.0 * signs - 1.0).to(part.off))
        total = summed if total is None else total + summed
    if total is None:
        raise ValueError(f"seeds: must be at least 1, are {seeds}")
    return total


def _summed(split: Split, numbers: TableNumbers, part: Part, weights: FloatArray, signs: Tensor) -> Equations:
    """The equations of a part, a mean over what is seen of each seed."""
    seen = torch.stack([part.off, *signs.unbind(1)])
    slopes = pull_back(part.problem, numbers, part.drawn, _to_latents(split, part, seen)).double()
    scale = torch.tensor(weights / part.off.shape[1], dtype=torch.float64, device=slopes.device)
    inner = torch.einsum("m,smp,smq->pq", scale, slopes[1:], slopes[1:]) / signs.shape[1]
    return Equations(inner.cpu().numpy(), -(scale @ slopes[0]).cpu().numpy())


def _to_latents(split: Split, part: Part, directions: Tensor) -> Tensor:
    """Directions of what is seen, shape (S, m, D), as directions of the final sample, shape (S, m, *latent)."""
    final = part.drawn.final.detach().requires_grad_()
    with torch.enable_grad():
        seen = split.view(final)
    if not seen.requires_grad:
        raise ValueError("calibration: its view lets no gradients through")
    shaped = directions.reshape(len(directions), *seen.shape)
    return torch.stack([torch.autograd.grad(seen, final, each, retain_graph=True)[0] for each in shaped])
