"""The search of coefficients and of where guidance is evaluated, by budgets of network evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from schedules.search.pacer import sampler_of
from schedules.search.placement import PlacementSearch
from workers.lab.searching.budget import baseline_errors, keep_better
from workers.lab.searching.found import Found
from workers.lab.searching.run import SearchRun
from workers.lab.store import Json
from workers.lab.teachers import costed


class PlacedSearch:
    """Searches one budget after the other; results are kept on disk.

    Args:
        run: the model, the request, the store and the meter.
    """

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._calibration = run.smoothly_compared(run.calibration)
        self._validation = run.compared(run.validation)

    @cached_property
    def _search(self) -> PlacementSearch:
        return PlacementSearch(self._run.calibration.teacher, self._calibration, self._validation, self._run.placing)

    def budget(self, evaluations: int, known: Mapping[int, Found], *, resume: bool) -> Found:
        """The best sampler of a budget, against common solvers with guidance on every row at that cost.

        Args:
            evaluations: forwards of the network for one image.
            known: the budgets found before; not looked at, so that several processes may share the work.
            resume: take over what an interrupted run has found with the same switches.
        """
        del known
        run, request = self._run, self._run.request

        def make() -> Json:
            descended = self._search.budget(evaluations)
            sampler = sampler_of(descended.table, run.calibration.problem.time_scale)
            baselines = run.baselines(max(1, evaluations // run.branches))
            errors = baseline_errors(baselines, self._validation, request)
            found = sampler, descended.validation_error
            return keep_better(found, baselines, errors, self._validation, request).record()

        # Neither other budgets nor the evidence change what is found.
        asked = repr(replace(request, budgets=(evaluations,), held_out=1, guidance_range=None))
        named = run.model.identity_of(() if request.smaller is None else (request.smaller,))
        key = {**run.key, **named, "request": asked, "placing": repr(run.placing)}
        return Found.of(run.store.record("budgets", key, lambda: costed(run.meter, make), again=not resume))


def one_of_each_length(found: Mapping[int, Found]) -> dict[int, Found]:
    """Of budgets whose tables have equally many rows the largest: an artefact has one entry for a number of rows."""
    longest = {len(result.sigmas): budget for budget, result in sorted(found.items())}
    return {budget: found[budget] for budget in sorted(longest.values(), key=lambda each: len(found[each].sigmas))}


def placed_parameters(run: SearchRun, found: Mapping[int, Found]) -> dict[str, bool | int | float | str]:
    """The method's switches, and which budget of evaluations each number of rows was found for."""
    placing, scale = run.placing, run.request.guidance_scale
    tables = (result.sampler.table for result in found.values())
    shares = {name: network.cost for name, network in run.model.smaller.items()}
    costs = {table.evaluations_count: table.network_evaluations(scale, shares) for table in tables}
    return {
        "placement": True,
        **({} if run.request.smaller is None else {"smaller": run.request.smaller}),
        "evaluations": ", ".join(f"{rows}: {cost}" for rows, cost in sorted(costs.items())),
        "fit_seeds": placing.fit_seeds,
        "ridge": placing.fit.ridge,
        "shifts": ", ".join(f"{shift:g}" for shift in placing.shifts),
        "derivative_seeds": ", ".join(str(seeds) for seeds in placing.measured),
        "derivative_evaluations": placing.spend,
    }
