"""Plans that start from a picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pacer.control.budget_request import BudgetRequest, PictureEntry
from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.models import load
from schedules.compile import SOLVERS, compile_table
from schedules.registry import Registry

REGISTRY = Registry.load(None)
CARD = load("shapes-64")
REQUEST = BudgetRequest(card=CARD, guidance_scale=1.5, width=64, height=64, picture=PictureEntry(0.6))


@pytest.mark.parametrize("steps", [1, 4, 10, 100])
@pytest.mark.parametrize("strength", [0.01, 0.3, 0.999, 1.0])
def test_the_whole_budget_is_spent_below_the_entry(steps: int, strength: float) -> None:
    request = replace(REQUEST, steps=steps, picture=PictureEntry(strength, masked=True))
    made, table = plan(request, REGISTRY, None)
    assert (made.steps, table.evaluations_count, made.evaluations) == (steps, steps, 2 * steps)
    assert made.sigmas[0] == pytest.approx(strength)
    assert made.sigmas[-1] == 0
    assert made.predicted_quality_db is None
    assert table.base == ("noise", "image", *["blend"] * (steps - 1))


def test_no_searched_table_is_taken() -> None:
    assert plan(replace(REQUEST, picture=None, steps=6), REGISTRY, None)[0].schedule.startswith("shapes-64/")
    made, table = plan(replace(REQUEST, steps=6), REGISTRY, None)
    assert (made.schedule, made.solver) == (CARD.grid, CARD.solver)
    assert table.base == ("noise", "image")


def test_full_strength_is_text_to_image_with_that_grid() -> None:
    full = replace(REQUEST, steps=7, schedule="uniform", picture=PictureEntry(1.0))
    made, table = plan(full, REGISTRY, None)
    plain, expected = plan(replace(full, picture=None), REGISTRY, None)
    assert made == plain
    assert table.difference(expected) is None
    sigmas = plan(replace(REQUEST, sigmas=made.sigmas, picture=PictureEntry(None)), REGISTRY, None)[1]
    assert sigmas.difference(expected) is None
    kept = plan(replace(full, picture=PictureEntry(1.0, masked=True)), REGISTRY, None)[1]
    assert not kept.X[:, 1].any()
    assert expected.difference(compile_table(CARD.solver, np.array(made.sigmas), "flow")) is None


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_formula_solver_goes_with_a_picture(solver: str) -> None:
    made, table = plan(replace(REQUEST, steps=5, solver=solver), REGISTRY, None)
    assert made.solver == solver
    assert np.isfinite(table.X).all()


def test_bounds_are_kept() -> None:
    assert plan(replace(REQUEST, evaluations=9), REGISTRY, None)[0].steps == 4
    assert plan(replace(REQUEST, max_steps=3), REGISTRY, None)[0].steps == 3
    assert plan(REQUEST, REGISTRY, None, default_steps=8)[0].steps == 8


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"picture": PictureEntry(0.0)}, "invalid_request", "strength"),
        ({"picture": PictureEntry(float("nan"))}, "invalid_request", "strength"),
        ({"schedule": "shapes-64/euler/4"}, "schedule_mismatch", "schedule"),
        ({"schedule": "nothing"}, "schedule_not_found", "schedule"),
        ({"solver": "learned"}, "invalid_request", "solver"),
        ({"sigmas": (0.5, 0.0)}, "invalid_request", "strength"),
        ({"sigmas": (0.5, 0.0), "picture": PictureEntry(None), "schedule": "uniform"}, "invalid_request", "sigmas"),
        ({"sigmas": (0.5, 0.0), "picture": PictureEntry(None), "steps": 2}, "invalid_request", "sigmas"),
        ({"evaluations": 1}, "invalid_request", "budget.evaluations"),
        ({"min_psnr_db": 30.0}, "invalid_request", "budget.min_psnr_db"),
        ({"steps": 101}, "invalid_request", "steps"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, object], kind: str, field: str) -> None:
    with pytest.raises(PacerError) as caught:
        plan(replace(REQUEST, **changes), REGISTRY, None)
    assert (caught.value.kind, caught.value.field) == (ErrorKind[kind], field)


def test_an_epsilon_model_enters_at_its_own_level(tmp_path: Path) -> None:
    card = CARD.model_copy(update={"id": "sd"})
    noisy = type(card).model_validate(
        {
            **card.model_dump(exclude={"sigma_max", "prediction", "grid"}),
            "prediction": "epsilon",
            "grid": "karras",
            "noise": {"kind": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        }
    )
    made, table = plan(replace(REQUEST, card=noisy, steps=6), REGISTRY, None)
    assert made.sigmas[0] == pytest.approx(noisy.noise_schedule.sigma(np.array([0.6 * 999]))[0])
    assert table.X[0, :2] == pytest.approx([made.sigmas[0], 1.0])
