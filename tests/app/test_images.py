from __future__ import annotations

import base64
import io
import threading
import time
from typing import Any, get_args, get_type_hints

import httpx2
import openai
import pytest
import redis
from conftest import Generate, queued_ids, serving, wait_until
from openai.types.image_generate_params import ImageGenerateParamsBase
from PIL import Image
from stand_in_worker import FAILING_PROMPT, SLOW_PROMPT, StandInWorker, colour_of

from app.schemas.requests import QUALITY_LEVELS, ImagesRequest
from pacer.models import load
from pacer.settings import Settings

ROUTE = "/v1/images/generations"


def opened(datum: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(datum["b64_json"])))


def test_a_prompt_and_a_step_budget_become_an_image(generate: Generate) -> None:
    answer = generate(budget={"steps": 6}, seed=11)
    assert abs(answer["created"] - time.time()) < 60
    assert (answer["size"], answer["output_format"]) == ("64x64", "png")
    assert opened(answer["data"][0]).getpixel((0, 0)) == colour_of(11)
    facts = answer["pacer"]
    assert (facts["schedule"], facts["solver"], facts["steps"]) == ("shapes-64/ab2/6", "ab2", 6)
    assert not facts["other_model"]
    assert (facts["evaluations"], facts["seed"], facts["guidance_scale"]) == (12, 11, load("shapes-64").guidance_scale)
    assert facts["predicted_quality_db"] == {
        "mean": 97.0,
        "low": 96.0,
        "high": 98.0,
        "kept": [{"by": 0.98, "least": 96.0}],
    }
    assert facts["predicted_seconds"] == pytest.approx(0.002 + 6 * 0.005 + 12 * 0.01 + 0.003)
    assert facts["queue_seconds"] >= 0
    assert facts["service_seconds"] == pytest.approx(0.065)
    assert len(facts["sigmas"]) == 7
    assert facts["ignored"] == []


def test_n_images_have_rising_seeds(generate: Generate) -> None:
    answer = generate(n=3, seed=40, num_inference_steps=2)
    assert [opened(datum).getpixel((0, 0)) for datum in answer["data"]] == [colour_of(40 + i) for i in range(3)]
    assert [image["seed"] for image in answer["pacer"]["images"]] == [40, 41, 42]
    assert len({image["id"] for image in answer["pacer"]["images"]}) == 3


def test_what_n_images_are_told_of_time_is_for_the_last_of_them(generate: Generate, worker: StandInWorker) -> None:
    facts = generate(n=3)["pacer"]
    assert facts["predicted_wait_seconds"] > generate()["pacer"]["predicted_wait_seconds"]
    assert [worker.claims[image["id"]].job.last for image in facts["images"]] == [False, False, True]


def test_an_answer_tells_what_the_last_image_took_and_whether_that_was_in_time(generate: Generate) -> None:
    facts = generate(n=2, budget={"steps": 2, "latency_ms": 9000})["pacer"]
    assert facts["in_time"] is True
    assert facts["queue_seconds"] <= facts["latency_seconds"] < 9
    assert generate()["pacer"]["in_time"] is None


def test_a_missing_seed_is_drawn_and_reported(generate: Generate) -> None:
    first, second = (generate(budget={"steps": 1}) for _ in range(2))
    assert first["pacer"]["seed"] != second["pacer"]["seed"]
    for answer in (first, second):
        assert opened(answer["data"][0]).getpixel((0, 0)) == colour_of(answer["pacer"]["seed"])


@pytest.mark.parametrize(
    ("fields", "schedule", "evaluations"),
    [
        ({"budget": {"evaluations": 12}}, "shapes-64/ab2/6", 12),
        ({"budget": {"evaluations": 11}}, "shapes-64/ab2@thrifty/6", 7),
        ({"budget": {"evaluations": 10**9}}, "shapes-64/ab2/6", 12),
        ({"budget": {"evaluations": 6}, "guidance_scale": 1}, "shapes-64/ab2/6", 6),
        ({"budget": {"evaluations": 8, "steps": 6}}, "shapes-64/ab2@thrifty/6", 7),
        ({"budget": {"evaluations": 9}, "num_inference_steps": 4}, "shapes-64/euler/4", 8),
        ({"budget": {"evaluations": 9}, "schedule": "uniform"}, "uniform", 8),
    ],
)
def test_a_budget_in_evaluations_gets_the_best_that_it_buys(
    generate: Generate, client: httpx2.Client, fields: dict[str, Any], schedule: str, evaluations: int
) -> None:
    for facts in (generate(**fields)["pacer"], client.post("/v1/plan", json=fields).json()):
        assert (facts["schedule"], facts["evaluations"]) == (schedule, evaluations)


