"""What a method gives for one budget, and how it draws seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from schedules.artefact import StoredTable
from schedules.search.gotta_go_fast import Adaptive, AdaptiveOptions, draw_adaptively
from schedules.search.method import Sampler
from schedules.search.oss_released import roll_out_per_seed
from schedules.search.problem import SearchProblem
from schedules.search.rollout import Rollout, roll_out
from schedules.table import FloatArray, Table


@dataclass(frozen=True, slots=True)
class AdaptiveChoice:
    """Step sizes of each seed's own.

    Attributes:
        tolerance: the relative tolerance.
        first_step: the first try, in sigma.
    """

    tolerance: float
    first_step: float

    @classmethod
    def of(cls, found: Adaptive) -> AdaptiveChoice:
        """What a search found."""
        return cls(found.tolerance, found.options.first_step)


@dataclass(frozen=True, eq=False)
class OwnPaths:
    """Euler's method along noise levels of each seed's own.

    Attributes:
        sigmas: those that there are, falling, shape (N + 1,), float64.
        nodes: which of them each seed visits, rising, shape (M, steps + 1), int64.
    """

    sigmas: FloatArray
    nodes: NDArray[np.int64]


Candidate = Sampler | AdaptiveChoice | OwnPaths
Candidates = Mapping[int, Candidate]
"""One for each budget that a method has."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a candidate drew.

    Attributes:
        final: the samples, shape (M, *latent).
        evaluations: forwards of the network for one image, the mean where seeds differ.
        rollout: of a table; lends the next one the outputs that both have in common.
    """

    final: Tensor
    evaluations: float
    rollout: Rollout | None = None


def draw(problem: SearchProblem, candidate: Candidate, *, after: Rollout | None = None) -> Drawn:
    """Draw every seed; an earlier rollout of the same seeds may lend its outputs, the first one at the least.

    Raises:
        ValueError: paths of other seeds than these.
    """
    if isinstance(candidate, Sampler):
        rollout = roll_out(problem, candidate.table, after=after)
        return Drawn(rollout.final, table_evaluations(candidate.table, problem), rollout)
    if isinstance(candidate, OwnPaths):
        return _draw_own(problem, candidate)
    options = AdaptiveOptions(first_step=candidate.first_step)
    adaptive = draw_adaptively(problem, candidate.tolerance, options)
    return Drawn(adaptive.final, adaptive.mean_evaluations * (2 if problem.guided else 1))


def _draw_own(problem: SearchProblem, paths: OwnPaths) -> Drawn:
    seeds, levels = paths.nodes.shape
    if seeds != problem.seeds_count:
        raise ValueError(f"nodes: the paths are those of {seeds} seeds, there are {problem.seeds_count}")
    final = roll_out_per_seed(problem, paths.sigmas[paths.nodes])
    return Drawn(final, (levels - 1) * (2.0 if problem.guided else 1.0))


def table_evaluations(table: Table, problem: SearchProblem) -> float:
    """Forwards for one image: one for each row, and one more where the unconditional output is made afresh.

    Those of smaller networks count as what they cost.
    """
    return table.cost(problem.guidance_scale, problem.costs)


def steps_of(candidate: Candidate, budget: int) -> int:
    """The table's rows; the budget where there is no table."""
    return candidate.table.evaluations_count if isinstance(candidate, Sampler) else budget


def packed(candidate: Candidate) -> dict[str, object]:
    """As plain numbers, exactly."""
    if isinstance(candidate, AdaptiveChoice):
        return {"tolerance": candidate.tolerance, "first_step": candidate.first_step}
    if isinstance(candidate, OwnPaths):
        return {"sigmas": candidate.sigmas.tolist(), "nodes": candidate.nodes.tolist()}
    table = StoredTable.of(candidate.table).model_dump()
    return {"sigmas": candidate.sigmas.tolist(), "table": table}


def pack_all(candidates: Candidates) -> str:
    """All budgets as JSON."""
    return json.dumps({str(budget): packed(candidate) for budget, candidate in candidates.items()})


def unpack_all(text: str) -> dict[int, Candidate]:
    """Read back."""
    return {int(budget): _unpacked(record) for budget, record in json.loads(text).items()}


def _unpacked(record: dict[str, object]) -> Candidate:
    if "tolerance" in record:
        return AdaptiveChoice(float(str(record["tolerance"])), float(str(record["first_step"])))
    sigmas = np.array(record["sigmas"], dtype=np.float64)
    if "nodes" in record:
        return OwnPaths(sigmas, np.array(record["nodes"], dtype=np.int64))
    return Sampler(sigmas, StoredTable.model_validate_json(json.dumps(record["table"])).table())
