from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import serving
from prometheus_client.parser import text_string_to_metric_families
from stand_in_worker import SLOW_PROMPT

import pacer
from app.main import create_app
from pacer.embedded_store import EmbeddedStore
from pacer.errors import ErrorKind
from pacer.settings import Settings
from schedules.artefact import ArtefactError


def test_the_process_answers(client: httpx2.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "version": pacer.__version__}


def test_it_is_ready_with_a_store_and_a_worker(client: httpx2.Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "workers": {"shapes-64": 1}})


def test_metrics_show_the_depth_of_the_queue_now(settings: Settings) -> None:
    assert settings.registry_dir is not None
    alone = settings.model_copy(update={"models": (str(settings.registry_dir.parent / "alone"),)})
    with serving(alone) as url, httpx2.Client(base_url=url) as client:
        assert depths(client.get("/metrics")) == {"alone/model": 0}
        job = client.post("/v1/jobs", json={"prompt": "a red circle"})
        assert depths(client.get("/metrics")) == {"alone/model": 1}
        client.delete(job.headers["location"])
        assert depths(client.get("/metrics")) == {"alone/model": 0}


def depths(answer: httpx2.Response) -> dict[str, float]:
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    return {
        sample.labels["model"]: sample.value
        for sample in families["pacer_queue_depth"].samples
        if sample.labels["model"] == "alone/model"
    }


def counted(client: httpx2.Client, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return sum(s.value for family in families for s in family.samples if (s.name, s.labels) == (name, labels))


def test_metrics_count_what_the_gateway_does(client: httpx2.Client) -> None:
    count = partial(counted, client)
    unmarked = {"other_model": "false", "interpolated": "false"}

    def counts() -> list[float]:
        return [
            count("pacer_schedule_used_total", schedule="shapes-64/ab2/6", solver="ab2", **unmarked),
            count("pacer_predicted_quality_db_sum", model="shapes-64"),
            count("pacer_jobs_total", model="shapes-64", outcome="cancelled"),
        ]

    before = counts()
    job = client.post("/v1/jobs", json={"prompt": SLOW_PROMPT, "budget": {"steps": 6}})
    with ThreadPoolExecutor(8) as pool:
        states = {answer.json()["status"] for answer in pool.map(client.delete, [job.headers["location"]] * 8)}
    assert states == {"cancelled"}
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 97, 1]


@pytest.mark.parametrize(
    ("route", "body", "model", "kind"),
    [
        ("/v1/jobs", {"budget": {"latency_ms": 5}}, "shapes-64", "invalid_request"),
        ("/v1/images/generations", {"schedule": "shapes-64/none/4"}, "shapes-64", "schedule_not_found"),
        ("/v1/jobs", {"budget": {"steps": "four"}}, "other", "invalid_request"),
        ("/v1/jobs", {"model": "nowhere"}, "other", "model_not_found"),
        ("/v1/jobs", {"plan_id": "x"}, "other", "plan_not_binding"),
    ],
)
def test_refusals_are_counted_by_kind(
    client: httpx2.Client, route: str, body: dict[str, Any], model: str, kind: str
) -> None:
    def refused() -> float:
        return counted(client, "pacer_refused_total", model=model, kind=kind)

    before = refused()
    assert client.post(route, json={"prompt": "a red circle", **body}).is_error
    assert refused() == before + 1
    assert client.get("/v1/jobs/none").is_error
    assert counted(client, "pacer_refused_total", model="other", kind="job_not_found") == 0, "no request for an image"


def test_steps_that_were_left_open_are_counted_as_planned(client: httpx2.Client) -> None:
    def planned() -> list[float]:
        return [counted(client, f"pacer_planned_steps_{part}", model="shapes-64") for part in ("sum", "count")]

    before = planned()
    for budget in ({"latency_ms": 9000, "min_steps": 2, "max_steps": 4}, {"steps": 6}):
        client.delete(client.post("/v1/jobs", json={"prompt": SLOW_PROMPT, "budget": budget}).headers["location"])
    assert [now - then for now, then in zip(planned(), before, strict=True)] == [4, 1]


def test_without_a_store_it_lives_but_is_not_ready(settings: Settings, tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        url = store.url
    with serving(settings.model_copy(update={"redis_url": url})) as root, httpx2.Client(base_url=root) as client:
        # Side by side, since each of these tries the store for some seconds.
        with ThreadPoolExecutor() as pool:
            ready = pool.submit(client.get, "/readyz")
            submitted = pool.submit(client.post, "/v1/jobs", json={"prompt": "a red circle"})
            drawn = pool.submit(client.post, "/v1/images/generations", json={"prompt": "a red circle"})
            contradicting = pool.submit(client.post, "/v1/plan", json={"budget": {"min_steps": 2, "evaluations": 1}})
            models, metrics = pool.submit(client.get, "/v1/models"), pool.submit(client.get, "/metrics")
            assert client.get("/healthz").status_code == 200
        for answer in (ready.result(), submitted.result()):
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        assert (drawn.result().status_code, drawn.result().json()["error"]["code"]) == (503, "store_unavailable")
        assert models.result().json()["data"][0]["live_workers"] is None
        assert (metrics.result().status_code, depths(metrics.result())) == (200, {})
        # What is wrong is wrong whatever state the store is in.
        assert contradicting.result().status_code == 422
        assert client.post("/v1/jobs", json={"prompt": ""}).status_code == 422
        assert client.post("/v1/plan", json={"budget": {"steps": 1000}}).status_code == 422


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_problem_type_leads_to_its_explanation(client: httpx2.Client, kind: ErrorKind) -> None:
    answer = client.get(f"/problems/{kind.label}").json()
    assert answer == {"kind": kind.label, "title": kind.title, "status": kind.status, "advice": kind.advice}


def test_an_unknown_problem_type_is_not_found(client: httpx2.Client) -> None:
    assert client.get("/problems/none").status_code == 404


def test_the_gateway_loads_no_network_library() -> None:
    libraries = {"torch", "diffusers", "transformers"}
    check = f"import sys, app.main, app.up, app.serve, app.cli; print(sorted({libraries} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_settings_that_cannot_be_served_are_refused_at_start(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PACER_REDIS_URL"):
        create_app(settings.model_copy(update={"redis_url": None}))
    with pytest.raises(ValueError, match="shipped: shapes-64"):
        create_app(settings.model_copy(update={"models": ("nowhere",)}))
    with pytest.raises(ArtefactError):
        create_app(settings.model_copy(update={"registry_dir": tmp_path / "none"}))
