"""Every search method as the comparison calls it, with the switches of its paper and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np

from schedules.artefact import LEARNED
from schedules.compile import SOLVERS
from schedules.search import two_step
from schedules.search.ays import ays
from schedules.search.boss import boss
from schedules.search.cma_es import cma_es
from schedules.search.curvature import curvature
from schedules.search.dmn import dmn
from schedules.search.evolution import auto_diffusion
from schedules.search.gits import gits
from schedules.search.gotta_go_fast import gotta_go_fast
from schedules.search.kbest import kbest
from schedules.search.ld3 import ld3
from schedules.search.method import Method, Samplers
from schedules.search.olss import olss_student, olss_teacher
from schedules.search.oss_pooled import oss_pooled
from schedules.search.oss_released import oss_per_seed, oss_released
from schedules.search.pacer import search_pacer
from schedules.search.pacer_options import Outlay, PacerOptions
from schedules.search.placement import PlacementOptions, search_placed
from schedules.search.s4s import s4s
from schedules.search.s4s_whole import WholeOptions, s4s_whole
from workers.lab.candidate import AdaptiveChoice, Candidates, OwnPaths
from workers.lab.comparing.ground import Ground
from workers.lab.comparing.listed import Cost, Listed, no_cost

_OSS_SEEDS, _POOLED_SEEDS, _BEAM_SEEDS, _FITNESS_SEEDS = 32, 64, 32, 16
_WHOLE = WholeOptions()
_SEEN = "errors as seen, before rounding"


@dataclass(frozen=True, eq=False)
class _Search:
    """A method of the one signature.

    Attributes:
        method: the search.
        solver: its default; LEARNED where coefficients belong to it.
        solvers: those that it can have instead.
        together: as in Listed.
        cost: as in Listed.
        needs_teacher: as in Listed.
        sees: whether it goes by errors of what is seen of the results, before rounding; else by latents.
        switches: as in Listed.
    """

    method: Method
    solver: str
    solvers: tuple[str, ...] = ()
    together: bool = False
    cost: Cost = no_cost
    needs_teacher: bool = True
    sees: bool = False
    switches: str = ""


def _per_step(steps: float) -> Cost:
    """So many guided steps for each seed and step of each budget."""
    return lambda seeds, _, budgets: steps * seeds * sum(budgets)


def _over_nodes(most_seeds: int, factor: float) -> Cost:
    """For path searches: seeds x nodes x the largest budget."""
    return lambda seeds, nodes, budgets: factor * min(seeds, most_seeds) * nodes * max(budgets)


def _fitness(candidates: float) -> Cost:
    """For evolution: candidates on a few seeds, finalists on all."""
    return lambda seeds, _, budgets: (candidates * min(seeds, _FITNESS_SEEDS) + 5 * seeds) * sum(budgets)


_ANY = tuple(SOLVERS)
_TWO = tuple(two_step.SOLVERS)
# Rivals that may choose what they minimise are given the geometric mean: mean PSNR is what the comparison ranks by.
_SEARCHES: Mapping[str, _Search] = MappingProxyType(
    {
        "boss": _Search(boss, "euler", _ANY, together=True),
        "gits": _Search(gits, "ipndm", _ANY, together=True),
        "curvature": _Search(curvature, "euler", _ANY, together=True),
        "dmn": _Search(dmn, "dpmpp-2m", _ANY, needs_teacher=False),
        "ays": _Search(ays, "dpmpp-2m", _ANY, together=True, cost=lambda seeds, *_: 81.0 * seeds),
        "oss_released": _Search(oss_released, "euler", together=True, cost=_over_nodes(_OSS_SEEDS, 1.0)),
        "oss_pooled": _Search(oss_pooled, "euler", together=True, cost=_over_nodes(_POOLED_SEEDS, 1.5)),
        "kbest": _Search(partial(kbest, log=True), "euler", _TWO, together=True, cost=_over_nodes(_BEAM_SEEDS, 2.0)),
        "olss": _Search(olss_teacher, LEARNED, together=True),
        "olss_student": _Search(olss_student, LEARNED, cost=_per_step(1)),
        "s4s": _Search(s4s, LEARNED, cost=_per_step(30)),
        "s4s_alt": _Search(partial(s4s, alternate=True), LEARNED, cost=_per_step(30)),
        "ld3": _Search(ld3, "dpmpp-2m", _TWO, cost=_per_step(30)),
        "evolution": _Search(partial(auto_diffusion, log=True), "euler", _ANY, cost=_fitness(300)),
        "cma_es": _Search(partial(cma_es, log=True), "euler", _ANY, cost=_fitness(200)),
    }
)
# The same by the errors of pictures, where the model gives some before rounding, and the strongest of their kind.
_BY_PICTURES: Mapping[str, _Search] = MappingProxyType(
    {
        **{
            f"{name}_pictures": replace(_SEARCHES[name], sees=True)
            for name in ("s4s", "s4s_alt", "ld3", "evolution", "cma_es")
        },
        "s4s_alt_whole": _Search(
            partial(s4s_whole, options=_WHOLE),
            LEARNED,
            sees=True,
            switches=repr(_WHOLE),
            cost=lambda seeds, _, budgets: sum(_WHOLE.cost(steps, seeds) for steps in budgets),
        ),
    }
)
ORACLE = "oss_per_seed"
"""What each measured seed would have with a schedule of its own; it is searched for each set of seeds anew."""
_BUILT_IN = MappingProxyType({"gotta_go_fast": "Heun's", ORACLE: "Euler's"})
PLACED = "pacer_placed"
"""Pacer's own search with guidance placed, by budgets of the network's evaluations."""

SEARCHES = (*_SEARCHES, *_BUILT_IN)
"""The search methods by name."""
BY_PICTURES = tuple(_BY_PICTURES)
"""Those that go by the errors of pictures, which takes the decoder's time as well."""


