"""What the planner's tests ask, and the registry that they ask it of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.errors import PacerError
from pacer.jobs.messages import WorkerSpeed
from pacer.models import load
from schedules.artefact import Entry, Evidence, Figure, Kept, Provenance, Schedule, ValidFor
from schedules.compile import SOLVERS
from schedules.registry import Registry

CARD = load("shapes-64")
SPEED = WorkerSpeed(turn_seconds=0.1, row_seconds=0.01, encode_seconds=0.5, decode_seconds=0.25)
FORECAST = Forecast(SPEED)


def entry(steps: int, psnr: float | None) -> Entry:
    evidence = None
    if psnr is not None:
        figure = Figure(mean=psnr, low=psnr - 1, high=psnr + 2)
        mse = Figure(mean=0.1, low=0.1, high=0.1)
        kept = (Kept(by=0.98, least=psnr - 1),)
        evidence = Evidence(
            psnr_db=figure, kept_psnr_db=kept, latent_mse=mse, seeds=8, seed_offset=100, teacher_steps=50
        )
    # Not a grid that has a name, so that a test can tell it from the fallback.
    sigmas = tuple((np.linspace(1, 0, steps + 1) ** 1.5).tolist())
    return Entry(steps=steps, sigmas=sigmas, evidence=evidence)


def schedule(solver: str, entries: dict[int, float | None], **changes: Any) -> Schedule:
    fields: dict[str, Any] = {
        "format": "pacer-schedule/1",
        "model": "shapes-64",
        "revision": None,
        "weights_sha256": CARD.weights_sha256 or "0" * 64,
        "dtype": "float32",
        "quantization": None,
        "prediction": "flow",
        "solver": solver,
        "order": SOLVERS[solver],
        "valid_for": ValidFor(width=(64, 64), height=(64, 64), guidance_scale=(1.0, 3.0)),
        "provenance": Provenance(
            method="test", teacher_steps=50, calibration_seeds=1, calibration_seed_offset=0,
            prompts_sha256="0" * 64, date="2026-01-01", code_version="0",
        ),
        "entries": tuple(entry(steps, psnr) for steps, psnr in entries.items()),
    }  # fmt: skip
    return Schedule(**{**fields, **changes})


REGISTRY = Registry.of(
    [
        schedule("euler", {4: 20.0, 6: 24.0}),
        schedule("ab2", {6: 27.0, 8: None}),
        schedule("unipc-2", {9: 30.0}, servable=False),
        schedule("ab3", {6: 99.0}, valid_for=ValidFor(width=(64, 64), height=(64, 64), guidance_scale=(4.0, 5.0))),
        schedule("euler", {6: 50.0}, model="other/model"),
    ]
)


def ask(**fields: Any) -> BudgetRequest:
    return BudgetRequest(**{"card": CARD, "guidance_scale": 1.5, "width": 64, "height": 64, **fields})


def refused(**fields: Any) -> PacerError:
    with pytest.raises(PacerError) as caught:
        plan(ask(**fields), REGISTRY, None)
    return caught.value
