"""The catalogue of methods and how a command names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from schedules.artefact import LEARNED, Schedule, solver_id
from schedules.compile import SOLVERS
from schedules.grids import GRIDS
from schedules.published.tables import names as published_names
from workers.lab.comparing.listed import KINDS, Listed
from workers.lab.comparing.searches import (
    BY_PICTURES,
    ORACLE,
    PLACED,
    SEARCHES,
    pacer_method,
    placed_method,
    search_method,
)
from workers.lab.comparing.tabled import (
    grid_method,
    interpolated_method,
    published_method,
    registry_method,
    stock_method,
)

_GRIDS = {("stock-grid" if name == "stock" else name): name for name in GRIDS}
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "grid": (*_GRIDS, "karras+dpmpp-2m", "beta+dpmpp-2m", "kl-optimal+dpmpp-2m"),
    "stock": tuple(SOLVERS),
    "published": (
        "ays-sd1", "ays-sdxl", "gits-1.15", "gits-ld3-dpmpp", "gits-ld3-ipndm", "neural-solver", "oss-flux",
        "oss-wan", "oss-chroma",
    ),
    "search": (
        *(name for name in SEARCHES if name != ORACLE), "boss+dpmpp-2m", "gits+dpmpp-2m", "curvature+dpmpp-2m",
        "kbest+dpmpp-2m", "cma_es+dpmpp-2m", "cma_es+unipc-2",
    ),
    "pictures": BY_PICTURES,
}  # fmt: skip
_ALL = tuple(name for kind in KINDS for name in _GROUPS.get(kind, ()))


class Catalogue:
    """The methods of one run.

    Args:
        registry: the model's artefacts that hold for this run.
        search_pacer: search Pacer's own method anew instead of reading it from the registry.
        evaluations: budgets in forwards of the method that places guidance; without them there is no such method.
    """

    def __init__(
        self, registry: Iterable[Schedule] = (), *, search_pacer: bool = False, evaluations: Sequence[int] = ()
    ) -> None:
        schedules = tuple(registry)
        self._registered = {
            name: registry_method(each, name) for each in schedules for name in [_registered_name(each)]
        }
        self._interpolated = {
            name: interpolated_method(each, name)
            for each in schedules
            if each.solver in SOLVERS
            for name in [f"interpolated-{solver_id(each.solver, each.variant)}"]
        }
        self._search_pacer = search_pacer
        self._evaluations = tuple(evaluations)

    def choose(self, text: str) -> tuple[Listed, ...]:
        """Methods by name: all, registry (its entries and the stock solvers), a kind, or names, NAME+SOLVER too.

        Not among all are searches by the errors of pictures, which `pictures` names, and the oracle: they take long.

        Args:
            text: names with commas between them.

        Raises:
            ValueError: no such method; names what there is.
        """
        names = [name for part in text.split(",") for name in self._expanded(part.strip())]
        return tuple(self.method(name) for name in dict.fromkeys(names))

    def method(self, name: str) -> Listed:
        """One method.

        Raises:
            ValueError: there is none of this name, or it cannot have this solver.
        """
        if name == PLACED or (name == "pacer" and self._search_pacer):
            return self._placed() if name == PLACED else pacer_method()
        if known := self._registered.get(name) or self._interpolated.get(name):
            return known
        if name == "pacer":
            raise ValueError("methods: the registry has no entries of pacer for this model; --search-pacer finds some")
        base, plus, solver = name.partition("+")
        chosen = solver if plus else None
        if base in _GRIDS:
            return grid_method(_GRIDS[base], chosen or "euler", name)
        if base in (*SEARCHES, *BY_PICTURES):
            return search_method(base, chosen, name)
        if base in published_names():
            return published_method(base, chosen, name)
        if name in SOLVERS:
            return stock_method(name)
        names = ", ".join((*KINDS, "pictures", *self.names()))
        raise ValueError(f"methods: no method {name!r}; there are all, registry, {names}")

    def _placed(self) -> Listed:
        if not self._evaluations:
            raise ValueError(f"methods: {PLACED} has budgets of network evaluations; --evaluations 8,10,15 names them")
        return placed_method(self._evaluations)

    def names(self) -> tuple[str, ...]:
        """Every name that needs no solver."""
        known = (*_GRIDS, *SOLVERS, *published_names(), *SEARCHES, *BY_PICTURES, *self._own(), *self._interpolated)
        return tuple(dict.fromkeys(known))

    def _own(self) -> tuple[str, ...]:
        """Pacer's rows and those of the registry's other artefacts."""
        pacer = ("pacer",) if self._search_pacer or "pacer" in self._registered else ()
        return (
            *pacer,
            *((PLACED,) if self._evaluations else ()),
            *(name for name in self._registered if name != "pacer"),
        )

    def _expanded(self, name: str) -> Sequence[str]:
        if name == "all":
            return (*self._own(), *_ALL)
        if name == "registry":
            return (*self._own(), *_GROUPS["stock"])
        return _GROUPS.get(name, (name,))


def _registered_name(schedule: Schedule) -> str:
    return solver_id("pacer" if schedule.solver == LEARNED else f"registry-{schedule.solver}", schedule.variant)
