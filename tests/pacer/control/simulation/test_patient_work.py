"""Promises are kept behind patient work, and patient work is drawn behind promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.service import Outcome, simulate_service
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.owners import EVERYBODY
from pacer.models import load
from pacer.settings import Settings
from schedules.registry import Registry

CARD = load("shapes-64")
REGISTRY = Registry.load()
SPEED = WorkerSpeed(0.009, 0.0068, 0.002, 0.004, 16, 0.02)
"""Of shapes-64 on one core, measured."""


def asked(at_s: float, steps: int, due_s: float | None = None, owner: str = EVERYBODY) -> Asked:
    width, height = CARD.default_size
    request = BudgetRequest(card=CARD, guidance_scale=CARD.guidance_scale, width=width, height=height)
    return Asked(at_s, replace(request, steps=steps, latency_s=due_s), owner)


def due_s(steps: int, factor: float) -> float:
    """A deadline of so many times what an image takes alone."""
    return round(factor * (0.026 + steps * 0.0226), 3)


def run(trace: list[Asked], **changed: object) -> list[Outcome]:
    trace = sorted(trace, key=lambda one: one.at_s)
    return list(simulate_service(trace, REGISTRY, SPEED, 1, Settings().model_copy(update=changed)).outcomes)


def promised(outcomes: list[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.plan is not None and one.asked.request.latency_s is not None]


@pytest.mark.parametrize("patient_due_s", [None, 600.0])
def test_promises_are_kept_though_long_images_have_every_slot(patient_due_s: float | None) -> None:
    patient = [asked(0.0, 50, patient_due_s) for _ in range(16)]
    outcomes = run([*patient, *(asked(0.5 * n, 8, 2.0) for n in range(1, 9))])
    assert len(promised(outcomes)) == 8 + (16 if patient_due_s else 0), "all were promised"
    assert [one for one in outcomes if not one.in_time] == []


def test_what_is_promised_behind_patient_work_is_kept() -> None:
    """At random: no fewer patient images than slots, and deadlines of 1.5 to 12 times what an image takes alone."""
    rng, kept = np.random.default_rng(0), []
    for _ in range(60):
        patient, steps, count = (int(rng.integers(*bounds)) for bounds in ((16, 41), (20, 101), (1, 21)))
        times, factors = np.cumsum(rng.uniform(0.0, 0.8, count)).tolist(), rng.uniform(1.5, 12.0, count).tolist()
        kinds = [int(one) for one in rng.choice([1, 4, 8, 20], count)]
        hurried = [asked(*one) for one in zip(times, kinds, map(due_s, kinds, factors), strict=True)]
        outcomes = run([*(asked(0.0, steps) for _ in range(patient)), *hurried])
        kept += [one.in_time for one in promised(outcomes)]
        assert all(one.in_time for one in outcomes if one.asked.request.latency_s is None), "patient work is drawn"
    assert len(kept) > 400
    assert sum(kept) >= 0.99 * len(kept)


def test_far_deadlines_do_not_keep_out_near_ones() -> None:
    """Slots full of patient images, and more images with far deadlines than there are seats beside them."""
    far = [asked(0.2 + 0.01 * n, 50, 60.0) for n in range(12)]
    outcomes = run([*(asked(0.0, 50) for _ in range(16)), *far, *(asked(1.0 + 0.5 * n, 4, 0.6) for n in range(8))])
    assert [one for one in outcomes if not one.in_time] == []
    assert len(promised(outcomes)) == 20


def test_one_keys_patient_list_that_has_come_due_keeps_no_deadline_from_another_key() -> None:
    """The list is all due after five seconds, and takes 48 s: the other key is promised what it asks, and has it."""
    listed = [asked(0.0, 50, owner="patient") for _ in range(60)]
    outcomes = run([*listed, *(asked(2.0 * n, 8, 1.0, "hurried") for n in range(1, 24))], best_effort_slack_s=5.0)
    hurried = [one for one in outcomes if one.asked.owner == "hurried"]
    assert [one for one in hurried if not one.in_time] == []
    ended = [one.done_s for one in outcomes if one.asked.owner == "patient" and one.done_s is not None]
    assert len(ended) == 60
    assert max(ended) < 48 + 23 * 0.25, "it waits for what the other's images take, and no longer"


def test_a_stream_of_promises_starves_no_patient_image() -> None:
    """Deadlines asked for at three times what a worker can draw, for 60 s: the patient ones are drawn meanwhile."""
    stream = [asked(0.1 + 0.05 * n, 8, 2.0) for n in range(1200)]
    outcomes = run([*(asked(0.0, 20) for _ in range(16)), *stream], aging_s=5.0, best_effort_slack_s=10.0)
    patient = [one.done_s for one in outcomes if one.asked.request.latency_s is None]
    assert all(done_s is not None and done_s < 60 for done_s in patient), patient
    kept = promised(outcomes)
    assert sum(not one.in_time for one in kept) <= 0.02 * len(kept)