def search_method(name: str, solver: str | None, called: str) -> Listed:
    """A search method.

    Args:
        name: one of SEARCHES or BY_PICTURES.
        solver: a formula solver instead of its own.
        called: the name of its rows.

    Raises:
        ValueError: a solver that it cannot have.
    """
    if name in _BUILT_IN:
        if solver is not None:
            raise ValueError(f"methods: {name} has {_BUILT_IN[name]} method built in, so {called!r} cannot be")
        return _adaptive(called) if name == "gotta_go_fast" else _oracle(called)
    known = _SEARCHES[name] if name in _SEARCHES else _BY_PICTURES[name]
    if solver is not None and solver not in known.solvers:
        allowed = f"must be one of {', '.join(known.solvers)}" if known.solvers else "cannot be chosen"
        raise ValueError(f"methods: the solver of {name} {allowed}, is {solver!r}")
    method: Callable[..., Samplers] = known.method
    if solver is not None:
        method = partial(method, solver=solver)

    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        seen = {"calibration": ground.smooth_split(ground.problem.seeds_count)} if known.sees else {}
        return method(ground.coarse, ground.problem, budgets, **seen)

    return Listed(
        called, "search", solver or known.solver, find, searched=True, together=known.together, cost=known.cost,
        needs_teacher=known.needs_teacher, switches=known.switches + (_SEEN if known.sees else ""),
    )  # fmt: skip


def pacer_method(options: PacerOptions | None = None) -> Listed:
    """Pacer's own search: two thirds of the calibration seeds move it, the last third chooses."""
    chosen = options or PacerOptions()

    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        count = ground.problem.seeds_count
        kept = max(1, 2 * count // 3)
        calibration, validation = ground.smooth_split(kept), ground.split(kept, count)
        return search_pacer(
            ground.fine.take(kept),
            calibration.problem,
            budgets,
            calibration=calibration,
            validation=validation,
            options=chosen,
        )

    def cost(seeds: int, nodes: int, budgets: Sequence[int]) -> float:
        del nodes
        kept = max(1, 2 * seeds // 3)
        outlays = [
            Outlay.among(chosen, steps, budgets, seeds=kept, validation=seeds - kept, given=1) for steps in budgets
        ]
        return float(sum(outlay.evaluations for outlay in outlays))

    return Listed("pacer", "pacer", LEARNED, find, searched=True, in_order=True, cost=cost, switches=repr(chosen))


def placed_method(evaluations: Sequence[int], options: PlacementOptions | None = None) -> Listed:
    """Pacer's own search with guidance placed; seeds as in `pacer_method`.

    Args:
        evaluations: its budgets, forwards of the network for one image.
        options: its switches.
    """
    chosen = options or PlacementOptions()

    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        count = ground.problem.seeds_count
        kept = max(1, 2 * count // 3)
        calibration, validation = ground.smooth_split(kept), ground.split(kept, count)
        return search_placed(
            ground.fine.take(kept),
            calibration.problem,
            budgets,
            calibration=calibration,
            validation=validation,
            options=chosen,
        )

    def cost(seeds: int, _: int, budgets: Sequence[int]) -> float:
        return sum(chosen.spend / 2 + 20 * (seeds + chosen.fit_seeds) * budget / 2 for budget in budgets)

    return Listed(
        PLACED, "pacer", LEARNED, find, searched=True, cost=cost, evaluations=tuple(evaluations), switches=repr(chosen)
    )


def _adaptive(called: str) -> Listed:
    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        return {steps: AdaptiveChoice.of(found) for steps, found in gotta_go_fast(ground.problem, budgets).items()}

    return Listed(
        called, "search", "heun", find, lambda steps: steps >= 3, searched=True, cost=_per_step(12),
        needs_teacher=False, servable=False,
    )  # fmt: skip


def _oracle(called: str) -> Listed:
    """OSS with a schedule for each of the seeds that are measured, found on their own teacher's trajectories.

    No request could be served so, as its teacher would have to be drawn first: the row tells what is left to gain by
    choosing for each picture alone what OSS chooses for all.
    """

    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        teacher = ground.coarse
        found = oss_per_seed(teacher, ground.problem, budgets)
        return {steps: OwnPaths(teacher.sigmas, np.array(paths)) for steps, paths in found.items()}

    return Listed(
        called, "search", "euler", find, searched=True, searched_on="held-out", together=True,
        cost=lambda seeds, nodes, budgets: float(seeds * nodes * max(budgets)), servable=False,
    )  # fmt: skip
