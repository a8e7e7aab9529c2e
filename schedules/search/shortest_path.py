"""The shortest path with exactly K edges in a graph whose edges only lead forwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schedules.table import FloatArray

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShortestPath:
    """A path from node 0 to the last node.

    Attributes:
        nodes: the nodes, rising, K + 1 of them.
        cost: the sum of its edges' costs, each with its discount.
    """

    nodes: Path
    cost: float


def shortest_paths(costs: FloatArray, edges: int, *, discount: float = 1.0) -> tuple[ShortestPath, ...]:
    """The shortest paths with exactly 1, 2, ..., `edges` edges, by Bellman's recursion in O(edges n^2).

    Args:
        costs: cost of the edge from i to j at [i, j] for i < j, shape (n, n), float64; the rest is not read.
        edges: most edges, in 1..n - 1.
        discount: what each edge weighs relative to the one before it on its path, > 0; above 1 late edges weigh more.

    Raises:
        ValueError: a matrix that is not square, an impossible number of edges or an impossible discount.
    """
    count = len(costs)
    if costs.shape != (count, count):
        raise ValueError(f"costs: must be square, has shape {costs.shape}")
    if not 1 <= edges < count:
        raise ValueError(f"edges: must be in 1..{count - 1}, is {edges}")
    if not (np.isfinite(discount) and discount > 0):
        raise ValueError(f"discount: must be > 0, is {discount}")
    forward = np.where(np.triu(np.ones((count, count), dtype=bool), 1), costs, np.inf)
    reach = np.full(count, np.inf)
    reach[0] = 0.0
    parents: list[np.ndarray[tuple[int], np.dtype[np.intp]]] = []
    found: list[ShortestPath] = []
    for k in range(1, edges + 1):
        through = reach[:, None] + discount ** (k - 1) * forward
        parents.append(through.argmin(0))
        reach = through.min(0)
        found.append(ShortestPath(_trace(parents, k, count - 1), float(reach[-1])))
    return tuple(found)


def shortest_grids(
    costs: FloatArray, sigmas: FloatArray, budgets: Sequence[int], *, discount: float = 1.0
) -> dict[int, FloatArray]:
    """The noise levels along the shortest path of each budget.

    Args:
        costs: of the edges between the nodes, shape (N + 1, N + 1).
        sigmas: the nodes' noise levels, shape (N + 1,).
        budgets: numbers of edges, in 1..N.
        discount: as for `shortest_paths`.

    Raises:
        ValueError: a budget beyond the grid, or an impossible discount.
    """
    if not 1 <= min(budgets) <= max(budgets) < len(sigmas):
        raise ValueError(f"budgets: must be in 1..{len(sigmas) - 1} (the grid's intervals), are {tuple(budgets)}")
    paths = shortest_paths(costs, max(budgets), discount=discount)
    return {budget: sigmas[list(paths[budget - 1].nodes)] for budget in budgets}


def _trace(parents: list[np.ndarray[tuple[int], np.dtype[np.intp]]], edges: int, last: int) -> Path:
    nodes = [last]
    for k in range(edges, 0, -1):
        nodes.append(int(parents[k - 1][nodes[-1]]))
    return tuple(reversed(nodes))
