"""A worker knows how fast it is before its first job: on the real store, and where calls are slow, large or broken."""

import threading
from collections.abc import Callable, Sequence

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacer.control.budget_request import BudgetRequest
from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import connect
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import make_metrics
from pacer.models import ModelCard
from pacer.settings import Settings
from schedules.registry import Registry
from tests.workers.on_store import MODEL, call, wait_until
from tests.workers.test_engine import GOOD, claim_of, run
from tests.workers.test_runner import Field
from workers.engine import Engine
from workers.families.base import Conditioning
from workers.families.sd3 import Sd3Family
from workers.networks import Networks
from workers.profiling import profile
from workers.speed import SpeedMeter
from workers.turn import Drawn
from workers.worker import Worker


class Clock:
    """A clock that only goes on when told to: other work on the machine is no failure."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


CLOCK = Clock()


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("networks", "engine", "decoding", "encoding"):
        monkeypatch.setattr(f"workers.{module}.time", CLOCK)


class Timed(Field):
    """Takes so many seconds for a call and its rows, a prompt and a picture; has memory for so many rows."""

    def __init__(self, turn_s: float, row_s: float, *, most: int = 1000) -> None:
        super().__init__()
        self.turn_s, self.row_s, self.most = turn_s, row_s, most

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Conditioning]:
        CLOCK.sleep(0.02)
        return super().encode(prompts, negative=negative)

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Conditioning]) -> Tensor:
        if len(x) > self.most:
            raise self.too_many()
        CLOCK.sleep(self.turn_s + len(x) * self.row_s)
        return super().denoise(x, t, conditioning)

    def too_many(self) -> Exception:
        return torch.OutOfMemoryError("CUDA out of memory")

    def decode(self, x: Tensor) -> NDArray:
        CLOCK.sleep(0.05 * len(x))
        return super().decode(x)


class Broken(Timed):
    """Fails with many rows for a reason of its own."""

    def too_many(self) -> Exception:
        return RuntimeError("too many blocks in the grid")


def profiled(family: Timed, *, max_rows: int = 16, within_s: float = 5.0) -> WorkerSpeed:
    networks, meter = Networks(family, max_rows=max_rows), SpeedMeter(max_rows)
    networks.warm_up(64, 64)
    family.rows.clear()
    profile(networks, meter, within_s=within_s)
    told = meter.snapshot()
    assert told is not None
    return told


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        id=MODEL, width=(64, 64, 8), height=(64, 64, 8), guidance_scale=1.5, guidance_range=(1.0, 10.0),
        prediction="flow",
    )  # fmt: skip


def test_a_fresh_worker_is_never_seen_without_its_speed(family: Sd3Family, settings: Settings, card: ModelCard) -> None:
    queue = WorkerQueue(connect(str(settings.redis_url)), settings, MODEL, "fresh")
    worker = Worker(family, queue, settings, make_metrics("worker"), MODEL)
    worker.warm_up(64, 64)
    thread = threading.Thread(target=worker.run)
    seen: list[Load | None] = []

    async def look(store: JobStore) -> bool:
        if not await store.live_workers(MODEL):
            return False
        seen.append(await store.load(MODEL))
        return True

    thread.start()
    try:
        wait_until(lambda: bool(call(settings, look)))
    finally:
        worker.stop()
        thread.join(timeout=30)
    assert seen[0] is not None, "who finds it ready finds out what it can do"
    forecast = Forecast.of(seen[0], 0.001)
    asked = BudgetRequest(card=card, guidance_scale=1.5, width=64, height=64, steps=50, latency_s=0.001)
    with pytest.raises(PacerError, match=r"50 steps .* would take about") as refused:
        plan(asked, Registry(()), forecast)
    assert refused.value.kind is ErrorKind.invalid_request


@pytest.mark.usefixtures("_clock")
def test_what_is_measured_is_what_things_take() -> None:
    told = profiled(family := Timed(0.05, 0.01))
    assert (told.turn_seconds, told.row_seconds) == (pytest.approx(0.05, rel=0.4), pytest.approx(0.01, rel=0.4))
    assert (told.encode_seconds, told.decode_seconds) == (pytest.approx(0.02, rel=0.5), pytest.approx(0.05, rel=0.5))
    assert family.rows == [2, 16, 16, 16, 2]


@pytest.mark.usefixtures("_clock")
def test_slow_calls_are_measured_with_fewer_rows() -> None:
    told = profiled(family := Timed(0.0, 0.04), within_s=0.6)
    few, more, *_, last = family.rows
    assert few == last == 2
    assert 2 < more <= 5, "three calls of five rows take 0.6 s"
    assert told.row_seconds == pytest.approx(0.04, rel=0.4)


@pytest.mark.usefixtures("_clock")
def test_where_a_call_takes_longer_than_there_is_time_one_must_do() -> None:
    told = profiled(family := Timed(0.0, 0.04), within_s=0.01)
    assert family.rows == [2]
    assert told.row_seconds == pytest.approx(0.04, rel=0.4)


@pytest.mark.usefixtures("_clock")
@pytest.mark.parametrize("kind", [Timed, Broken])
def test_what_a_call_cannot_hold_ends_no_worker(kind: Callable[..., Timed]) -> None:
    told = profiled(kind(0.05, 0.02, most=5))
    assert (told.turn_seconds, told.row_seconds) == (pytest.approx(0.05, rel=0.5), pytest.approx(0.02, rel=0.5))


@pytest.mark.usefixtures("_clock")
def test_a_call_of_one_row_at_most_is_measured_too() -> None:
    told = profiled(Timed(0.01, 0.01), max_rows=1)
    assert told.turn_seconds + 2 * told.row_seconds == pytest.approx(0.04, rel=0.4)


@pytest.mark.usefixtures("_clock")
def test_what_is_drawn_corrects_what_was_measured_at_the_start() -> None:
    engine = Engine(Timed(0.01, 0.001), slots=4, max_rows=8, best_effort_slack_s=60.0)
    engine.warm_up(64, 64)
    for rows in (2, 8, 4) * 20:
        engine.speed.stepped(5 * (0.01 + 0.001 * rows), rows)
    for _ in range(30):
        engine.speed.encoded(0.01)
        engine.speed.decoded(0.02)
    told = engine.speed.snapshot()
    assert told is not None
    assert (told.turn_seconds, told.row_seconds) == (pytest.approx(0.05, rel=0.1), pytest.approx(0.005, rel=0.1))
    assert (told.encode_seconds, told.decode_seconds) == (pytest.approx(0.01, rel=0.2), pytest.approx(0.02, rel=0.2))


@pytest.mark.usefixtures("_clock")
def test_pictures_of_another_size_teach_what_a_row_of_them_takes() -> None:
    engine = Engine(Timed(0.01, 0.01), slots=4, max_rows=4, best_effort_slack_s=60.0)
    engine.warm_up(32, 32)
    claim = claim_of(GOOD, steps=2)  # of 64 x 64, which this family takes no longer for
    assert engine.admit(claim) is None
    assert [type(one) for one in run(engine)] == [Drawn]
    told = engine.speed.snapshot()
    assert told is not None
    assert (told.pixels, told.sizes) == (32 * 32, {64 * 64: pytest.approx(0.01, rel=0.6)})
    assert told.decode_seconds < 0.05, "less than was measured at the start, as four times the pixels took no longer"
