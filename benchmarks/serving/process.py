"""Starting, watching and ending a server's process tree."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.serving.memory import tree

ROOT = Path(__file__).parents[2]
READY_S = 180.0
"""Seconds that a server may take until it draws its first picture."""

_STOP_S = 30.0
_LOOK_S = 0.3


class ServerError(RuntimeError):
    """A server that did not start; the message holds the end of its log."""


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str], ready: Callable[[], bool]) -> Iterator[psutil.Process]:
    """A server for as long as the context lasts; afterwards nothing of it is left.

    Args:
        command: that starts it.
        env: its whole environment.
        ready: whether it serves now.

    Raises:
        ServerError: it ended, or was not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as sink:
            # A folder of its own for what it keeps, and a session of its own, so that Ctrl-C is ours alone.
            own = {**env, "PACER_DATA_DIR": f"{folder}/data", "RAY_TMPDIR": folder}
            child = subprocess.Popen(
                command, cwd=ROOT, env=own, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
            )
        process = psutil.Process(child.pid)
        try:
            _wait(child, ready, log)
            yield process
        finally:
            _end(child, process)


def _wait(child: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + READY_S
    while not ready():
        if child.poll() is not None:
            raise ServerError(f"ended with code {child.returncode}:\n{_tail(log)}")
        if time.monotonic() > end:
            raise ServerError(f"drew nothing within {READY_S:.0f} s:\n{_tail(log)}")
        time.sleep(_LOOK_S)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-25:])


def _end(child: subprocess.Popen[bytes], process: psutil.Process) -> None:
    """Ask the first process to stop; whatever of its tree is there after some time is killed."""
    family = tree(process)
    if child.poll() is None:
        child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(_STOP_S)
    for one in psutil.wait_procs(family, timeout=2)[1]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    child.wait()