def test_no_field_and_no_quality_of_the_stock_openai_client_is_unknown() -> None:
    known = get_type_hints(ImageGenerateParamsBase)
    assert known.keys() <= ImagesRequest.model_fields.keys()
    assert set(get_args(get_args(known["quality"])[0])) == {*QUALITY_LEVELS, "auto"}


def test_budgets_that_agree_are_one_budget(generate: Generate) -> None:
    assert generate(quality="low", budget={"steps": 4}, num_inference_steps=4)["pacer"]["steps"] == 4


def test_own_sigmas_run_under_the_solver_asked_for(generate: Generate) -> None:
    facts = generate(sigmas=[1, 0.7, 0.2, 0], solver="dpmpp-2m", num_inference_steps=3)["pacer"]
    assert (facts["schedule"], facts["solver"], facts["sigmas"]) == ("custom", "dpmpp-2m", [1, 0.7, 0.2, 0])
    assert facts["predicted_quality_db"] is None


def test_a_registry_schedule_is_taken_by_its_id(generate: Generate) -> None:
    assert generate(schedule="shapes-64/euler/6")["pacer"]["schedule"] == "shapes-64/euler/6"


def test_a_schedule_of_another_model_runs_only_with_the_callers_leave(client: httpx2.Client) -> None:
    asked = {"prompt": "a red circle", "schedule": "elsewhere/euler/3"}
    for route in (ROUTE, "/v1/jobs", "/v1/plan"):
        body = {name: value for name, value in asked.items() if route != "/v1/plan" or name != "prompt"}
        assert client.post(route, json={**body, "allow_other_model": False}).status_code == 409
        forced = client.post(route, json={**body, "allow_other_model": True}).json()
        facts = forced.get("pacer") or forced.get("plan") or forced
        assert (facts["schedule"], facts["other_model"], facts["predicted_quality_db"]) == (
            asked["schedule"], True, None,
        )  # fmt: skip
    labels = 'interpolated="false",other_model="true",schedule="elsewhere/euler/3",solver="euler"'
    used = f"pacer_schedule_used_total{{{labels}}} 2.0"
    assert used in client.get("/metrics").text


