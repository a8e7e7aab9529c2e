"""A whole system for as long as somebody looks at it: `pacer up` on a free port, with a data folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_S = 120.0
"""Seconds that the system may take until it is ready; loading torch is most of it."""
STOP_S = 60.0
"""Seconds that it may take to stop; each of its parts has its own, shorter limit."""

_READY = "pacer: ready"


@contextmanager
def live_system() -> Iterator[str]:
    """Start gateway, worker and embedded store; stop all of them afterwards, whatever happens.

    Yields:
        The base URL, such as http://127.0.0.1:43210.

    Raises:
        RuntimeError: it ended or was not ready in time; the message holds the tail of its log.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="pacer-") as folder:
        log = Path(folder) / "up.log"
        with log.open("wb") as sink:
            system = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "up"],
                cwd=Path(__file__).parents[1],
                env=_environment(port, Path(folder) / "data"),
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_ready(system, log)
            yield url
        finally:
            _stop(system)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(port: int, data: Path) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if key != "PACER_REDIS_URL"}
    return own | {
        "PACER_HOST": "127.0.0.1",
        "PACER_PORT": str(port),
        "PACER_DATA_DIR": str(data),
        "PACER_WORKER_METRICS_PORT": "0",
        "PACER_LOG_FORMAT": "json",
        # Also when this process is killed and cannot clean up.
        "PACER_STOP_WITH_PARENT": str(os.getpid()),
    }


def _wait_until_ready(system: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_S
    while _READY not in log.read_text(errors="replace"):
        if system.poll() is not None:
            raise RuntimeError(f"`pacer up` ended with {system.returncode}:\n{_tail(log)}")
        if time.monotonic() > end:
            raise RuntimeError(f"`pacer up` was not ready after {READY_S:.0f} s:\n{_tail(log)}")
        time.sleep(0.1)


def _tail(log: Path) -> str:
    """The end of its log, without what is merely told."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if '"level": "info"' not in line]
    return "\n".join(lines[-30:])


def _stop(system: subprocess.Popen[bytes]) -> None:
    if system.poll() is None:
        system.send_signal(signal.SIGTERM)
    try:
        system.wait(STOP_S)
    except subprocess.TimeoutExpired:
        system.kill()
        system.wait()
        raise RuntimeError(f"`pacer up` did not stop within {STOP_S:.0f} s and was killed") from None
