"""How each server is started, and how it is asked for a picture."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from benchmarks.serving.figures import State
from benchmarks.serving.process import ROOT
from benchmarks.serving.trace import Arrival

ServerName = Literal["fastapi", "litserve", "ray-serve", "server-async", "pacer", "pacer-learned"]
Body = dict[str, object]

STOCK_SCHEDULE: Mapping[str, str] = MappingProxyType({"schedule": "stock", "solver": "euler"})
"""What makes Pacer do the stock pipeline's own steps, and so draw its very pictures."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is equal for all servers.

    Attributes:
        model: name of a shipped model, or a folder.
        threads: of torch, in each server.
        device: cpu or cuda.
        guidance_scale: of every request; the model's own.
        batch: most requests of a batch, where a server has batches of requests.
        peers_python: the interpreter that has the peers' packages.
    """

    model: str
    threads: int
    device: str
    guidance_scale: float
    batch: int
    peers_python: str


@dataclass(frozen=True, slots=True)
class Server:
    """One kind of server.

    Attributes:
        name: in tables and results.
        route: where pictures are asked for.
        command: from the machine and a port.
        body: of a request, from its arrival, the machine and its deadline in seconds or None.
        picture: the file in a good answer.
        package: that it needs beside the project's own; None for none.
        peer: whether it is one that Pacer is compared with.
    """

    name: ServerName
    route: str
    command: Callable[[Machine, int], list[str]]
    body: Callable[[Arrival, Machine, float | None], Body]
    picture: Callable[[bytes], bytes]
    package: str | None = None
    peer: bool = True


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server with its policy, where it has one."""

    server: Server
    policy: str | None = None

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.server.name if self.policy is None else f"{self.server.name} ({self.policy})"


def _peer_command(module: str) -> Callable[[Machine, int], list[str]]:
    def command(machine: Machine, port: int) -> list[str]:
        options = {
            "--model": machine.model,
            "--port": port,
            "--threads": machine.threads,
            "--device": machine.device,
            "--batch": machine.batch,
        }
        said = [str(part) for option in options.items() for part in option]
        return [machine.peers_python, "-m", f"benchmarks.serving.peers.{module}", *said]

    return command


def _peer_body(arrival: Arrival, machine: Machine, deadline_s: float | None) -> Body:  # noqa: ARG001 -- peers know none
    return {
        "prompt": arrival.prompt,
        "num_inference_steps": arrival.steps,
        "guidance_scale": machine.guidance_scale,
        "seed": arrival.seed,
    }


def _pacer_command(machine: Machine, port: int) -> list[str]:  # noqa: ARG001 -- its settings are in the environment
    return [sys.executable, "-m", "app.cli", "up", "--host", "127.0.0.1", "--port", str(port)]


def _pacer_body(schedule: Mapping[str, str]) -> Callable[[Arrival, Machine, float | None], Body]:
    def body(arrival: Arrival, machine: Machine, deadline_s: float | None) -> Body:
        budget = {"steps": arrival.steps}
        if deadline_s is not None:
            budget["latency_ms"] = round(1000 * deadline_s)
        return {
            "prompt": arrival.prompt,
            "seed": arrival.seed,
            "guidance_scale": machine.guidance_scale,
            "budget": budget,
            **schedule,
        }

    return body


def _pacer_picture(content: bytes) -> bytes:
    answer: dict[str, Any] = json.loads(content)
    return base64.b64decode(answer["data"][0]["b64_json"])


def _same(content: bytes) -> bytes:
    return content


_GENERATIONS = "/v1/images/generations"

SERVERS: Mapping[ServerName, Server] = MappingProxyType(
    {
        server.name: server
        for server in (
            Server("fastapi", "/generate", _peer_command("fastapi_one"), _peer_body, _same),
            Server("litserve", "/predict", _peer_command("litserve_batch"), _peer_body, _same, "litserve"),
            Server("ray-serve", "/", _peer_command("ray_batch"), _peer_body, _same, "ray"),
            Server("server-async", "/api/diffusers/inference", _peer_command("server_async"), _peer_body, _same),
            Server("pacer", _GENERATIONS, _pacer_command, _pacer_body(STOCK_SCHEDULE), _pacer_picture, peer=False),
            Server("pacer-learned", _GENERATIONS, _pacer_command, _pacer_body({}), _pacer_picture, peer=False),
        )
    }
)


def environment(machine: Machine, policy: str | None) -> dict[str, str]:
    """What a server finds in its environment; equal for all but for the policy."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PACER_")}
    path = [str(ROOT), *filter(None, [own.get("PYTHONPATH")])]
    own |= {
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": str(machine.threads),
        # Pacer's worker sets this for itself; the peers shall have it too.
        "GOMP_SPINCOUNT": "10000",
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PACER_MODELS": f'["{machine.model}"]',
        "PACER_TORCH_THREADS": str(machine.threads),
        "PACER_DEVICE": machine.device,
        "PACER_WORKER_METRICS_PORT": "0",
        "PACER_LOG_LEVEL": "warning",
        # Also when this process is killed and cannot clean up.
        "PACER_STOP_WITH_PARENT": str(os.getpid()),
    }
    return own if policy is None else own | {"PACER_POLICY": policy}


def missing(server: Server, machine: Machine) -> str | None:
    """Why a server cannot be started here; None where it can."""
    if server.package is None:
        return None
    command = [machine.peers_python, "-c", f"import {server.package}"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return None
    why = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
    return f"{server.package} cannot be imported by {machine.peers_python}: {why}"


def state_of(status: int) -> State:
    """What an HTTP status means for a request."""
    if status == 200:
        return "drawn"
    if status in (422, 429, 503):
        return "refused"
    return "expired" if status == 504 else "failed"
