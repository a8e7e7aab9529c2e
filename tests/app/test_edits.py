"""Pictures to start from, over HTTP: OpenAI's edits with the stock client, native jobs, and every refusal."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, get_type_hints

import httpx2
import openai
import pytest
import redis
from conftest import known_jobs, wait_until
from openai.types.image_edit_params import ImageEditParamsBase
from PIL import Image
from stand_in_worker import FAILING_PROMPT, StandInWorker, colour_of

from app.schemas.requests import EditsRequest
from pacer.settings import Settings

EDITS, JOBS, PLAN = "/v1/images/edits", "/v1/jobs", "/v1/plan"


def file_of(mode: str = "RGB", size: tuple[int, int] = (64, 64), kind: str = "PNG", noise: bool = False) -> bytes:
    image = Image.effect_noise(size, 90).convert(mode) if noise else Image.new(mode, size)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


IMAGE, MASK = file_of(), file_of("RGBA")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def openai_client(gateway: str, worker: StandInWorker) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0)


def test_openai_client_edits_an_image(openai_client: openai.OpenAI, worker: StandInWorker, store: redis.Redis) -> None:
    answer = openai_client.images.edit(
        image=("cat.png", IMAGE), mask=("mask.png", MASK), prompt="a red circle", n=2, size="64x64", quality="low",
        model="shapes-64", input_fidelity="high", user="somebody",
        extra_body={"seed": 30, "strength": 0.6, "guidance_scale": 2.0},
    )  # fmt: skip
    assert answer.data is not None
    pictures = [Image.open(io.BytesIO(base64.b64decode(datum.b64_json or ""))) for datum in answer.data]
    assert [picture.getpixel((0, 0)) for picture in pictures] == [colour_of(30), colour_of(31)]
    facts = (answer.model_extra or {})["pacer"]
    assert (facts["steps"], facts["schedule"], facts["solver"], facts["seed"]) == (4, "shift3", "euler", 30)
    assert (facts["sigmas"][0], len(facts["sigmas"]), facts["predicted_quality_db"]) == (0.6, 5, None)
    assert facts["ignored"] == ["input_fidelity"]
    for fact in facts["images"]:
        claim = worker.claims[fact["id"]]
        assert claim.picture is not None
        assert (claim.picture.image, claim.picture.mask) == (IMAGE, MASK)
        assert claim.job.picture is not None
        assert (claim.job.picture.mask, claim.job.picture.strength) == ("alpha", 0.6)
        assert claim.job.table.base[:2] == ("noise", "image")
        assert store.hget(f"{{q:shapes-64}}:job:{fact['id']}", "picture") is None


def test_a_list_of_one_image_and_a_nested_budget_are_understood(openai_client: openai.OpenAI) -> None:
    answer = openai_client.images.edit(
        image=[("one.webp", file_of(kind="WEBP"))], prompt="a star", extra_body={"budget": {"steps": 3}}
    )
    facts = (answer.model_extra or {})["pacer"]
    assert (facts["steps"], facts["sigmas"][0]) == (3, 0.8)


def test_a_mask_repaints_from_noise_unless_told_otherwise(openai_client: openai.OpenAI) -> None:
    answer = openai_client.images.edit(image=IMAGE, mask=MASK, prompt="a star", extra_body={"budget": {"steps": 3}})
    assert (answer.model_extra or {})["pacer"]["sigmas"][0] == 1.0


def test_no_field_of_the_stock_openai_client_is_unknown() -> None:
    known = get_type_hints(ImageEditParamsBase).keys()
    assert known <= {*EditsRequest.model_fields, "image", "mask", "markup"}


def test_an_error_of_the_worker_comes_back(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="overflowed"):
        openai_client.images.edit(image=IMAGE, prompt=FAILING_PROMPT)


def edit(client: httpx2.Client, files: dict[str, bytes], **fields: Any) -> httpx2.Response:
    said = {"prompt": "a red circle", **fields}
    return client.post(EDITS, data=said, files={name: (name, data) for name, data in files.items()})


BIG = file_of(size=(128, 64))
# files, fields, status, field to blame, what the message must say
CASES: list[tuple[dict[str, bytes], dict[str, Any], int, str | None, str]] = [
    ({}, {}, 400, None, "multipart/form-data"),
    ({"mask": MASK}, {}, 422, "image", "is required, as a file"),
    ({"image": b""}, {}, 422, "image", "no PNG, JPEG or WebP"),
    ({"image": b"GIF89a"}, {}, 422, "image", "no PNG, JPEG or WebP"),
    ({"image": IMAGE[:20]}, {}, 422, "image", "cut off"),
    ({"image": BIG}, {}, 422, "image", "is 128x64, shapes-64 draws 64x64; set resize"),
    ({"image": BIG}, {"size": "64x64"}, 422, "image", "is 128x64 and size says 64x64; set resize"),
    ({"image": IMAGE}, {"size": "128x128"}, 422, "image", "is 64x64 and size says 128x128"),
    ({"image": BIG}, {"size": "128x64", "resize": "true"}, 422, "size", "draws 64x64"),
    ({"image": IMAGE, "mask": IMAGE}, {}, 422, "mask", "no alpha channel"),
    ({"image": IMAGE, "mask": file_of("RGBA", (32, 64))}, {}, 422, "mask", "is 32x64, the image is 64x64"),
    ({"image": IMAGE, "mask": b"no"}, {}, 422, "mask", "no PNG, JPEG or WebP"),
    ({"image": IMAGE, "markup": IMAGE}, {}, 422, "markup", "not read here"),
    ({"image": IMAGE, "other": IMAGE}, {}, 422, "other", "the files are image, markup, mask"),
    ({"image": IMAGE}, {"prompt": ""}, 422, "prompt", "empty"),
    ({"image": IMAGE}, {"stepz": "4"}, 422, "stepz", "no such field"),
    ({"image": IMAGE}, {"n": "four"}, 422, "n", "integer"),
    ({"image": IMAGE}, {"n": "0"}, 422, "n", "1 to 10"),
    ({"image": IMAGE}, {"strength": "0"}, 422, "strength", "above 0 and at most 1, is 0"),
    ({"image": IMAGE}, {"strength": "1.5"}, 422, "strength", "at most 1"),
    ({"image": IMAGE}, {"strength": "NaN"}, 422, "strength", "number"),
    ({"image": IMAGE}, {"budget[steps]": "101"}, 422, "budget.steps", "1 to 100"),
    ({"image": IMAGE}, {"budget[steps][x]": "1"}, 422, "budget.steps", "integer"),
    ({"image": IMAGE}, {"budget": "six"}, 422, "budget", "dictionary"),
    ({"image": IMAGE}, {"budget": '{"min_psnr_db": 40}'}, 422, "budget.min_psnr_db", "never measured"),
    ({"image": IMAGE}, {"budget": '{"evaluations": 1}'}, 422, "budget.evaluations", "buys nothing"),
    ({"image": IMAGE}, {"schedule": "shapes-64/euler/4"}, 409, "schedule", "begins at pure noise"),
    ({"image": IMAGE}, {"schedule": "magic"}, 404, "schedule", "uniform"),
    ({"image": IMAGE}, {"sigmas": "[0.5, 0]", "strength": "0.5"}, 422, "strength", "give one of the two"),
    ({"image": IMAGE}, {"solver": "learned"}, 422, "solver", "euler"),
    ({"image": IMAGE}, {"prompt": ["a", "b"]}, 400, None, "'prompt' appears twice"),
    ({"image": IMAGE}, {"user": "x" * 21_000}, 400, None, "no form"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "fields", "status", "field", "said"), CASES)
def test_what_is_wrong_with_a_form_is_told(
    client: httpx2.Client, store: redis.Redis, files: dict[str, bytes], fields: dict[str, Any], status: int,
    field: str | None, said: str,
) -> None:  # fmt: skip
    before = known_jobs(store)
    answer = edit(client, files, **fields)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == field
    assert said in error["message"]
    assert known_jobs(store) == before


def test_a_form_that_is_none_and_two_images_are_refused(client: httpx2.Client) -> None:
    two = [("image", ("a", IMAGE)), ("image[]", ("b", IMAGE))]
    answer = client.post(EDITS, data={"prompt": "a star"}, files=two)
    assert "one file, there are 2" in answer.json()["error"]["message"]
    broken = client.post(EDITS, content=b"nonsense", headers={"content-type": "multipart/form-data; boundary=x"})
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "malformed_body")
    no_boundary = client.post(EDITS, content=b"x", headers={"content-type": "multipart/form-data"})
    assert no_boundary.status_code == 400


def test_bombs_and_too_large_files_are_refused_by_their_headers(client: httpx2.Client, settings: Settings) -> None:
    bomb = IMAGE.replace((64).to_bytes(4) * 2, (30_000).to_bytes(4) * 2, 1)
    answer = edit(client, {"image": bomb}, resize="true")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "image")
    assert "at most 16777216 pixels, is 30000x30000" in answer.text
    large = IMAGE + b"\0" * settings.max_image_bytes
    answer = edit(client, {"image": large})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def ended(client: httpx2.Client, job_id: str) -> dict[str, Any]:
    wait_until(lambda: client.get(f"{JOBS}/{job_id}").json()["status"] not in ("queued", "running"), 10)
    answer: dict[str, Any] = client.get(f"{JOBS}/{job_id}").json()
    return answer


def test_a_native_job_starts_from_an_image(client: httpx2.Client, worker: StandInWorker) -> None:
    image, mask = file_of(noise=True), file_of("L", noise=True)
    assert len(image) < 20_000 < len(json.dumps({"image": encoded(image) * 6}))
    body = {"prompt": "a star", "image": f"data:image/png;base64,{encoded(image)}", "mask": encoded(mask),
            "strength": 0.5, "budget": {"steps": 4}, "solver": "ab2"}  # fmt: skip
    accepted = client.post(JOBS, json=body)
    assert accepted.status_code == 202, accepted.text
    plan = accepted.json()["plan"]
    assert (plan["sigmas"][0], plan["steps"], plan["solver"], plan["evaluations"]) == (0.5, 4, "ab2", 8)
    assert ended(client, accepted.json()["id"])["status"] == "completed"
    claim = worker.claims[accepted.json()["id"]]
    assert claim.job.picture is not None
    assert claim.picture is not None
    assert (claim.picture.image, claim.picture.mask, claim.job.picture.mask) == (image, mask, "white")


def test_a_large_image_passes_where_a_large_body_does_not(client: httpx2.Client) -> None:
    image = file_of(size=(256, 256), noise=True)
    assert len(image) > 40_000  # twice what these tests' gateway takes as a body
    answer = client.post(JOBS, json={"prompt": "a star", "image": encoded(image), "resize": True})
    assert answer.status_code == 202, answer.text
    beside = client.post(JOBS, json={"prompt": "a" * 20_001, "image": encoded(image), "resize": True})
    assert (beside.status_code, "20000 bytes beside its images" in beside.text) == (413, True)
    assert client.post("/v1/images/generations", json={"prompt": "a", "image": encoded(image)}).status_code == 413


def test_full_strength_without_a_mask_is_text_to_image(client: httpx2.Client, worker: StandInWorker) -> None:
    answer = client.post(
        JOBS, json={"prompt": "a star", "image": encoded(IMAGE), "strength": 1.0, "budget": {"steps": 6}}
    ).json()
    assert answer["plan"]["schedule"] == "shapes-64/ab2/6"
    assert answer["ignored"] == ["image"]
    ended(client, answer["id"])
    assert worker.claims[answer["id"]].picture is None


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"strength": 0.5}, "strength", "without an image"),
        ({"mask": encoded(MASK)}, "mask", "without an image"),
        ({"resize": False}, "resize", "without an image"),
        ({"image": ""}, "image", "at least 1"),
        ({"image": "%%%"}, "image", "must be base64"),
        ({"image": "https://example.org/cat.png"}, "image", "nothing is fetched"),
        ({"image": "data:text/plain;base64,AAAA"}, "image", "data:image/TYPE"),
        ({"image": encoded(IMAGE), "strength": "0.5"}, "strength", "number"),
        ({"image": encoded(IMAGE), "strength": -1}, "strength", "is -1"),
        ({"image": encoded(BIG)}, "image", "128x64"),
        ({"image": encoded(IMAGE), "mask": encoded(BIG)}, "mask", "of one size"),
        ({"image": encoded(IMAGE), "sigmas": [0.5, 0.6, 0]}, "sigmas", "decrease strictly"),
    ],
)
def test_what_is_wrong_with_a_native_picture_is_told(
    client: httpx2.Client, fields: dict[str, Any], field: str, said: str
) -> None:
    answer = client.post(JOBS, json={"prompt": "a red circle", **fields})
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert said in answer.json()["detail"]


def test_a_plan_may_be_asked_for_without_the_image(client: httpx2.Client) -> None:
    plan = client.post(PLAN, json={"strength": 0.25, "budget": {"evaluations": 9}}).json()
    assert (plan["sigmas"][0], plan["steps"], plan["evaluations"], plan["schedule"]) == (0.25, 4, 8, "shift3")
    assert client.post(PLAN, json={"strength": 2}).json()["field"] == "strength"


def test_own_sigmas_say_where_the_image_enters(client: httpx2.Client) -> None:
    body = {"prompt": "a star", "image": encoded(IMAGE), "sigmas": [0.7, 0.3, 0]}
    assert client.post(JOBS, json=body).json()["plan"]["sigmas"] == [0.7, 0.3, 0]
