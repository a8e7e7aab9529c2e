from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from conftest import serving

from pacer.models import CARD_NAME, ModelCard, load
from pacer.settings import Settings
from schedules.artefact import BetaSchedule


def test_served_models_say_what_they_take(client: httpx2.Client) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    model = listed["data"][0]
    assert model == client.get("/v1/models/shapes-64").json()
    assert (model["id"], model["object"], model["width"], model["max_words"]) == ("shapes-64", "model", [64, 64, 8], 14)
    assert model["live_workers"] == 1
    assert "euler" in model["solvers"]
    assert "uniform" in model["grids"]


def test_a_models_own_grid_is_among_its_grids(settings: Settings, tmp_path: Path) -> None:
    cards = {
        "flow": load("shapes-64").model_copy(update={"id": "flow", "grid": "shift3.158"}),
        "lcm": ModelCard(
            id="lcm", width=(64, 64, 8), height=(64, 64, 8), guidance_scale=1.0, prediction="epsilon", solver="lcm",
            grid="lcm", noise=BetaSchedule(kind="scaled_linear", beta_start=0.00085, beta_end=0.012),
        ),
    }  # fmt: skip
    for name, card in cards.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / CARD_NAME).write_text(card.model_dump_json())
    both = settings.model_copy(update={"models": tuple(str(tmp_path / name) for name in cards)})
    with serving(both) as url, httpx2.Client(base_url=url, timeout=20) as client:
        for name, card in cards.items():
            grids = client.get(f"/v1/models/{name}").json()["grids"]
            assert grids[-1] == card.grid
            assert len(grids) == len(set(grids))
            for grid in grids:
                planned = client.post("/v1/plan", json={"model": name, "schedule": grid, "solver": "ddim"})
                assert planned.json()["schedule"] == grid, planned.text


def test_a_models_schedules_come_with_their_evidence(client: httpx2.Client) -> None:
    listed = client.get("/v1/models/shapes-64/schedules").json()
    entries = {entry["id"]: entry for entry in listed["data"]}
    assert {"shapes-64/ab2/6", "shapes-64/euler/4", "shapes-64/euler/6"} <= set(entries)
    best = entries["shapes-64/ab2/6"]
    assert best["psnr_db"].items() >= {"mean": 97.0, "low": 96.0, "high": 98.0}.items()
    planned = client.post("/v1/plan", json={"schedule": "shapes-64/ab2/6"}).json()
    assert (best["psnr_db"], best["quality"]) == (planned["predicted_quality_db"], planned["predicted_quality"])
    assert best["networks"] == []
    assert (best["solver"], best["steps"], len(best["sigmas"])) == ("ab2", 6, 7)
    assert all(entry["id"].startswith("shapes-64/") for entry in listed["data"])


def test_a_variant_is_a_schedule_of_its_own(client: httpx2.Client) -> None:
    entries = {entry["id"]: entry for entry in client.get("/v1/models/shapes-64/schedules").json()["data"]}
    plain, variant = entries["shapes-64/ab2/6"], entries["shapes-64/ab2@thrifty/6"]
    assert (plain["variant"], plain["evaluations"]) == (None, 12)
    assert (variant["solver"], variant["variant"], variant["evaluations"]) == ("ab2", "thrifty", 7)
    facts = client.post("/v1/plan", json={"schedule": "shapes-64/ab2@thrifty/6", "solver": "ab2"}).json()
    assert (facts["schedule"], facts["solver"], facts["evaluations"]) == ("shapes-64/ab2@thrifty/6", "ab2", 7)
    wrong = client.post("/v1/plan", json={"schedule": "shapes-64/ab2@thrifty/6", "solver": "ab3"}).json()
    assert (wrong["type"], wrong["field"]) == ("/problems/schedule_mismatch", "schedule")
    missing = client.post("/v1/plan", json={"schedule": "shapes-64/ab2@lavish/6"}).json()
    assert "ab2, ab2@thrifty" in missing["detail"]


def test_every_listed_schedule_can_be_planned(client: httpx2.Client) -> None:
    for entry in client.get("/v1/models/shapes-64/schedules").json()["data"]:
        asked = {"schedule": entry["id"], "guidance_scale": entry["guidance_range"][0]}
        planned = client.post("/v1/plan", json=asked)
        assert (planned.status_code, planned.json()["schedule"]) == (200, entry["id"])
        assert planned.json()["sigmas"] == entry["sigmas"]


@pytest.mark.usefixtures("worker")
def test_the_frontier_is_what_no_other_schedule_beats(client: httpx2.Client) -> None:
    answer = client.get("/v1/models/shapes-64/frontier").json()
    assert (answer["model"], answer["guidance_scale"]) == ("shapes-64", 1.5)
    spent = [plan["evaluations"] for plan in answer["data"]]
    reached = [plan["predicted_quality_db"]["mean"] for plan in answer["data"]]
    assert spent == sorted(set(spent))
    assert reached == sorted(set(reached))
    assert answer["data"][-1]["schedule"] == "shapes-64/ab2/6", "97 dB, more than anything dearer"
    assert "shapes-64/ab2@thrifty/6" in {plan["schedule"] for plan in answer["data"]}
    for plan in answer["data"]:
        best = client.post("/v1/plan", json={"budget": {"evaluations": plan["evaluations"]}}).json()
        assert best["schedule"] == plan["schedule"]
        assert best["predicted_seconds"] == plan["predicted_seconds"] > 0
    unguided = client.get("/v1/models/shapes-64/frontier", params={"guidance_scale": 1}).json()
    assert (unguided["data"][-1]["schedule"], unguided["data"][-1]["evaluations"]) == ("shapes-64/ab2/6", 6)
    assert client.get("/v1/models/shapes-64/frontier", params={"guidance_scale": 99}).status_code == 422
    assert client.get("/v1/models/shapes-64/frontier", params={"size": "64x64"}).json() == answer
    refused = client.get("/v1/models/shapes-64/frontier", params={"size": "63x64"})
    assert refused.status_code == 422
    assert "size: shapes-64 draws" in refused.json()["detail"]
    assert client.get("/v1/models/sd3/frontier").status_code == 404


def test_a_models_id_may_hold_a_slash(settings: Settings) -> None:
    assert settings.registry_dir is not None
    alone = settings.model_copy(update={"models": (str(settings.registry_dir.parent / "alone"),)})
    with serving(alone) as url, httpx2.Client(base_url=url) as client:
        assert client.get("/v1/models/alone/model").json()["id"] == "alone/model"
        assert client.get("/v1/models/alone%2Fmodel").json()["id"] == "alone/model"
        assert client.get("/v1/models/alone/model/schedules").json() == {"model": "alone/model", "data": []}


def test_unknown_models_are_not_found(client: httpx2.Client) -> None:
    for path in ("/v1/models/sd3", "/v1/models/sd3/schedules", "/v1/models/a/b/c"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/model_not_found")
        assert "shapes-64" in answer.json()["detail"]


def test_a_quote_promises_what_the_run_does(client: httpx2.Client) -> None:
    fields = {"budget": {"steps": 6}, "guidance_scale": 2}
    quoted = client.post("/v1/plan", json=fields).json()
    ran = client.post("/v1/images/generations", json={"prompt": "a red circle", **fields}).json()["pacer"]
    assert quoted == {name: ran[name] for name in quoted}
