"""The client against a whole system."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from clients.client import Pacer, PacerRefused

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("live")]

PROMPT = "a red circle on a white background"


@pytest.fixture
def pacer(live_url: str) -> Pacer:
    return Pacer(live_url)


def test_generate_returns_the_picture_and_what_it_took(pacer):
    picture = pacer.generate(PROMPT, steps=3, seed=5)
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.size == (64, 64)
    assert picture.facts["steps"] == 3
    assert picture.facts["seed"] == 5


def test_plan_is_what_generate_then_runs(pacer):
    plan = pacer.plan(steps=4)
    assert plan["schedule"] == pacer.generate(PROMPT, steps=4).facts["schedule"]


def test_the_frontier_is_what_each_number_of_evaluations_buys(pacer):
    plans = pacer.frontier("shapes-64")
    spent = [plan["evaluations"] for plan in plans]
    assert spent == sorted(set(spent))
    assert plans[3]["schedule"] == pacer.plan(evaluations=spent[3])["schedule"]
    assert pacer.frontier("shapes-64", guidance_scale=1.0) == []  # nothing was measured there
    with pytest.raises(PacerRefused) as caught:
        pacer.frontier("no/such model")
    assert (caught.value.status, caught.value.kind) == (404, "model_not_found")


def test_a_binding_plan_is_run_once(pacer):
    plan = pacer.plan(evaluations=9, bind_seconds=30)
    facts = pacer.generate(PROMPT, plan_id=plan["plan_id"]).facts
    assert (facts["schedule"], facts["sigmas"]) == (plan["schedule"], plan["sigmas"])
    with pytest.raises(PacerRefused, match="used already") as caught:
        pacer.submit(PROMPT, plan_id=plan["plan_id"])
    assert (caught.value.status, caught.value.kind) == (409, "plan_not_binding")


def test_a_budget_in_evaluations_is_never_exceeded(pacer):
    plan = pacer.plan(evaluations=9)
    assert plan["evaluations"] <= 9
    assert plan["schedule"] == pacer.generate(PROMPT, evaluations=9).facts["schedule"]
    assert pacer.status(pacer.submit(PROMPT, steps=4, evaluations=8))["plan"]["evaluations"] <= 8
    with pytest.raises(PacerRefused, match=r"take 8 at guidance_scale 1\.5, the budget says 7"):
        pacer.submit(PROMPT, schedule="uniform", steps=4, evaluations=7)


def test_job_is_followed_to_its_image(pacer):
    job = pacer.submit(PROMPT, steps=5, seed=1)
    events = list(pacer.events(job))
    assert [events[0].kind, events[-1].kind] == ["queued", "completed"]
    assert pacer.status(job)["status"] == "completed"
    # Company in a batch changes the last bit of a float, and so at most one level of a picture.
    assert abs(_pixels(pacer.image(job)) - _pixels(pacer.generate(PROMPT, steps=5, seed=1).data)).max() <= 1


def test_edit_keeps_what_the_mask_does_not_free(pacer):
    drawn = pacer.generate(PROMPT, steps=6, seed=3).data
    alpha = np.zeros((64, 64, 4), dtype=np.uint8)
    alpha[:, :32, 3] = 255  # the left half is kept
    mask = io.BytesIO()
    Image.fromarray(alpha).save(mask, "PNG")
    edited = pacer.edit("a blue square on a white background", drawn, mask=mask.getvalue(), steps=5, seed=4)
    assert (edited.facts["steps"], edited.facts["sigmas"][0], edited.facts["predicted_quality_db"]) == (5, 1.0, None)
    change = np.abs(_pixels(edited.data) - _pixels(drawn))
    assert change[:, :24].mean() < 4
    assert change[:, 40:].mean() > 12
    job = pacer.submit(PROMPT, steps=4, image=base64.b64encode(drawn).decode(), strength=0.3)
    assert list(pacer.events(job))[-1].kind == "completed"
    assert pacer.status(job)["plan"]["sigmas"][0] == 0.3
    assert np.abs(_pixels(pacer.image(job)) - _pixels(drawn)).mean() < 12
    with pytest.raises(PacerRefused, match="cannot be decoded"):
        pacer.edit(PROMPT, drawn[:200])


def _pixels(picture: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image, dtype=np.int16)


def test_events_resume_after_the_last_one_seen(pacer):
    job = pacer.submit(PROMPT, steps=5)
    events = list(pacer.events(job))
    assert list(pacer.events(job, after=events[1].id)) == events[2:]


def test_cancel_of_an_ended_job_tells_its_state(pacer):
    job = pacer.submit(PROMPT, steps=1)
    list(pacer.events(job))
    assert pacer.cancel(job) == "completed"


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [({"steps": 0}, 422, "invalid_request"), ({"model": "no-such-model"}, 404, "model_not_found")],
)
def test_refusals_name_their_kind_on_both_kinds_of_route(pacer, fields, status, kind):
    for ask in (pacer.generate, pacer.submit):
        with pytest.raises(PacerRefused) as refused:
            ask(PROMPT, **fields)
        assert (refused.value.status, refused.value.kind) == (status, kind)
