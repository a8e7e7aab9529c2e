"""`pacer up`: the whole system on one machine. A store, a gateway and a worker, watched until told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus

from app.children import STOP_WITH_PARENT, Child, end_with_parent
from pacer.embedded_store import EmbeddedStore, StoreStartError
from pacer.settings import Settings

READY_TIMEOUT_S = 180.0
"""Loading torch and a model takes tens of seconds on a slow disk."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_HEALTHY_AFTER_S = 60.0
_LOOK_S = 0.5

Say = Callable[[str], None]


class SystemEndedError(RuntimeError):
    """A part without which the system is nothing has ended."""


def up(settings: Settings, say: Say) -> int:
    """Run the system until SIGINT or SIGTERM; returns the exit code."""
    if settings.port == 0:
        settings = settings.model_copy(update={"port": _free_port(settings.host)})
    # Until the loop listens to signals, SIGTERM is to unwind like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_parent()
    try:
        if settings.redis_url is not None:
            asyncio.run(_run(settings, settings.redis_url, None, say))
        else:
            with EmbeddedStore(settings.data_dir) as store:
                asyncio.run(_run(settings, store.url, store, say))
    except KeyboardInterrupt:
        pass
    except (StoreStartError, SystemEndedError) as error:
        say(f"pacer: {error}")
        return 1
    say("pacer: stopped")
    return 0


async def _run(settings: Settings, url: str, store: EmbeddedStore | None, say: Say) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    say(f"pacer: starting {settings.models[0]}; stop with Ctrl-C")
    gateway = await _start(settings, url, "gateway")
    keepers = [asyncio.create_task(_keep_worker(settings, url, say))]
    if store is not None:
        keepers.append(asyncio.create_task(_keep_store(store, say)))
    announcer = asyncio.create_task(_announce(settings, url, say))
    try:
        await _until_stopped(told_to_stop, gateway, keepers)
    finally:
        # The gateway first, so that nothing new comes in; then the worker hands back what it holds.
        announcer.cancel()
        await gateway.stop()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(announcer, *keepers, return_exceptions=True)


async def _start(settings: Settings, url: str, *command: str) -> Child:
    env = {
        "PACER_REDIS_URL": url,
        "PACER_HOST": settings.host,
        "PACER_PORT": str(settings.port),
        # However this process ends, its children are not to live on.
        STOP_WITH_PARENT: "1",
    }
    return await Child.start(command[0], sys.executable, "-m", "app.cli", *command, env=env)


async def _keep_worker(settings: Settings, url: str, say: Say) -> None:
    """Start the worker, and start it again whenever it dies, with growing pauses while it dies early."""
    pause_s = _FIRST_PAUSE_S
    while True:
        started_s = time.monotonic()
        worker = await _start(settings, url, "worker", "--model", settings.models[0])
        try:
            code = await worker.ended()
        finally:
            await worker.stop()
        pause_s = _FIRST_PAUSE_S if time.monotonic() - started_s > _HEALTHY_AFTER_S else pause_s
        say(f"pacer: the worker ended with code {code}; starting another in {pause_s:g} s")
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _keep_store(store: EmbeddedStore, say: Say) -> None:
    """Start the embedded store again when it dies; what it acknowledged is in its file, and its address stays."""
    while True:
        await asyncio.sleep(_LOOK_S)
        if not store.alive:
            say("pacer: the store ended; starting it again")
            # Not in a thread: the server is to end with the thread that starts it.
            store.start()


async def _until_stopped(told_to_stop: asyncio.Event, gateway: Child, keepers: list[asyncio.Task[None]]) -> None:
    """Wait for the signal.

    Raises:
        SystemEndedError: the gateway ended first.
        StoreStartError: the store ended and cannot be started again.
    """
    stopping, ending = asyncio.create_task(told_to_stop.wait()), asyncio.create_task(gateway.ended())
    done, _ = await asyncio.wait({stopping, ending, *keepers}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    ending.cancel()
    if stopping in done:
        return
    if ending in done:
        raise SystemEndedError(f"the gateway ended with code {ending.result()}; its lines above say why")
    for keeper in keepers:
        if keeper in done:
            keeper.result()


async def _announce(settings: Settings, url: str, say: Say) -> None:
    """Say where everything is as soon as an image can be asked for."""
    root = root_url(settings)
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not await asyncio.to_thread(_is_ready, root):
        if time.monotonic() > deadline_s:
            say(f"pacer: not ready after {READY_TIMEOUT_S:g} s; {root}/readyz tells what is missing")
            return
        await asyncio.sleep(0.2)
    port = settings.worker_metrics_port
    of_worker = f", worker's http://127.0.0.1:{port}/metrics" if port else ""
    say(
        f"pacer: ready\n  page    {root}/\n  images  {root}/v1/images/generations\n  docs    {root}/docs\n"
        f"  metrics {root}/metrics{of_worker}\n  store   {url}"
    )


def root_url(settings: Settings) -> str:
    """Where the gateway is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104  read, not bound
    return f"http://{host}:{settings.port}"


def _is_ready(root: str) -> bool:
    try:
        with urllib.request.urlopen(f"{root}/readyz", timeout=2) as answer:  # noqa: S310  our own gateway's http
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
