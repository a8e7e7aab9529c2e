"""LoRAs over HTTP: what is offered is listed, taken and reported; what is not is refused before the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from conftest import known_jobs, serving
from stand_in_worker import StandInWorker, picture_of

from pacer.jobs.messages import Lora
from pacer.models import CARD_NAME, load
from pacer.settings import Settings

GOOD: dict[str, Any] = {"prompt": "a red circle", "budget": {"steps": 6}}
INK, CLAY = {"name": "ink", "scale": 1.0}, {"name": "clay", "scale": -0.5}


@pytest.fixture(scope="module")
def offering(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("loras")
    for path in (folder / "ink.safetensors", folder / "shapes-64" / "clay.safetensors"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (folder / "alone" / "model").mkdir(parents=True)
    (folder / "alone" / "model" / "foreign.safetensors").touch()
    return settings.model_copy(update={"lora_dir": folder})


@pytest.fixture(scope="module")
def offered(offering: Settings, worker: StandInWorker) -> Iterator[httpx2.Client]:
    with serving(offering) as url, httpx2.Client(base_url=url, timeout=20) as client:
        yield client


def test_models_list_theirs(offered: httpx2.Client, client: httpx2.Client) -> None:
    assert offered.get("/v1/models/shapes-64").json()["loras"] == ["clay", "ink"]
    assert client.get("/v1/models").json()["data"][0]["loras"] == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [("ink", [INK]), ([{"name": "ink"}, CLAY], [CLAY, INK]), ([CLAY, INK], [CLAY, INK]), ([], []), (None, [])],
)
def test_a_job_is_drawn_with_what_it_names(
    offered: httpx2.Client, worker: StandInWorker, said: object, meant: list[dict[str, object]]
) -> None:
    accepted = offered.post("/v1/jobs", json=GOOD | {"lora": said})
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["plan"]["lora"] == meant
    job = accepted.json()["id"]
    assert b"completed" in offered.get(f"/v1/jobs/{job}/events").content
    assert offered.get(f"/v1/jobs/{job}").json()["plan"]["lora"] == meant
    assert worker.claims[job].job.plan.lora == tuple(Lora(str(one["name"]), one["scale"]) for one in meant)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "card", "told"),
    [
        ({}, {"loras": False}, "lora: plain takes none; its pipeline has no loader for them"),
        ({"batch_invariant": True}, {}, "lora: is not offered in batch-invariant mode (PACER_BATCH_INVARIANT)"),
    ],
)
def test_where_none_can_be_put_on_none_is_listed_or_taken(
    offering: Settings, tmp_path: Path, changes: dict[str, object], card: dict[str, object], told: str
) -> None:
    plain = load("shapes-64").model_copy(update={"id": "plain", **card})
    (tmp_path / CARD_NAME).write_text(plain.model_dump_json())
    with (
        serving(offering.model_copy(update={"models": (str(tmp_path),), **changes})) as url,
        httpx2.Client(base_url=url, timeout=20) as client,
    ):
        assert client.get("/v1/models/plain").json()["loras"] == []
        refused = client.post("/v1/jobs", json=GOOD | {"lora": "ink"})
    assert (refused.status_code, refused.json()["detail"]) == (422, told)


def test_openais_routes_take_them_too(offered: httpx2.Client) -> None:
    answer = offered.post("/v1/images/generations", json=GOOD | {"lora": [CLAY]}).json()
    assert answer["pacer"]["lora"] == [CLAY]
    form = {"prompt": "a red circle", "num_inference_steps": "4"}
    for said, meant in (("ink", [INK]), (json.dumps([INK, CLAY]), [CLAY, INK])):
        edited = offered.post("/v1/images/edits", data=form | {"lora": said}, files={"image": picture_of(5)})
        assert edited.json()["pacer"]["lora"] == meant, edited.text


def test_schedules_are_the_models_and_promise_nothing(offered: httpx2.Client) -> None:
    without, plan = (
        offered.post("/v1/plan", json={"budget": {"steps": 6}} | more).json() for more in ({}, {"lora": "ink"})
    )
    assert without["predicted_quality_db"]["mean"] == 97.0
    assert (plan["schedule"], plan["sigmas"]) == (without["schedule"], without["sigmas"])
    assert plan["predicted_quality_db"] is plan["predicted_quality"] is None
    assert (without["lora"], plan["lora"]) == ([], [INK])


CASES: list[tuple[object, str, str]] = [
    ("chalk", "lora", "shapes-64 has no LoRA 'chalk'; it has clay, ink"),
    ("foreign", "lora", "it has clay, ink"),
    ("../ink", "lora", "it has clay, ink"),
    ("alone/model/foreign", "lora", "it has clay, ink"),
    ("ink.safetensors", "lora", "it has clay, ink"),
    ("ink\n", "lora", "it has clay, ink"),
    ("i\0nk", "lora.0.name", "NUL"),
    ("", "lora.0.name", "at least 1"),
    ("x" * 101, "lora.0.name", "at most 100"),
    (7, "lora", "list"),
    ({"name": "ink"}, "lora", "list"),
    (["ink"], "lora.0", "dictionary"),
    ([{"scale": 1.0}], "lora.0.name", "required"),
    ([{"name": "ink", "weight": 1.0}], "lora.0.weight", "no such field"),
    ([{"name": "ink", "scale": 4.5}], "lora.0.scale", "less than or equal to 4"),
    ([{"name": "ink", "scale": -5}], "lora.0.scale", "greater than or equal to -4"),
    ([{"name": "ink", "scale": "1"}], "lora.0.scale", "number"),
    ([INK, INK], "lora", "'ink' is there twice"),
    ([{"name": f"l{i}"} for i in range(5)], "lora", "at most 4"),
]


@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/images/generations"])
@pytest.mark.parametrize(("said", "field", "told"), CASES)
def test_what_is_not_offered_gets_one_clear_error(
    offered: httpx2.Client, store: redis.Redis, route: str, said: object, field: str, told: str
) -> None:
    before = known_jobs(store)
    refused = offered.post(route, json=GOOD | {"lora": said})
    assert refused.status_code == 422, refused.text
    problem = refused.json()
    if route == "/v1/jobs":
        assert (problem["type"], problem["field"]) == ("/problems/invalid_request", field)
        assert told in problem["detail"]
    else:
        assert problem["error"]["param"] == field
        assert told in problem["error"]["message"]
    assert known_jobs(store) == before


def test_a_gateway_without_a_folder_says_so(client: httpx2.Client) -> None:
    detail = client.post("/v1/plan", json={"lora": "ink"}).json()["detail"]
    assert detail == "lora: shapes-64 has no LoRA 'ink'; it has none (PACER_LORA_DIR)"


@pytest.mark.parametrize("floor", [{"min_psnr_db": 40}, {"min_quality": 0.5}])
def test_a_floor_cannot_be_promised(offered: httpx2.Client, floor: dict[str, float]) -> None:
    problem = offered.post("/v1/plan", json={"budget": floor, "lora": "ink"}).json()
    assert problem["field"] == f"budget.{next(iter(floor))}"
    assert "measured without LoRAs" in problem["detail"]


def test_the_batch_invariant_mode_offers_none(offering: Settings) -> None:
    invariant = offering.model_copy(update={"batch_invariant": True})
    with serving(invariant) as url:
        refused = httpx2.post(f"{url}/v1/plan", json={"lora": "ink"})
    assert refused.status_code == 422
    assert "PACER_BATCH_INVARIANT" in refused.json()["detail"]


def test_a_bound_plan_is_drawn_with_the_loras_that_it_was_quoted_for(offered: httpx2.Client) -> None:
    asked = {"budget": {"steps": 6}, "bind_seconds": 30, "lora": [INK, CLAY]}
    job = {"prompt": "a red circle", "plan_id": offered.post("/v1/plan", json=asked).json()["plan_id"]}
    other = offered.post("/v1/jobs", json=job | {"lora": "ink"})
    assert other.status_code == 409, other.text
    assert "was quoted for lora clay at -0.5, ink at 1, not ink at 1" in other.json()["detail"]
    accepted = offered.post("/v1/jobs", json=job)
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["plan"]["lora"] == [CLAY, INK]
