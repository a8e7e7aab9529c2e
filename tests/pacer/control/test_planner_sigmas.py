"""Noise levels of the caller's own."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.planner import plan
from pacer.errors import PacerError
from pacer.models import ModelCard
from schedules.compile import SOLVERS
from tests.pacer.control.asking import CARD, REGISTRY, ask


@st.composite
def own_sigmas(draw: st.DrawFn) -> tuple[float, ...]:
    levels = draw(st.sets(st.floats(1e-300, 1.0), min_size=1, max_size=20))
    return (*sorted(levels, reverse=True), 0.0)


@given(sigmas=own_sigmas(), solver=st.sampled_from(list(SOLVERS)))
def test_own_sigmas_are_run_as_given_or_refused(sigmas: tuple[float, ...], solver: str) -> None:
    request = ask(sigmas=sigmas, solver=solver)
    # Levels that nearly touch, or nearly vanish, may overflow a solver's coefficients; others must do.
    if min(-np.diff(np.log(sigmas[:-1])), default=1.0) < 1e-6 or sigmas[-2] < 1e-12:
        with suppress(PacerError):
            plan(request, REGISTRY, None)
        return
    made, table = plan(request, REGISTRY, None)
    assert (made.schedule, made.solver, made.sigmas) == ("custom", solver, sigmas)
    assert np.isfinite(table.X).all()


def test_sigmas_stay_above_the_models_least() -> None:
    card = ModelCard.model_validate_json(CARD.model_dump_json().replace('"sigma_min":0.0', '"sigma_min":0.1'))
    assert plan(ask(card=card, sigmas=(1.0, 0.1, 0.0)), REGISTRY, None)[0].steps == 2
    with pytest.raises(PacerError, match=r"0\.1"):
        plan(ask(card=card, sigmas=(1.0, 0.05, 0.0)), REGISTRY, None)
