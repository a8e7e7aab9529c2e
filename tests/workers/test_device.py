"""A device that is lost: the jobs are let go, the process ends, another one draws them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacer.jobs.connection import connect
from pacer.jobs.messages import TERMINAL
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import make_metrics
from pacer.settings import Settings
from tests.workers.on_store import (
    FAST,
    MODEL,
    make_job,
    running,
    status,
    submit,
    wait_until,
)
from tests.workers.test_engine import claim_of, run
from tests.workers.test_runner import Field
from workers.device import EXIT_CODE, DeviceLostError, is_lost
from workers.engine import Engine
from workers.turn import Drawn
from workers.worker import Worker

LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (LOST, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), False),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error: not torch's"), False),
    ],
)
def test_what_sticks_is_told_from_what_passes(error: Exception, lost: bool) -> None:
    assert is_lost(error) is lost


class Breaking(Field):
    """Loses its device at a stage, where a text is 7."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[float]:  # type: ignore[override]
        texts = super().encode(prompts, negative=negative)
        if self.stage == "encode" and 7.0 in texts:
            raise LOST
        return texts

    def denoise(self, x: Tensor, t: Tensor, conditioning: list[float]) -> Tensor:  # type: ignore[override]
        if self.stage == "denoise" and 7.0 in conditioning:
            raise LOST
        return super().denoise(x, t, conditioning)

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        if self.stage == "decode":
            raise LOST
        return super().decode(x)


@pytest.mark.parametrize("stage", ["denoise", "decode"])
def test_the_jobs_under_which_the_device_failed_are_named(stage: str) -> None:
    engine = Engine(Breaking(stage), slots=8, max_rows=2, best_effort_slack_s=60.0)
    claims = [claim_of("7", steps=1) for _ in range(3)]
    for claim in claims:
        engine.admit(claim)
    with pytest.raises(DeviceLostError, match="illegal memory access") as caught:
        engine.turn()
    assert caught.value.job_ids == tuple(claim.job.id for claim in claims[:2])


def test_a_prompt_under_which_the_device_failed_is_named() -> None:
    engine = Engine(Breaking("encode"), slots=8, max_rows=8, best_effort_slack_s=60.0)
    engine.admit(claim_of("0.5"))
    guilty = claim_of("7")
    with pytest.raises(DeviceLostError) as caught:
        engine.admit(guilty)
    assert caught.value.job_ids == (guilty.job.id,)


def test_on_its_last_attempt_a_job_steps_alone() -> None:
    engine = Engine(Field(), slots=8, max_rows=8, best_effort_slack_s=60.0, last_attempt=3)
    for attempt in (1, 2, 3, 3, 1):
        engine.admit(claim_of("0.5", steps=2, attempt=attempt))
    turns = [engine.turn() for _ in range(6)]
    assert sorted(len(turn.stepped) for turn in turns) == [1, 1, 1, 1, 3, 3]
    assert sum(len(turn.ended) for turn in turns) == 5


@pytest.mark.parametrize("last_attempt", [1, 2])
def test_on_its_first_attempt_no_job_is_kept_apart(last_attempt: int) -> None:
    engine = Engine(Field(), slots=8, max_rows=8, best_effort_slack_s=60.0, last_attempt=last_attempt)
    for _ in range(3):
        engine.admit(claim_of("0.5", steps=1))
    assert [type(one) for one in run(engine)] == [Drawn] * 3
    assert engine.turn().stepped == ()


def test_a_job_that_breaks_every_device_fails_in_the_end_and_takes_no_other_with_it(settings: Settings) -> None:
    patient = settings.model_copy(update={"lease_s": 300.0, "max_attempts": 3})
    good = [make_job(3, seed=n, prompt="0.5", negative_prompt="0") for n in range(3)]
    bad = make_job(3, prompt="7", negative_prompt="0")
    submit(patient, [good[0], bad, *good[1:]])
    for _ in range(patient.max_attempts):
        queue = WorkerQueue(connect(str(patient.redis_url)), patient, MODEL, "breaking")
        with pytest.raises(DeviceLostError):
            Worker(Breaking("denoise"), queue, patient, make_metrics("worker"), MODEL).run()
    with running(Breaking("denoise"), patient):  # type: ignore[arg-type]
        wait_until(lambda: all(status(patient, job).status in TERMINAL for job in (*good, bad)))
    assert [status(patient, job).status for job in good] == ["completed"] * 3
    found = status(patient, bad)
    assert (found.status, found.error_kind, found.attempt) == ("failed", "worker_failed", 3)


def start(settings: Settings, folder: Path, breaks: Path) -> subprocess.Popen[bytes]:
    given = {"PACER_REDIS_URL": str(settings.redis_url), **{f"PACER_{k.upper()}": str(v) for k, v in FAST.items()}}
    # Longer than the test may take: no lease is to end by itself.
    given |= {"PACER_LEASE_S": "300", "PACER_SLOTS": "6", "PACER_MAX_BATCH_ROWS": "8"}
    command = [sys.executable, str(Path(__file__).with_name("breaking_worker.py")), str(folder), str(breaks)]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(command, env={**os.environ, **given, "PYTHONPATH": root})


def test_a_worker_that_loses_its_device_ends_and_the_next_one_draws_its_jobs(
    served_folder: Path, settings: Settings, tmp_path: Path
) -> None:
    breaks, jobs = tmp_path / "break", [make_job(60, seed=n) for n in range(8)]
    submit(settings, jobs)
    worker = start(settings, served_folder, breaks)
    try:
        wait_until(lambda: any(status(settings, job).step > 5 for job in jobs))
        breaks.touch()
        assert worker.wait(timeout=60) == EXIT_CODE
        left = [status(settings, job) for job in jobs]
        assert not [one for one in left if one.status in TERMINAL]
        # The batch in which it happened is charged, up to 8 rows of 2 a job; what merely stood by is given back.
        assert sorted(one.attempt for one in left) == [0, 0, 0, 0, 1, 1, 1, 1]
        worker = start(settings, served_folder, breaks)
        wait_until(lambda: all(status(settings, job).status in TERMINAL for job in jobs), timeout_s=120)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    found = [status(settings, job) for job in jobs]
    assert {one.status for one in found} == {"completed"}
    assert sorted(one.attempt for one in found) == [1, 1, 1, 1, 2, 2, 2, 2]
