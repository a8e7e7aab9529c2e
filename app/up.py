"""`pacer up`: the whole system on one machine: a store, a gateway and a worker per model, watched until the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus

from app.children import Child
from pacer.embedded_store import EmbeddedStore, StoreStartError
from pacer.models import CardError, NotCachedError, load
from pacer.parent import STOP_WITH_PARENT, end_with_parent
from pacer.settings import Settings

READY_TIMEOUT_S = 180.0
"""Loading torch and a model takes tens of seconds on a slow disk."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_HEALTHY_AFTER_S = 60.0
_LOOK_S = 0.5

_MOST_PORTS = 65_535

Say = Callable[[str], None]


class SystemEndedError(RuntimeError):
    """A part without which the system is nothing has ended."""


def up(settings: Settings, say: Say) -> int:
    """Run the system until SIGINT or SIGTERM; returns the exit code.

    Raises:
        ValueError: the workers' metrics need more ports than there are.
    """
    ports = metrics_ports(settings)
    if settings.port == 0:
        settings = settings.model_copy(update={"port": _free_port(settings.host)})
    # Until the loop listens to signals, SIGTERM is to unwind like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        end_with_parent()
        if settings.redis_url is not None:
            asyncio.run(_run(settings, ports, settings.redis_url, None, say))
        else:
            with EmbeddedStore(settings.data_dir) as store:
                asyncio.run(_run(settings, ports, store.url, store, say))
    except KeyboardInterrupt:
        pass
    except (StoreStartError, SystemEndedError) as error:
        say(f"pacer: {error}")
        return 1
    say("pacer: stopped")
    return 0


def metrics_ports(settings: Settings) -> dict[str, int]:
    """Each served model with the port of its worker's metrics, from the setting's on; 0 is none.

    Raises:
        ValueError: there are not that many ports.
    """
    first = settings.worker_metrics_port
    if first and first + len(settings.models) - 1 > _MOST_PORTS:
        most = _MOST_PORTS - len(settings.models) + 1
        raise ValueError(
            f"PACER_WORKER_METRICS_PORT: {len(settings.models)} workers take as many ports from {first} "
            f"on; must be at most {most}, or 0"
        )
    return {model: first + index if first else 0 for index, model in enumerate(settings.models)}


async def _run(settings: Settings, ports: Mapping[str, int], url: str, store: EmbeddedStore | None, say: Say) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    if not await _downloaded(settings, url, told_to_stop, say):
        return
    say(f"pacer: starting {', '.join(settings.models)}; stop with Ctrl-C")
    announcer = asyncio.create_task(_announce(settings, ports, url, say))
    gateway = asyncio.create_task(_keep_gateway(settings, url, announcer, say))
    keepers = [asyncio.create_task(_keep_worker(settings, url, model, port, say)) for model, port in ports.items()]
    if store is not None:
        keepers.append(asyncio.create_task(_keep_store(store, say)))
    try:
        await _until_stopped(told_to_stop, [gateway, *keepers])
    finally:
        # The gateway first, so that nothing new comes in; then the workers hand back what they hold.
        for tasks in ([announcer, gateway], keepers):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _downloaded(settings: Settings, url: str, told_to_stop: asyncio.Event, say: Say) -> bool:
    """Fetch models of the hub that are not in its cache, which the gateway reads; False where that was stopped.

    Raises:
        SystemEndedError: one could not be fetched.
    """
    for model in settings.models:
        if not _is_missing(model, settings):
            continue
        say(f"pacer: downloading {model}; stop with Ctrl-C")
        child = await _start(settings, url, "download", model)
        ended, stopped = asyncio.create_task(child.ended()), asyncio.create_task(told_to_stop.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            await child.stop()
        if told_to_stop.is_set():
            return False
        if code := await ended:
            raise SystemEndedError(f"{model} was not downloaded (code {code}); the lines above say why")
    return True


def _is_missing(model: str, settings: Settings) -> bool:
    try:
        load(model, settings.cards_dir)
    except NotCachedError:
        return True
    except CardError:  # which the gateway tells
        pass
    return False


async def _start(settings: Settings, url: str, *command: str, env: Mapping[str, str] | None = None) -> Child:
    common = {
        "PACER_REDIS_URL": url,
        "PACER_HOST": settings.host,
        "PACER_PORT": str(settings.port),
        # However this process ends, its children are not to live on.
        STOP_WITH_PARENT: str(os.getpid()),
    }
    return await Child.start(command[0], sys.executable, "-m", "app.cli", *command, env={**common, **(env or {})})


async def _keep_gateway(settings: Settings, url: str, announcer: asyncio.Task[None], say: Say) -> None:
    """Keep the gateway running.

    Raises:
        SystemEndedError: it ended while the system was still starting; what is wrong then stays wrong, such as a port.
    """

    def judge(code: int) -> None:
        if not announcer.done():
            raise SystemEndedError(f"the gateway ended with code {code}; its lines above say why")

    await _keep("the gateway", partial(_start, settings, url, "gateway"), say, judge)


async def _keep_worker(settings: Settings, url: str, model: str, port: int, say: Say) -> None:
    """Keep a model's worker running."""
    env = {"PACER_WORKER_METRICS_PORT": str(port)}
    start = partial(_start, settings, url, "worker", "--model", model, env=env)
    await _keep(f"the worker of {model}", start, say)


async def _keep(
    name: str, start: Callable[[], Awaitable[Child]], say: Say, judge: Callable[[int], None] = lambda _: None
) -> None:
    """Start a part, and start it again whenever it dies, with growing pauses while it dies early."""
    pause_s = _FIRST_PAUSE_S
    while True:
        started_s = time.monotonic()
        child = await start()
        try:
            code = await child.ended()
        finally:
            await child.stop()
        judge(code)
        pause_s = _FIRST_PAUSE_S if time.monotonic() - started_s > _HEALTHY_AFTER_S else pause_s
        say(f"pacer: {name} ended with code {code}; starting another in {pause_s:g} s")
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


async def _until_stopped(told_to_stop: asyncio.Event, keepers: list[asyncio.Task[None]]) -> None:
    """Wait for the signal.

    Raises:
        SystemEndedError: the gateway ended before the system had started.
        StoreStartError: the store ended and cannot be started again.
    """
    stopping = asyncio.create_task(told_to_stop.wait())
    done, _ = await asyncio.wait({stopping, *keepers}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stopping in done:
        return
    for keeper in keepers:
        if keeper in done:
            keeper.result()


async def _announce(settings: Settings, ports: Mapping[str, int], url: str, say: Say) -> None:
    """Say where everything is as soon as an image can be asked for."""
    root = root_url(settings)
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not await asyncio.to_thread(_is_ready, root):
        if time.monotonic() > deadline_s:
            say(f"pacer: not ready after {READY_TIMEOUT_S:g} s; {root}/readyz tells what is missing")
            return
        await asyncio.sleep(0.2)
    of_workers = "".join(
        f"\n          {_root(settings.host, port)}/metrics (worker of {model})" for model, port in ports.items() if port
    )
    say(
        f"pacer: ready\n  page    {root}/\n  images  {root}/v1/images/generations\n  docs    {root}/docs\n"
        f"  metrics {root}/metrics{of_workers}\n  store   {url}"
    )


def root_url(settings: Settings) -> str:
    """Where the gateway is reached from this machine."""
    return _root(settings.host, settings.port)


def _root(host: str, port: int) -> str:
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  read, not bound
    return f"http://{reached}:{port}"


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
