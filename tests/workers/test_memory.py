"""Memory: a call that does not fit is made in parts, once; nothing is lost, and somebody counts."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pacer.errors import ErrorKind
from tests.workers.test_engine import claim_of, run
from tests.workers.test_runner import SHAPE, Field
from workers.engine import Engine
from workers.memory import BoundedFamily, Stage, is_out_of_memory, rows_that_fit
from workers.turn import Drawn, Failed

FULL = "CUDA out of memory. Tried to allocate 2 GiB"


class Small(Field):
    """Has memory for so many rows of a network call, prompts and pictures; notes what it was asked for."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.most = rows
        self.asked: dict[Stage, list[int]] = {"encode": [], "denoise": [], "decode": []}

    def check(self, stage: Stage, count: int) -> None:
        self.asked[stage].append(count)
        if count > self.most:
            raise torch.OutOfMemoryError(FULL)

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[float]:  # type: ignore[override]
        self.check("encode", len(prompts))
        return super().encode(prompts, negative=negative)

    def denoise(self, x: Tensor, t: Tensor, conditioning: list[float]) -> Tensor:  # type: ignore[override]
        self.check("denoise", len(x))
        return super().denoise(x, t, conditioning)

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        self.check("decode", len(x))
        return super().decode(x)


def test_out_of_memory_costs_no_job_and_never_happens_twice_at_one_size() -> None:
    family, told = Small(3), list[Stage]()
    engine = Engine(family, slots=16, max_rows=16, best_effort_slack_s=60.0, on_out_of_memory=told.append)
    for _ in range(16):
        assert engine.admit(claim_of("0.5", steps=6)) is None
    turns = []
    while len(engine):
        turns.append(engine.turn())
    assert [type(one) for turn in turns for one in turn.ended] == [Drawn] * 16
    assert told.count("denoise") == 3, "16, 8 and 4 rows were too many"
    assert sorted(size for size in family.asked["denoise"] if size > 3) == [4, 8, 16]
    assert [turn.rows for turn in turns] == [16] + [2] * 40, "batches are picked by the new limit"
    speed = engine.speed.snapshot()
    assert speed is not None
    assert speed.rows == 2, "planners reckon with it too"


def test_pictures_that_do_not_fit_together_are_decoded_in_parts() -> None:
    class SmallDecoder(Small):
        def denoise(self, x: Tensor, t: Tensor, conditioning: list[float]) -> Tensor:  # type: ignore[override]
            return Field.denoise(self, x, t, conditioning)

    family, told = SmallDecoder(3), list[Stage]()
    engine = Engine(family, slots=16, max_rows=16, best_effort_slack_s=60.0, on_out_of_memory=told.append)
    for _ in range(16):
        assert engine.admit(claim_of("0.5", steps=2)) is None
    assert [type(one) for one in run(engine)] == [Drawn] * 16
    assert told == ["decode"]
    assert family.asked["decode"] == [4] + [2] * 8


def test_parts_give_what_the_whole_gives() -> None:
    x, t, texts = torch.randn(7, *SHAPE), torch.linspace(0, 900, 7), [0.1 * n for n in range(7)]
    whole, parts = Field(), BoundedFamily(Small(2), 16)
    assert torch.equal(parts.denoise(x, t, texts), whole.denoise(x, t, texts))
    assert parts.encode(["1", "2", "3", "4", "5"]) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert parts.decode(x).shape == (7, 64, 64, 3)


def test_a_latent_shape_has_a_limit_of_its_own() -> None:
    bounded = BoundedFamily(Small(4), 16)
    bounded.denoise(torch.zeros(16, *SHAPE), torch.zeros(16), [0.0] * 16)
    assert (bounded.rows(SHAPE), bounded.rows((4, 8, 8))) == (4, 16)


def test_what_does_not_fit_alone_fails_alone() -> None:
    class Picky(Small):
        def denoise(self, x: Tensor, t: Tensor, conditioning: list[float]) -> Tensor:  # type: ignore[override]
            if 7.0 in conditioning:
                raise torch.OutOfMemoryError(FULL)
            return super().denoise(x, t, conditioning)

    engine = Engine(Picky(16), slots=8, max_rows=8, best_effort_slack_s=60.0)
    for prompt in ("1", "7", "2"):
        engine.admit(claim_of(prompt))
    ended = {one.claim.job.prompt: one for one in run(engine)}
    failed = ended.pop("7")
    assert isinstance(failed, Failed)
    assert failed.kind is ErrorKind.worker_failed
    assert FULL in failed.detail
    assert [type(one) for one in ended.values()] == [Drawn] * 2


@given(row=st.integers(0, 10**9), call=st.integers(0, 10**9), free=st.integers(0, 10**11), most=st.integers(1, 64))
def test_rows_are_as_many_as_the_measured_line_allows(row: int, call: int, free: int, most: int) -> None:
    rows = rows_that_fit(few=(1, call + row), more=(4, call + 4 * row), free=free, most=most)
    assert 1 <= rows <= most
    if rows > 1:
        assert call + rows * row <= 0.9 * free + 1 or row == 0
    if rows < most:
        assert call + (rows + 1) * row > 0.9 * free - 1


@pytest.mark.parametrize(
    ("error", "so"),
    [
        (torch.OutOfMemoryError(FULL), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_too_little_memory_is_told_from_other_errors(error: Exception, so: bool) -> None:
    assert is_out_of_memory(error) is so
