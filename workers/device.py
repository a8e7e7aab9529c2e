"""A device that failed for good: whatever the process asks of it next fails too, so the process must end."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from workers.memory import is_out_of_memory

EXIT_CODE = 75
"""Of a worker that lost its device: sysexits' EX_TEMPFAIL, start it again."""


class DeviceLostError(RuntimeError):
    """The device failed under some jobs, one of which may have caused it.

    Attributes:
        job_ids: what was being computed.
    """

    def __init__(self, job_ids: tuple[str, ...], error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.job_ids = job_ids


def is_lost(error: Exception) -> bool:
    """Whether an error of the network means that the device's context is gone; too little memory does not."""
    if is_out_of_memory(error):
        return False
    # Some libraries under torch raise the plain kind.
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def check_device(error: Exception, job_ids: Sequence[str]) -> None:
    """Let an error pass that is some job's own.

    Args:
        error: what was raised.
        job_ids: what was being computed.

    Raises:
        DeviceLostError: it is no one job's own.
    """
    if is_lost(error):
        raise DeviceLostError(tuple(job_ids), error) from error
