"""Roll a table out on a problem's seeds: one einsum and one call of the network for each row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from schedules.search.problem import SearchProblem
from schedules.table import Table, common_rows


@dataclass(frozen=True, eq=False)
class Rollout:
    """What a table drew.

    Attributes:
        table: the sampler.
        history: base latents and network outputs, shape (B + E, M, *latent), float32.
        unconditional: the last unconditional output after each row, None where there is none yet, length E.
        final: the result, shape (M, *latent).
        evaluated: rows whose outputs were computed rather than taken over.
    """

    table: Table
    history: Tensor
    unconditional: tuple[Tensor | None, ...]
    final: Tensor
    evaluated: int


def roll_out(problem: SearchProblem, table: Table, *, after: Rollout | None = None) -> Rollout:
    """Draw every seed with a table.

    Args:
        problem: the seeds.
        table: the sampler; its only base latent must be the noise.
        after: an earlier rollout of the same problem; the outputs of the leading rows that both tables have in common
            are taken over, as moving one noise level leaves the steps before it alone.

    Raises:
        ValueError: a table with further base latents.
    """
    if table.base != ("noise",):
        raise ValueError(f"base: the search draws from noise only, the table has {table.base}")
    count = table.evaluations_count
    history = problem.noise.new_zeros((count + 1, *problem.noise.shape))
    history[0] = problem.noise
    unconditional: list[Tensor | None] = []
    shared = common_rows(table, after.table) if after is not None else 0
    if after is not None and shared:
        history[1 : shared + 1] = after.history[1 : shared + 1]
        unconditional += after.unconditional[:shared]
    for k in range(shared, count):
        x = mixed(table, k, history)
        history[k + 1], negative = _evaluate(problem, table, k, x, unconditional[-1] if unconditional else None)
        unconditional.append(negative)
    return Rollout(table, history, tuple(unconditional), mixed(table, count, history), count - shared)


def mixed(table: Table, k: int, history: Tensor) -> Tensor:
    """x_k = X[k] @ H over the columns that exist, shape (M, *latent)."""
    width = min(k + 1, len(history))
    weights = torch.tensor(table.X[k, :width], dtype=history.dtype, device=history.device)
    return torch.einsum("h,h...->...", weights, history[:width])


def _evaluate(
    problem: SearchProblem, table: Table, k: int, x: Tensor, last: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The guided output of row k and the unconditional output to reuse after it."""
    t = torch.full((problem.seeds_count,), float(table.t[k]))
    rows = torch.arange(problem.seeds_count)
    scaled = float(table.c[k]) * x
    network = problem.network(table.network(k))
    conditional = problem.branch(network.conditional, scaled, t, rows)
    mode = table.uncond[k]
    if not problem.guided or network.unconditional is None or mode == "skipped":
        return conditional, last
    reused = last if mode == "reused" else None
    negative = problem.branch(network.unconditional, scaled, t, rows) if reused is None else reused
    weight = float(table.guidance(problem.guidance_scale)[k])
    return problem.combine(conditional, negative, weight), negative
