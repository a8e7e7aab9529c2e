"""Where a stage runs: at once, or beside the step loop on a thread, and on a GPU a stream, of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch

_T = TypeVar("_T")


class Lane(Protocol):
    """Runs calls in the order in which they come."""

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Run a call; the future holds what it returns or raises."""
        ...

    def close(self) -> None:
        """Begin no further call."""
        ...


class InlineLane:
    """Runs each call before `submit` returns."""

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Run the call here and now."""
        future: Future[_T] = Future()
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 -- whoever asks for the result gets it
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is under way."""


class ThreadLane:
    """Runs calls one after the other on one thread; on a GPU their kernels go to one stream beside the step loop's.

    Args:
        name: of the thread.
        device: where the calls compute.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Run the call soon, after everything that the caller's stream was given until now."""
        stream = self._stream
        if stream is None:
            return self._threads.submit(call)
        ready = torch.cuda.current_stream(stream.device).record_event()
        return self._threads.submit(_on_stream, stream, ready, call)

    def close(self) -> None:
        """Forget what has not begun; does not wait for what has."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _on_stream(stream: torch.cuda.Stream, ready: torch.cuda.Event, call: Callable[[], _T]) -> _T:
    stream.wait_event(ready)
    with torch.cuda.stream(stream):
        result = call()
    # What is handed over is complete: no reader on another stream needs to wait, nor the allocator to know of it.
    stream.synchronize()
    return result


def open_lane(name: str, device: torch.device, *, beside: bool) -> Lane:
    """A lane beside the step loop, or in it."""
    return ThreadLane(name, device) if beside else InlineLane()
