"""What a trace holds: who asks when, and for what."""

from __future__ import annotations

from dataclasses import dataclass

from pacer.control.budget_request import BudgetRequest
from pacer.jobs.owners import EVERYBODY


@dataclass(frozen=True, slots=True)
class Asked:
    """One image that is asked for.

    Attributes:
        at_s: when, seconds from the trace's start.
        request: what the gateway plans from.
        owner: whose it is; a trace's file says nothing of it.
    """

    at_s: float
    request: BudgetRequest
    owner: str = EVERYBODY

    @property
    def budget(self) -> str:
        """The budget in a few words, its deadline left out: what requests are told apart by in a report."""
        request = self.request
        least, most = request.min_steps, request.max_steps
        parts = [] if request.steps is None else [f"{request.steps} steps"]
        if least is not None or most is not None:
            parts.append(f"{least or 1} to {'any' if most is None else most} steps")
        bounds = (
            (request.evaluations, "at most {:g} evaluations"),
            (request.min_quality, "quality {:g}"),
            (request.min_psnr_db, "{:g} dB"),
            (request.kept_by, "kept by {:g}"),
        )
        parts += [words.format(bound) for bound, words in bounds if bound is not None]
        return ", ".join(parts) or "no steps said"