def test_a_stock_grid_is_taken_by_its_name(generate: Generate) -> None:
    facts = generate(schedule="uniform", budget={"steps": 4})["pacer"]
    assert (facts["schedule"], facts["sigmas"]) == ("uniform", [1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize(("output_format", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_output_formats(generate: Generate, output_format: str, kind: str) -> None:
    answer = generate(output_format=output_format, output_compression=80, budget={"steps": 1})
    assert opened(answer["data"][0]).format == kind
    # A PNG has no quality to lower.
    assert answer["pacer"]["ignored"] == (["output_compression"] if kind == "PNG" else [])


def test_openai_fields_that_mean_nothing_here_are_listed(generate: Generate) -> None:
    answer = generate(
        background="auto",
        moderation="low",
        style="vivid",
        svg={"model": "any", "reasoning": {"effort": "low"}},
        partial_images=0,
        user="u-1",
        stream=False,
        budget={"steps": 1},
    )
    assert answer["pacer"]["ignored"] == ["background", "moderation", "partial_images", "style", "svg"]


def test_a_negative_prompt_means_nothing_without_guidance(generate: Generate) -> None:
    def ignored(**fields: Any) -> list[str]:
        answer: list[str] = generate(budget={"steps": 1}, **fields)["pacer"]["ignored"]
        return answer

    assert ignored(negative_prompt="blue", guidance_scale=1) == ["negative_prompt"]
    assert ignored(negative_prompt="blue", guidance_scale=1.5) == []
    assert ignored(negative_prompt="blue") == [], "the model's own guidance is more than 1"
    assert ignored(negative_prompt="", guidance_scale=1) == []


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({}, ["allow_other_model"]),
        ({"schedule": "uniform"}, ["allow_other_model"]),
        ({"sigmas": [1, 0.5, 0]}, ["allow_other_model"]),
        ({"schedule": "elsewhere/euler/3"}, []),
        ({"schedule": "shapes-64/euler/6"}, []),
    ],
)
def test_leave_for_another_models_schedule_means_nothing_without_an_id(
    generate: Generate, client: httpx2.Client, fields: dict[str, Any], ignored: list[str]
) -> None:
    assert generate(allow_other_model=True, **fields)["pacer"]["ignored"] == ignored
    assert generate(allow_other_model=False, budget={"steps": 1})["pacer"]["ignored"] == []
    assert client.post("/v1/plan", json={"allow_other_model": True, **fields}).json()["ignored"] == ignored


def test_nulls_are_absences(generate: Generate) -> None:
    nothing = ("model", "n", "size", "quality", "response_format", "seed", "sigmas", "schedule", "background", "user")
    assert generate(**dict.fromkeys(nothing), budget={"steps": 1})["pacer"]["ignored"] == []


def test_where_the_time_went_is_in_a_header(client: httpx2.Client) -> None:
    answer = client.post(ROUTE, json={"prompt": "a red circle", "budget": {"steps": 3}})
    durations = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert set(durations) == {"queue", "encode", "denoise", "decode", "service", "total"}
    assert float(durations["denoise"]) == pytest.approx(30)


def test_the_stock_openai_client_works(gateway: str, worker: StandInWorker) -> None:
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key="unused", max_retries=0) as stock:
        answer = stock.images.generate(
            model="shapes-64", prompt="a red circle", n=2, size="64x64", extra_body={"budget": {"steps": 4}, "seed": 5}
        )
        assert answer.data is not None
        pixels = [opened({"b64_json": datum.b64_json or ""}).getpixel((9, 9)) for datum in answer.data]
        assert pixels == [colour_of(5), colour_of(6)]
        assert answer.model_extra is not None
        assert answer.model_extra["pacer"]["schedule"] == "shapes-64/euler/4"
        assert [model.id for model in stock.models.list()] == ["shapes-64"]
        assert stock.models.retrieve("shapes-64").owned_by == "pacer"


def test_the_stock_openai_client_reads_our_errors(gateway: str, worker: StandInWorker) -> None:
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key="unused", max_retries=0) as stock:
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            stock.images.generate(prompt="a red circle", extra_body={"budget": {"steps": 1000}})
        assert (refused.value.code, refused.value.param) == ("invalid_request", "budget.steps")
        with pytest.raises(openai.NotFoundError) as unknown:
            stock.images.generate(prompt="a red circle", model="dall-e-3")
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prompt": "a red circle", "extra_body": {"schedule": "sd3/euler/4"}}, "schedule_mismatch"),
        ({"prompt": FAILING_PROMPT, "extra_body": {"budget": {"steps": 2}}}, "not_finite"),
    ],
)
def test_the_stock_openai_client_does_not_repeat_what_cannot_succeed(
    gateway: str, worker: StandInWorker, fields: dict[str, Any], code: str
) -> None:
    answers: list[httpx2.Response] = []
    with (
        openai.DefaultHttpxClient(event_hooks={"response": [answers.append]}) as counting,
        openai.OpenAI(base_url=f"{gateway}/v1", api_key="unused", max_retries=2, http_client=counting) as stock,
        pytest.raises(openai.APIStatusError) as refused,
    ):
        stock.images.generate(**fields)
    assert (refused.value.code, len(answers)) == (code, 1)


def test_the_stock_openai_client_repeats_what_may_succeed_later(settings: Settings) -> None:
    answers: list[httpx2.Response] = []
    lonely = settings.model_copy(update={"models": (_other_model(settings),)})
    with (
        serving(lonely) as url,
        openai.DefaultHttpxClient(event_hooks={"response": [answers.append]}) as counting,
        openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=1, http_client=counting) as stock,
        pytest.raises(openai.InternalServerError),
    ):
        stock.images.generate(prompt="a red circle")
    assert [answer.status_code for answer in answers] == [503, 503]


def test_a_failed_image_fails_the_request_and_cancels_the_others(client: httpx2.Client) -> None:
    answer = client.post(ROUTE, json={"prompt": FAILING_PROMPT, "n": 2, "budget": {"steps": 2}})
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("not_finite", "server_error")
    assert "overflowed at step 1" in error["message"]


