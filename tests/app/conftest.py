from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import redis
import uvicorn

sys.path.insert(0, str(Path(__file__).parent))

from stand_in_worker import StandInWorker

from app import logs
from app.main import create_app
from app.serve import KEEP_ALIVE_S
from pacer.embedded_store import EmbeddedStore
from pacer.jobs.connection import connect
from pacer.models import CARD_NAME, load
from pacer.settings import Settings
from schedules.artefact import Entry, Evidence, Figure, Kept, Provenance, Schedule, ValidFor, write
from schedules.compile import SOLVERS
from schedules.registry import artefact_path

Generate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedStore(tmp_path_factory.mktemp("gateway-store"), fsync="no") as store:
        yield store.url


@pytest.fixture(scope="session")
def settings(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a gateway with a registry of the tests' own, beside a model that nobody serves."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "alone").mkdir()
    (folder / "alone" / CARD_NAME).write_text(
        load("shapes-64").model_copy(update={"id": "alone/model"}).model_dump_json()
    )
    for solver, entries in {"euler": {4: 90.0, 6: 94.0}, "ab2": {6: 97.0}}.items():
        write(schedule_of(solver, entries), artefact_path(folder / "registry", "shapes-64", solver))
    write(thrifty({6: 92.0}), artefact_path(folder / "registry", "shapes-64", "ab2", "thrifty"))
    foreign = schedule_of("euler", {3: 80.0}).model_copy(update={"model": "elsewhere"})
    write(foreign, artefact_path(folder / "registry", "elsewhere", "euler"))
    return Settings(
        redis_url=store_url,
        max_body_bytes=20_000,
        max_prompt_chars=200,
        lease_s=3.0,
        registry_dir=folder / "registry",
        log_level="debug",
    )


def schedule_of(solver: str, psnr_by_steps: dict[int, float]) -> Schedule:
    return Schedule(
        format="pacer-schedule/1",
        model="shapes-64",
        revision=None,
        weights_sha256=load("shapes-64").weights_sha256 or "0" * 64,
        dtype="float32",
        quantization=None,
        prediction="flow",
        solver=solver,
        order=SOLVERS[solver],
        valid_for=ValidFor(width=(64, 64), height=(64, 64), guidance_scale=(1.0, 3.0)),
        provenance=Provenance(
            method="test", teacher_steps=50, calibration_seeds=1, calibration_seed_offset=0, prompts_sha256="0" * 64,
            date="2026-01-01", code_version="0",
        ),
        entries=tuple(entry_of(steps, psnr) for steps, psnr in psnr_by_steps.items()),
    )  # fmt: skip


def thrifty(psnr_by_steps: dict[int, float]) -> Schedule:
    """A variant that evaluates the unconditional output once."""
    whole = schedule_of("ab2", psnr_by_steps).with_tables()
    tables = [entry.table for entry in whole.entries if entry.table is not None]
    placed = [table.model_copy(update={"uncond": ("fresh", *("reused",) * (len(table.t) - 1))}) for table in tables]
    entries = (entry.model_copy(update={"table": table}) for entry, table in zip(whole.entries, placed, strict=True))
    return whole.model_copy(update={"variant": "thrifty", "entries": tuple(entries)})


def entry_of(steps: int, psnr: float) -> Entry:
    figure, mse = Figure(mean=psnr, low=psnr - 1, high=psnr + 1), Figure(mean=0.1, low=0.1, high=0.1)
    kept = (Kept(by=0.98, least=psnr - 1),)
    evidence = Evidence(psnr_db=figure, kept_psnr_db=kept, latent_mse=mse, seeds=8, seed_offset=100, teacher_steps=50)
    return Entry(steps=steps, sigmas=tuple((np.linspace(1, 0, steps + 1) ** 1.5).tolist()), evidence=evidence)


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A gateway under uvicorn on a real port, in a thread; gives its root URL."""
    # With the protocol named, asyncio switches off Nagle's algorithm, as it does for addresses that it binds itself.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(settings), log_config=None, access_log=False, timeout_graceful_shutdown=1,
            timeout_keep_alive=KEEP_ALIVE_S,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="gateway")
        thread.start()
        wait_until(lambda: server.started, 10)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session", autouse=True)
def _quiet(settings: Settings) -> None:
    logs.configure(settings)


@pytest.fixture(scope="session")
def gateway(settings: Settings) -> Iterator[str]:
    """The root URL of a gateway."""
    with serving(settings) as url:
        yield url


@pytest.fixture(scope="session")
def worker(settings: Settings) -> Iterator[StandInWorker]:
    with StandInWorker(settings) as worker:
        yield worker


# One for all tests: making a client reads the machine's certificates, which takes longer than most tests.
@pytest.fixture(scope="session")
def client(gateway: str, worker: StandInWorker) -> Iterator[httpx2.Client]:
    """A client of a gateway that has a worker."""
    with httpx2.Client(base_url=gateway, timeout=20) as client:
        yield client


@pytest.fixture
def generate(client: httpx2.Client) -> Generate:
    """Draws as OpenAI's route does, and gives the answer's body."""

    def ask(**fields: Any) -> dict[str, Any]:
        answer = client.post("/v1/images/generations", json={"prompt": "a red circle", **fields})
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    return ask


@pytest.fixture(scope="session")
def store(store_url: str) -> Iterator[redis.Redis]:
    with connect(store_url) as client:
        yield client


def queued_ids(store: redis.Redis) -> set[bytes]:
    """Jobs that wait or run, of whatever model."""
    found: set[bytes] = set()
    for kind in ("pending", "lease"):
        for key in store.scan_iter(f"{{q:*}}:{kind}"):
            found.update(store.zrange(key, 0, -1))
    return found


def known_jobs(store: redis.Redis) -> set[bytes]:
    """Every job that was ever taken in."""
    return set(store.scan_iter("{q:*}:job:*"))


def wait_until(true: Callable[[], object], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)
