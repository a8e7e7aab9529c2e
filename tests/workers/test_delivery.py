"""The delivery: what is handed in is in the store, counted once, and one bad picture stops no other."""

import io
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from PIL import Image

from pacer.errors import ErrorKind
from pacer.jobs.connection import connect
from pacer.jobs.messages import Claim
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import Metrics, make_metrics
from pacer.settings import Settings
from tests.workers.on_store import MODEL, call, image, make_job, status, submit
from workers.delivery import Delivery
from workers.turn import Drawn, Failed

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


class Hall:
    """A delivery on the real store, with what it tells."""

    def __init__(self, settings: Settings) -> None:
        # No lease is to end by itself here.
        self.settings = settings.model_copy(update={"lease_s": 300.0})
        self.queue = WorkerQueue(connect(str(settings.redis_url)), self.settings, MODEL, "w")
        self.metrics: Metrics = make_metrics("worker")
        self.done: list[str] = []
        self.compared: list[tuple[float, float]] = []
        self.delivery = Delivery(
            self.queue, self.metrics, MODEL, lambda claim: self.done.append(claim.job.id),
            on_ended=lambda taken_s, predicted_s: self.compared.append((taken_s, predicted_s)),
        )  # fmt: skip

    def claims(self, count: int, **fields: object) -> list[Claim]:
        submit(self.settings, [make_job(4, seed=n, **fields) for n in range(count)])
        return self.queue.claim(count)

    def ended(self, outcome: str) -> float:
        value = self.metrics.registry.get_sample_value("pacer_jobs_total", {"model": MODEL, "outcome": outcome})
        return value or 0.0

    def observed(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"pacer_{name}", {"model": MODEL, **labels})
        return value or 0.0


@pytest.fixture
def hall(settings: Settings) -> Hall:
    return Hall(settings)


def drawn(claim: Claim, pixels: np.ndarray = PIXELS, *, ago_s: float = 0.7) -> Drawn:
    earlier = msgspec.structs.replace(claim, claimed_s=time.monotonic() - ago_s)
    return Drawn(earlier, pixels, encode_s=0.1, denoise_s=0.5, decode_s=0.05)


def test_a_picture_is_handed_in_with_its_timings_and_counted(hall: Hall) -> None:
    [claim] = hall.claims(1)
    hall.delivery.submit(drawn(claim))
    hall.delivery.close()
    found = status(hall.settings, claim.job)
    assert (found.status, found.step) == ("completed", 4)
    assert found.timings is not None
    assert (found.timings.encode, found.timings.denoise, found.timings.decode) == (0.1, 0.5, 0.05)
    assert found.timings.queue == pytest.approx((claim.claimed_ms - claim.submitted_ms) / 1000)
    assert found.timings.service >= 0.7
    with Image.open(io.BytesIO(image(hall.settings, claim.job))) as picture:
        assert np.array_equal(np.asarray(picture), PIXELS)
    assert hall.done == [claim.job.id]
    assert (hall.ended("completed"), hall.ended("failed")) == (1, 0)
    assert hall.observed("job_nfe_sum") == claim.job.plan.evaluations
    assert hall.observed("job_e2e_seconds_sum") >= 0.7
    assert hall.observed("stage_seconds_sum", stage="denoise") == pytest.approx(0.5)
    for stage in ("encode", "denoise", "decode", "encode_file", "store"):
        assert hall.observed("stage_seconds_count", stage=stage) == 1


def test_what_an_image_took_is_held_against_its_plan(hall: Hall) -> None:
    told, untold, anew, sibling = hall.claims(4)

    def planned(claim: Claim, **changes: object) -> Claim:
        plan = msgspec.structs.replace(claim.job.plan, **changes)
        return msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, plan=plan))

    def of_several(claim: Claim) -> Claim:
        return msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, last=False))

    hall.delivery.submit(drawn(planned(told, predicted_seconds=0.4, predicted_wait_seconds=0.1)))
    hall.delivery.submit(drawn(untold))
    hall.delivery.submit(drawn(planned(anew, predicted_seconds=0.4, replanned=(4, 1))))
    hall.delivery.submit(drawn(of_several(planned(sibling, predicted_seconds=0.4))))
    hall.delivery.close()
    [(taken_s, predicted_s)] = hall.compared
    assert predicted_s == pytest.approx(0.5)
    assert taken_s >= 0.7
    assert hall.observed("latency_ratio_count") == 1
    assert hall.observed("latency_ratio_sum") == pytest.approx(taken_s / predicted_s)


def test_a_failure_is_handed_in_by_its_name(hall: Hall) -> None:
    [claim] = hall.claims(1)
    hall.delivery.submit(Failed(claim, ErrorKind.not_finite, "it overflowed"))
    hall.delivery.close()
    found = status(hall.settings, claim.job)
    assert (found.status, found.error_kind, found.error_detail) == ("failed", "not_finite", "it overflowed")
    assert (hall.ended("completed"), hall.ended("failed"), hall.done) == (0, 1, [claim.job.id])


def lose(hall: Hall, claim: Claim) -> str:
    hall.queue.release([claim])
    return "queued"


def cancel(hall: Hall, claim: Claim) -> str:
    call(hall.settings, lambda store: store.cancel(claim.job.id))
    return "cancelled"


@pytest.mark.parametrize("how", [lose, cancel])
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_no_longer_ours_is_dropped_and_not_counted(
    hall: Hall, how: Callable[[Hall, Claim], str], fails: bool
) -> None:
    [claim] = hall.claims(1)
    expected = how(hall, claim)
    hall.delivery.submit(Failed(claim, ErrorKind.internal, "late") if fails else drawn(claim))
    hall.delivery.close()
    assert status(hall.settings, claim.job).status == expected
    assert (hall.ended("completed"), hall.ended("failed"), hall.done) == (0, 0, [claim.job.id])
    assert hall.observed("job_e2e_seconds_count") == 0


def test_a_picture_that_cannot_be_written_stops_no_other(hall: Hall) -> None:
    claims = hall.claims(6)
    for number, claim in enumerate(claims):
        hall.delivery.submit(drawn(claim, PIXELS if number % 2 else np.zeros((3, 3), dtype=np.float64)))
    hall.delivery.close()
    assert [status(hall.settings, claim.job).status for claim in claims] == ["running", "completed"] * 3
    assert sorted(hall.done) == sorted(claim.job.id for claim in claims), "each is let go of, delivered or not"


def test_the_same_picture_twice_is_delivered_once(hall: Hall) -> None:
    [claim] = hall.claims(1)
    zombie = msgspec.structs.replace(claim, fence=claim.fence - 1)
    hall.delivery.submit(drawn(claim))
    hall.delivery.submit(drawn(zombie, 255 - PIXELS))
    hall.delivery.close()
    with Image.open(io.BytesIO(image(hall.settings, claim.job))) as picture:
        assert np.array_equal(np.asarray(picture), PIXELS)
    assert hall.ended("completed") == 1


def test_closing_waits_for_everything(hall: Hall) -> None:
    claims = hall.claims(12)
    for claim in claims:
        hall.delivery.submit(drawn(claim))
    hall.delivery.close()
    assert {status(hall.settings, claim.job).status for claim in claims} == {"completed"}
    assert hall.ended("completed") == len(hall.done) == 12
