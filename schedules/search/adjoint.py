"""What every weight of a table does to its result, along a few directions, on the way back through the rollout.

The derivative of D seen numbers in P numbers of a table takes P rollouts when each is moved in turn. Along one
direction of the seen it takes one way back, whatever P is: each evaluation is made again, and the network's own
derivative carries the direction to what came before it (the adjoint method, as in Giles and Pierce 2000). Gains and
guidance weights only: a network's derivative in its time is that of the ripples of its embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from schedules.search.problem import Field, SearchProblem
from schedules.search.rollout import Rollout, mixed
from schedules.search.table_numbers import Place, TableNumbers
from schedules.table import Table

_WEIGHT_STEP = 1e-3  # of guidance, which is linear in it, or nearly


def pull_back(problem: SearchProblem, numbers: TableNumbers, drawn: Rollout, directions: Tensor) -> Tensor:
    """The derivatives of <direction, result> in the numbers of a table, for each seed.

    Takes 1 + S rollouts for S directions, as with fixed weights a way back through the network costs what an evaluation
    does. Memory: S (E + 1) latents for each seed, and the activations of one call for all of them.

    Args:
        problem: the seeds; gradients must pass through its network.
        numbers: the table and which of its numbers may move, no times among them.
        drawn: what the table drew from these seeds.
        directions: one or more for each seed, shape (S, M, *latent).

    Returns:
        Shape (S, M, P), P places.

    Raises:
        ValueError: the network lets no gradients through, or times are to move.
    """
    if any(place.kind == "time" for place in numbers.places):
        raise ValueError("numbers: times have no derivative worth having, leave them out")
    found = dict(_slopes(problem, numbers.table, drawn, directions))
    return torch.stack([found[place] for place in numbers.places], dim=-1)


def _slopes(problem: SearchProblem, table: Table, drawn: Rollout, directions: Tensor) -> Iterator[tuple[Place, Tensor]]:
    history, count = drawn.history, table.evaluations_count
    samples = directions.new_zeros((count + 1, *directions.shape))  # adjoints of x_0 to x_E
    samples[count] = directions
    rows = torch.tensor(table.X, dtype=history.dtype, device=history.device)
    carried = torch.zeros_like(directions)  # to the unconditional output that later rows reuse
    for k in reversed(range(count)):
        gains = _inner(samples[k + 1 :].sum(0), history[: k + 2])
        yield from ((Place("gain", k, column), gains[column]) for column in range(k + 2))
        row = _Row.of(problem, table, drawn, k)
        back = row.back(torch.einsum("m,m...->...", rows[k + 1 :, k + 1], samples[k + 1 :]), carried)
        samples[k], carried = back.sample, back.carried
        yield Place("weight", k), back.weight


@dataclass(frozen=True, eq=False)
class _Back:
    """What a row's derivative carries to its sample and to the unconditional output before it, and its own slope."""

    sample: Tensor
    carried: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class _Row:
    """One evaluation, made again with gradients.

    Attributes:
        problem: its network.
        guidance: its guidance weight.
        sample: x_k, a leaf.
        conditional: the output under the prompt.
        negative: the unconditional output where there is any.
        fresh: whether that was evaluated in this row.
    """

    problem: SearchProblem
    guidance: float
    sample: Tensor
    conditional: Tensor
    negative: Tensor | None
    fresh: bool

    @classmethod
    def of(cls, problem: SearchProblem, table: Table, drawn: Rollout, k: int) -> _Row:
        """Row k of what was drawn."""
        time, guidance = float(table.t[k]), float(table.guidance(problem.guidance_scale)[k])
        sample = mixed(table, k, drawn.history).requires_grad_()
        reused = drawn.unconditional[k - 1] if k and table.uncond[k] == "reused" else None
        guided = problem.guided and table.uncond[k] != "skipped"
        network = problem.network(table.network(k))
        fresh = network.unconditional if guided and reused is None else None
        with torch.enable_grad():
            scaled = float(table.c[k]) * sample
            conditional = _called(network.conditional, scaled, time)
            negative = reused if fresh is None else _called(fresh, scaled, time)
        return cls(problem, guidance, sample, conditional, negative if guided else None, fresh is not None)

    def back(self, output: Tensor, carried: Tensor) -> _Back:
        """Carry adjoints of the guided output, and of the unconditional one for later rows, shape (S, M, *latent)."""
        conditional, negative = self._branches(output)
        negative = negative + carried
        sample = torch.stack([self._to_sample(*pair) for pair in zip(conditional, negative, strict=True)])
        return _Back(sample, torch.zeros_like(negative) if self.fresh else negative, self._weight_slope(output))

    def _branches(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The adjoints of the two branches' outputs."""
        if self.negative is None:
            return output, torch.zeros_like(output)
        pair = [each.detach().requires_grad_() for each in (self.conditional, self.negative)]
        with torch.enable_grad():
            guided = self.problem.combine(pair[0], pair[1], self.guidance)
        pulled = [torch.autograd.grad(guided, pair, each, retain_graph=True) for each in output]
        return torch.stack([each[0] for each in pulled]), torch.stack([each[1] for each in pulled])

    def _to_sample(self, conditional: Tensor, negative: Tensor) -> Tensor:
        outputs, adjoints = [self.conditional], [conditional]
        if self.fresh and self.negative is not None:
            outputs, adjoints = [*outputs, self.negative], [*adjoints, negative]
        return torch.autograd.grad(outputs, self.sample, adjoints, retain_graph=True)[0]

    def _weight_slope(self, output: Tensor) -> Tensor:
        if self.negative is None:
            return output.new_zeros(output.shape[:2])
        conditional, negative = self.conditional.detach(), self.negative.detach()
        ends = [self.problem.combine(conditional, negative, self.guidance + step) for step in (0.0, _WEIGHT_STEP)]
        slope = (ends[1] - ends[0]) * (self.problem.guidance_scale - 1.0) / _WEIGHT_STEP  # g = 1 + w (G - 1)
        return _inner(output, slope[None])[0]


def _called(field: Field, x: Tensor, time: float) -> Tensor:
    t = torch.full((len(x),), time, device=x.device)
    output = field(x, t, torch.arange(len(x), device=x.device)).to(x.dtype)
    if not output.requires_grad:
        raise ValueError("conditional, unconditional: the network lets no gradients through, as under inference mode")
    return output


def _inner(adjoints: Tensor, columns: Tensor) -> Tensor:
    """Inner products of (S, M, *latent) with (H, M, *latent), shape (H, S, M)."""
    return torch.einsum("smd,hmd->hsm", adjoints.flatten(2), columns.flatten(2))
