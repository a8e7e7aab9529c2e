"""Start one worker process: load the model, serve its metrics, draw until SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import warnings
from collections.abc import Callable

import structlog
from prometheus_client import start_http_server

from pacer.garbage import spare_what_lasts
from pacer.hub import hub_name
from pacer.jobs.connection import connect
from pacer.jobs.messages import JobState
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import Metrics, make_metrics
from pacer.parent import end_with_parent
from pacer.settings import Settings
from schedules.registry import Registry

_log = structlog.get_logger(__name__)


def main(settings: Settings, model: str) -> int:
    """Run one worker until SIGTERM or SIGINT.

    Args:
        settings: with the store's address.
        model: shipped name or local folder.

    Returns:
        The process's exit code. The process itself ends with 75 when its device is lost: start another.
    """
    end_with_parent()
    # Imported here, so that a wrong setting is told before torch has taken its seconds to load.
    _prepare_libraries()
    import torch

    from workers.device import EXIT_CODE, DeviceLostError
    from workers.heap import keep_freed_memory
    from workers.keeping import Keeping
    from workers.loras import Loras
    from workers.models import choose_device, choose_dtype, load
    from workers.worker import Worker

    if settings.redis_url is None:
        raise ValueError("PACER_REDIS_URL is not set; a worker needs the store's address (`pacer up` sets it)")
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    device = choose_device(settings.device)
    loaded = load(model, device, choose_dtype(settings.dtype), Keeping.of(settings), settings.cards_dir)
    keep_freed_memory(device)
    name = f"{socket.gethostname()}:{os.getpid()}"
    metrics = make_metrics("worker")
    queue = WorkerQueue(connect(settings.redis_url), settings, loaded.id, name, on_ended=_counter(metrics, loaded.id))
    loras = Loras(loaded.pipeline, loaded.id, settings.lora_dir, settings.loras_kept)
    registry = Registry.load(settings.registry_dir) if settings.replan else None
    worker = Worker(
        loaded.family, queue, settings, metrics, loaded.id, loras=loras, smaller=loaded.smaller, registry=registry
    )
    worker.warm_up(*loaded.card.default_size)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: worker.stop())
    _serve_metrics(settings, metrics)
    spare_what_lasts()
    _log.info("worker ready", worker=name, model=loaded.id, device=str(device))
    try:
        worker.run()
    except DeviceLostError:
        # At once: what libraries do at a process's end may hang, or end it another way, without their device.
        os._exit(EXIT_CODE)
    return 0


def _prepare_libraries() -> None:
    """Leave a worker's log to the worker, and idle cores to others; must run before the libraries are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several LoRAs are what is wanted
    # OpenMP's threads wait for each other in a busy loop of some milliseconds by default. Where anything else wants a
    # core, the gateway for one, each of a network call's many waits then lasts a time slice. A shorter loop is free.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def download(model: str) -> str:
    """Fetch what the hub's cache lacks of a model: `pacer download ...`; returns its folder.

    Raises:
        ValueError: the name is no hub id, or the download failed or is forbidden.
    """
    if hub_name(model) is None:
        raise ValueError(f"{model!r} is no hub id: owner/name, or owner/name@revision")
    end_with_parent()
    _prepare_libraries()
    from workers.model_folder import find_folder

    return str(find_folder(model))


def schedules(settings: Settings, arguments: list[str]) -> int:
    """Search, show and bench schedules: `pacer schedules ...`; returns the process's exit code.

    Raises:
        ValueError: an argument is wrong, or the model has no teacher to search with.
    """
    _prepare_libraries()
    from workers.lab.cli import main as run_lab

    return run_lab(settings, arguments)


def _serve_metrics(settings: Settings, metrics: Metrics) -> None:
    port = settings.worker_metrics_port
    if not port:
        return
    try:
        start_http_server(port, settings.host, metrics.registry)
    except OSError as error:
        advice = "give each worker of a machine a PACER_WORKER_METRICS_PORT of its own, or 0"
        raise ValueError(f"metrics cannot be served on {settings.host}:{port} ({error.strerror}); {advice}") from error


def _counter(metrics: Metrics, model: str) -> Callable[[JobState, int], None]:
    return lambda state, count: metrics.jobs.labels(model, state).inc(count)
