"""`pacer up`, the real thing: a store, a gateway, a worker with the embedded model; a killed worker; a clean end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from conftest import wait_until
from safetensors.numpy import save_file

from pacer.models import CARD_NAME, load


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command of every living process, by its id."""
    command = ["ps", "-A", "-o", "pid=,ppid=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines() if "<defunct>" not in line]
    return {int(pid): (int(parent), args) for pid, parent, args in rows}


def children(parent: int) -> dict[int, str]:
    """Commands of a process's children, by process id."""
    return {pid: args for pid, (its_parent, args) in processes().items() if its_parent == parent}


@contextlib.contextmanager
def running(tmp_path: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    port, log = free_port(), tmp_path / "up.log"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PACER_")}
    env |= {"PACER_DATA_DIR": str(tmp_path / "data"), "PACER_WORKER_METRICS_PORT": "0", "PACER_LEASE_S": "2"}
    command = [sys.executable, "-m", "app.cli", "up", "--port", str(port)]
    with log.open("wb") as sink:
        system = subprocess.Popen(command, env={**env, **environment}, stdout=sink, stderr=sink, start_new_session=True)
    try:
        yield system, f"http://127.0.0.1:{port}", log
    finally:
        if system.poll() is None:
            system.terminate()
        system.wait(40)


def is_ready(client: httpx2.Client) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return client.get("/readyz").status_code == 200
    return False


@pytest.mark.live
def test_a_whole_system_starts_survives_its_parts_and_ends(tmp_path: Path) -> None:
    with running(tmp_path) as (system, url, log), httpx2.Client(base_url=url, timeout=60) as client:
        wait_until(lambda: is_ready(client) or system.poll() is not None, 90)
        wait_until(lambda: "pacer: ready" in log.read_text(), 10)
        assert f"{url}/docs" in log.read_text()
        assert f"{url}/metrics" in log.read_text()
        hasty = client.post("/v1/plan", json={"budget": {"steps": 50, "latency_ms": 1}})
        assert hasty.status_code == 422, "a worker knows its speed before it has drawn anything"
        assert "50 steps" in hasty.json()["detail"]
        image = client.post("/v1/images/generations", json={"prompt": "a red circle", "budget": {"steps": 2}})
        assert image.status_code == 200

        family = children(system.pid)
        worker = next(pid for pid, args in family.items() if "app.cli worker" in args)
        os.kill(worker, signal.SIGKILL)
        job = client.post("/v1/jobs", json={"prompt": "a red circle", "budget": {"steps": 2}}).headers["location"]
        wait_until(lambda: client.get(job).json()["status"] == "completed", 90)
        assert "the worker of shapes-64 ended with code -9" in log.read_text()

        family |= children(system.pid)
        gateway = next(pid for pid, args in family.items() if "app.cli gateway" in args)
        os.kill(gateway, signal.SIGKILL)
        wait_until(lambda: "the gateway ended with code -9; starting another in 0.5 s" in log.read_text(), 10)
        wait_until(lambda: is_ready(client) or system.poll() is not None, 60)
        assert client.get(job).json()["status"] == "completed"

        family |= children(system.pid)
        system.send_signal(signal.SIGINT)
        assert system.wait(40) == 0
        assert not family.keys() & processes().keys()
        assert log.read_text().rstrip().endswith("pacer: stopped")


@pytest.mark.live
def test_every_served_model_gets_a_worker_and_a_metrics_port(tmp_path: Path) -> None:
    other = folder_model(tmp_path / "other", "me/other")
    port = two_free_ports()
    given = {"PACER_MODELS": json.dumps(["shapes-64", str(other)]), "PACER_WORKER_METRICS_PORT": str(port)}
    with running(tmp_path, **given) as (system, url, log), httpx2.Client(base_url=url, timeout=60) as client:
        wait_until(lambda: "pacer: ready" in log.read_text() or system.poll() is not None, 120)
        assert client.get("/readyz").json()["workers"] == {"shapes-64": 1, "me/other": 1}
        for number, model in ((port, "shapes-64"), (port + 1, str(other))):
            assert f"http://127.0.0.1:{number}/metrics (worker of {model})" in log.read_text()
            assert httpx2.get(f"http://127.0.0.1:{number}/metrics").status_code == 200
        drawn = client.post(
            "/v1/images/generations", json={"prompt": "a red circle", "model": "me/other", "budget": {"steps": 2}}
        )
        assert (drawn.status_code, drawn.json()["pacer"]["model"]) == (200, "me/other")


@pytest.mark.live
def test_a_lora_of_the_folder_changes_the_picture(tmp_path: Path) -> None:
    layer = "transformer.transformer_blocks.0.attn.to_q"
    rng = np.random.default_rng(0)
    sides = {"A": rng.normal(size=(2, 128)), "B": rng.normal(size=(128, 2))}
    (tmp_path / "loras").mkdir()
    save_file(
        {f"{layer}.lora_{side}.weight": value.astype(np.float32) for side, value in sides.items()},
        tmp_path / "loras" / "ink.safetensors",
    )
    fields = {"prompt": "a red circle", "budget": {"steps": 2}, "seed": 1}
    with (
        running(tmp_path, PACER_LORA_DIR=str(tmp_path / "loras")) as (system, url, log),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        wait_until(lambda: "pacer: ready" in log.read_text() or system.poll() is not None, 120)
        asked = [fields, fields | {"lora": "ink"}, fields]
        answers = [client.post("/v1/images/generations", json=body | {"output_format": "webp"}) for body in asked]
        assert [answer.status_code for answer in answers] == [200] * 3, log.read_text()
        plain, inked, again = (answer.json()["data"][0]["b64_json"] for answer in answers)
        assert plain == again != inked


def folder_model(folder: Path, model_id: str) -> Path:
    """The shipped model once more, as a local folder with another id."""
    folder.mkdir()
    for part in (Path(__file__).parents[2] / "workers" / "shapes" / "model").iterdir():
        (folder / part.name).symlink_to(part)
    (folder / CARD_NAME).write_text(load("shapes-64").model_copy(update={"id": model_id}).model_dump_json())
    return folder


def two_free_ports() -> int:
    """The first of two neighbouring ports that nobody listens on."""
    while True:
        first = free_port()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", first + 1)):
            return first


@pytest.mark.parametrize("part", ["gateway", "worker", "up"])
def test_a_parent_that_died_while_its_child_was_loading_is_noticed(tmp_path: Path, part: str) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    given = {"PACER_DATA_DIR": str(tmp_path), "PACER_PORT": str(free_port()), "PACER_STOP_WITH_PARENT": str(gone.pid)}
    if part != "up":
        given["PACER_REDIS_URL"] = f"unix://{tmp_path}/none"
    command = [sys.executable, "-m", "app.cli", part]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PACER_")} | given
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == (0 if part == "up" else -signal.SIGTERM), ended.stderr


def test_a_port_that_is_taken_ends_the_system_with_the_reason(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "app.cli", "up", "--port", str(port)]
        env = {**os.environ, "PACER_DATA_DIR": str(tmp_path)}
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "address already in use" in ended.stderr
    assert "the gateway ended" in ended.stdout


def test_a_model_that_cannot_be_downloaded_ends_the_system_with_the_reason(tmp_path: Path) -> None:
    given = {"PACER_MODELS": '["me/mine"]', "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    with running(tmp_path, **given) as (system, _, log):
        assert system.wait(60) == 1
    told = log.read_text().splitlines()
    assert told[0] == "pacer: downloading me/mine; stop with Ctrl-C"
    assert "me/mine is not cached, and HF_HUB_OFFLINE forbids a download" in told[-2]
    assert told[-1] == "pacer: me/mine was not downloaded (code 2); the lines above say why"


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["gateway"], {}, "PACER_REDIS_URL"),
        (["gateway"], {"PACER_PORT": "x"}, "PACER_PORT"),
        (["gateway"], {"PACER_REDIS_URL": "unix:///x", "PACER_MODELS": '["none"]'}, "shipped: shapes-64"),
        (["gateway"], {"PACER_REDIS_URL": "unix:///x", "PACER_STOP_WITH_PARENT": "yes"}, "process id, is 'yes'"),
        (["worker"], {"PACER_REDIS_URL": "unix:///x", "PACER_STOP_WITH_PARENT": "yes"}, "process id, is 'yes'"),
        (["gateway"], {"PACER_QUALITY_STEPS": '{"low":4}'}, "PACER_QUALITY_STEPS: must say low, medium and high"),
        (["up"], {"PACER_MAX_STEPS": "9"}, "pacer: PACER_DEFAULT_STEPS: must be at most PACER_MAX_STEPS (9), is 10"),
        (["up"], {"PACER_MODELS": '["a", "b"]', "PACER_WORKER_METRICS_PORT": "65535"}, "at most 65534"),
        (["plan", "--steps", "1000"], {}, "1 to 100"),
        (["plan", "--model", "sd3"], {}, "served: shapes-64"),
        (["plan", "--sigmas", "1,0.5"], {}, "end in 0"),
        (["plan", "--sigmas", "1,a"], {}, "--sigmas: must be numbers with commas between them, as in 1,0.5,0; not 'a'"),
        (["plan", "--sigmas", "1,,0"], {}, "as in 1,0.5,0; not ''"),
        (["plan", "--sigmas", "1,nan,0"], {}, "must be finite"),
        (["plan", "--guidance-scale", "-3"], {}, "guidance_scale: must lie in 1 to 10"),
        (["plan", "--guidance-scale", "nan"], {}, "guidance_scale: must lie in 1 to 10"),
    ],
)
def test_what_is_wrong_ends_a_command_with_one_line(
    arguments: list[str], environment: dict[str, str], said: str
) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PACER_")} | environment
    command = [sys.executable, "-m", "app.cli", *arguments]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("pacer: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_plan_is_printed_for_people_and_for_programs() -> None:
    def ask(*arguments: str) -> str:
        command = [sys.executable, "-m", "app.cli", "plan", "--steps", "4", "--schedule", "uniform", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "evaluations  8" in ask()
    assert '"sigmas": [' in ask("--json")