def test_hanging_up_cancels_the_jobs(gateway: str, worker: StandInWorker, store: redis.Redis) -> None:
    before = len(worker.dropped)
    with httpx2.Client(base_url=gateway, timeout=1.0) as impatient, pytest.raises(httpx2.ReadTimeout):
        impatient.post(ROUTE, json={"prompt": SLOW_PROMPT, "n": 2, "budget": {"steps": 50}})
    wait_until(lambda: len(worker.dropped) > before, 5)
    wait_until(lambda: not queued_ids(store), 5)


def test_without_a_worker_nobody_waits(store_url: str, settings: Settings) -> None:
    lonely = settings.model_copy(update={"models": (_other_model(settings),)})
    with serving(lonely) as url, httpx2.Client(base_url=url) as client:
        answer = client.post(ROUTE, json={"prompt": "a red circle"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")
        assert int(answer.headers["retry-after"]) >= 1
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["workers"]) == (503, {"alone/model": 0})
        accepted = client.post("/v1/jobs", json={"prompt": "a red circle", "budget": {"steps": 3}})
        assert accepted.status_code == 202
        assert accepted.json()["plan"]["predicted_seconds"] is None
        assert client.delete(accepted.headers["location"]).json()["status"] == "cancelled"


def test_a_full_queue_says_when_to_come_back(settings: Settings) -> None:
    narrow = settings.model_copy(update={"models": (_other_model(settings),), "queue_limit": 2})
    with serving(narrow) as url, httpx2.Client(base_url=url) as client:
        accepted = [client.post("/v1/jobs", json={"prompt": "a red circle"}) for _ in range(2)]
        refused = client.post("/v1/jobs", json={"prompt": "a red circle"})
        assert [answer.status_code for answer in accepted] == [202, 202]
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        for answer in accepted:
            client.delete(answer.headers["location"])


def test_waiting_has_an_end(settings: Settings, worker: StandInWorker, store: redis.Redis) -> None:
    before = len(worker.dropped)
    hasty = settings.model_copy(update={"sync_timeout_s": 0.7})
    with serving(hasty) as url, httpx2.Client(base_url=url, timeout=10) as client:
        answer = client.post(ROUTE, json={"prompt": SLOW_PROMPT, "budget": {"steps": 50}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_passed")
    assert "POST /v1/jobs" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    wait_until(lambda: len(worker.dropped) > before, 5)


def test_many_callers_at_once_each_get_their_own(generate: Generate) -> None:
    got: dict[int, tuple[int, ...]] = {}

    def ask(seed: int) -> None:
        got[seed] = opened(generate(seed=seed, budget={"steps": 1 + seed % 5})["data"][0]).getpixel((0, 0))  # type: ignore[assignment]

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(500, 520)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {seed: colour_of(seed) for seed in range(500, 520)}


def _other_model(settings: Settings) -> str:
    """A model of the tests' own that no worker serves."""
    assert settings.registry_dir is not None
    return str(settings.registry_dir.parent / "alone")


def test_leave_to_interpolate_is_marked_in_answer_and_metric(client: httpx2.Client) -> None:
    asked = {"prompt": "a red circle", "budget": {"steps": 50}}
    for route in ("/v1/images/generations", "/v1/jobs", "/v1/plan"):
        body = {name: value for name, value in asked.items() if name != "prompt" or route != "/v1/plan"}
        plain, allowed = (client.post(route, json=body | leave).json() for leave in ({}, {"allow_interpolated": True}))
        facts, leave = (answer.get("pacer") or answer.get("plan") or answer for answer in (plain, allowed))
        assert not facts["interpolated"]
        assert leave["interpolated"]
        assert leave["steps"] == 50
        assert leave["predicted_quality_db"] is None
    assert f'interpolated="true",other_model="false",schedule="{leave["schedule"]}"' in client.get("/metrics").text


def test_leave_to_interpolate_means_nothing_for_grids_and_own_sigmas(client: httpx2.Client) -> None:
    def ignored(**fields: Any) -> list[str]:
        answer = client.post("/v1/plan", json={"allow_interpolated": True, **fields}).json()
        return [*answer["ignored"]]

    assert ignored(schedule="uniform") == ignored(sigmas=[1, 0.5, 0]) == ["allow_interpolated"]
    assert ignored(budget={"steps": 50}) == ignored(schedule="shapes-64/euler/6") == []
