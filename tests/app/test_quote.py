"""`pacer plan`: a plan from the registry alone."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import pacer
from app.cli import app
from app.quote import Bounds, quote_locally
from pacer.errors import PacerError
from pacer.settings import Settings


def test_a_budget_in_evaluations_is_kept_and_told() -> None:
    ended = CliRunner().invoke(app, ["plan", "--evaluations=12", "--json"])
    assert ended.exit_code == 0, ended.output
    planned = json.loads(ended.stdout)
    assert planned["schedule"].startswith("shapes-64/")
    assert 0 < planned["evaluations"] <= 12


def test_a_floor_buys_the_cheapest_that_reaches_it() -> None:
    ended = CliRunner().invoke(app, ["plan", "--min-psnr-db=40", "--max-steps=12", "--json"])
    assert ended.exit_code == 0, ended.output
    planned = json.loads(ended.stdout)
    assert {kept["by"]: kept["least"] for kept in planned["predicted_quality_db"]["kept"]}[0.9] >= 40
    assert planned["steps"] <= 12


def test_one_evaluation_buys_one_learned_step() -> None:
    planned = json.loads(CliRunner().invoke(app, ["plan", "--evaluations=1", "--json"]).stdout)
    assert (planned["schedule"], planned["evaluations"]) == ("shapes-64/learned/1", 1)


def test_the_version_is_told() -> None:
    ended = CliRunner().invoke(app, ["--version"])
    assert (ended.exit_code, ended.stdout) == (0, f"pacer {pacer.__version__}\n")


def test_more_evaluations_never_promise_less() -> None:
    means = []
    for evaluations in range(1, 41):
        planned = quote_locally(
            Settings(), Bounds(evaluations=evaluations), model=None, guidance_scale=None, schedule=None, solver=None,
            sigmas=None,
        )  # fmt: skip
        assert planned.evaluations <= evaluations
        assert planned.predicted_quality_db is not None
        means.append(planned.predicted_quality_db.mean)
    assert means == sorted(means)
    assert means[-1] > means[0] + 20


def test_a_contradiction_is_told_with_its_numbers() -> None:
    with pytest.raises(PacerError, match=r"take 12 at guidance_scale 1\.5, the budget says 11"):
        quote_locally(
            Settings(), Bounds(steps=6, evaluations=11), model=None, guidance_scale=1.5, schedule="uniform",
            solver=None, sigmas=None,
        )  # fmt: skip
