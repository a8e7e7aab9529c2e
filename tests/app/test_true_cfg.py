"""Classifier-free guidance on top of a scale that the network takes as an input, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from pacer.jobs.connection import connect
from pacer.jobs.keys import queue_keys
from pacer.jobs.messages import Job
from pacer.models import CARD_NAME, load
from pacer.settings import Settings
from tests.app.conftest import serving

MODEL = "guided/model"


@pytest.fixture
def guided(settings: Settings, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A gateway of a model whose network takes the guidance scale, and of shapes-64, whose does not."""
    card = load("shapes-64").model_copy(update={"id": MODEL, "embedded_guidance": True})
    (tmp_path / CARD_NAME).write_text(card.model_dump_json())
    own = settings.model_copy(update={"models": (str(tmp_path), "shapes-64")})
    with serving(own) as url, httpx2.Client(base_url=url) as client:
        yield client


def test_models_say_whether_they_take_the_scale(guided: httpx2.Client) -> None:
    told = {model["id"]: model["embedded_guidance"] for model in guided.get("/v1/models").json()["data"]}
    assert told == {MODEL: True, "shapes-64": False}


def test_it_costs_a_second_evaluation_and_reaches_the_worker(guided: httpx2.Client, settings: Settings) -> None:
    asked = {"prompt": "a dog", "negative_prompt": "blue", "guidance_scale": 3.5, "budget": {"steps": 4}}
    plain = guided.post("/v1/jobs", json=asked).json()
    on_top = guided.post("/v1/jobs", json=asked | {"true_cfg_scale": 4}).json()
    assert (plain["plan"]["evaluations"], plain["ignored"]) == (4, ["negative_prompt"])
    assert (on_top["plan"]["evaluations"], on_top["ignored"]) == (8, [])
    with connect(str(settings.redis_url)) as store:
        packed = store.hget(queue_keys(MODEL).job(on_top["id"]), "spec")
    job = msgspec.msgpack.decode(packed, type=Job)
    assert (job.guidance_scale, job.true_cfg_scale) == (3.5, 4.0)
    for each in (plain, on_top):
        guided.delete(f"/v1/jobs/{each['id']}")


def test_a_binding_quote_keeps_it(guided: httpx2.Client) -> None:
    quoted = guided.post("/v1/plan", json={"true_cfg_scale": 4, "budget": {"steps": 4}, "bind_seconds": 9}).json()
    assert quoted["evaluations"] == 8
    body = {"prompt": "a dog", "plan_id": quoted["plan_id"]}
    refused = guided.post("/v1/jobs", json=body | {"true_cfg_scale": 2})
    assert (refused.status_code, "was quoted for true_cfg_scale 4.0, not 2.0" in refused.text) == (409, True)
    accepted = guided.post("/v1/jobs", json=body | {"true_cfg_scale": 4})
    assert accepted.json()["plan"]["evaluations"] == 8
    guided.delete(accepted.headers["Location"])


def test_a_model_with_one_scale_refuses_it(guided: httpx2.Client) -> None:
    refused = guided.post("/v1/plan", json={"model": "shapes-64", "true_cfg_scale": 4})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "true_cfg_scale: shapes-64 has one scale of guidance; give it as guidance_scale"
