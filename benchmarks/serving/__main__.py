"""Pacer and its peers under the same open-loop load.

    python -m benchmarks.serving [--servers fastapi,litserve,ray-serve,server-async,pacer] [--policies balanced,fifo]
        [--loads 0.3,0.5,0.7,0.9,1.1,1.5,2.0] [--seconds 45] [--peers-python PYTHON] [--resume]

docs/benchmarks.md tells what is compared and how to read it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console

from benchmarks.common import loads_option
from benchmarks.serving.process import ROOT, ServerError
from benchmarks.serving.provenance import commit, hardware, versions
from benchmarks.serving.report import draw_picture, print_report
from benchmarks.serving.results import Results, ResumeError, resumed
from benchmarks.serving.servers import SERVERS, Contestant, Machine, ServerName
from benchmarks.serving.sweep import DEADLINE, Sweep, Wanted
from benchmarks.serving.trace import MIX
from pacer.control.policies import PolicyName
from pacer.models import load as load_card
from pacer.settings import Settings

DEFAULT_POLICY: PolicyName = Settings.model_fields["policy"].default
_WIDTH = 120  # of what is printed into a file
_LOADS = "0.3,0.5,0.7,0.9,1.1,1.5,2.0"


def main() -> int:
    """Measure, print, draw; returns the exit code."""
    asked = _arguments().parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    # SIGTERM unwinds like Ctrl-C, so that no server is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        machine = _machine(asked)
        results = _results(asked, machine)
        Sweep(_wanted(asked), machine, results, console).run()
    except (ResumeError, ServerError, ValueError) as error:
        console.print(f"[bold red]{error}[/]", soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print(f"stopped; the rows so far are in {asked.json}, and --resume goes on from there")
        return 130
    print_report(results, console)
    draw_picture(results, asked.json.with_suffix(".svg"))
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--servers", type=_servers, default="fastapi,litserve,ray-serve,server-async,pacer",
                        help=f"of {', '.join(SERVERS)}")  # fmt: skip
    parser.add_argument(
        "--policies", type=_policies, default=DEFAULT_POLICY, help=f"of {', '.join(get_args(PolicyName))}"
    )
    parser.add_argument("--loads", type=loads_option, default=_LOADS, help="fractions of the stock pipeline's capacity")
    parser.add_argument("--seconds", type=float, default=45.0, help="of each load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--burst", type=int, default=64, help="requests at once for the throughput at saturation; 0: none"
    )
    parser.add_argument("--no-beyond", action="store_true", help="leave out the load beyond the best peer's peak")
    parser.add_argument("--no-deadlines", action="store_true", help="do not tell Pacer the deadlines")
    parser.add_argument("--solo-repeats", type=int, default=5, help="requests of each budget for the solo times")
    parser.add_argument("--model", default="shapes-64", help="a shipped model or a folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, in each server")
    parser.add_argument("--batch", type=int, default=8, help="most requests of a batch of LitServe and Ray Serve")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has LitServe and Ray")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/serving.json")
    parser.add_argument("--resume", action="store_true", help="keep the rows of the JSON where its meta is the same")
    return parser


def _servers(text: str) -> list[ServerName]:
    return cast("list[ServerName]", _names(text, list(SERVERS)))


def _policies(text: str) -> list[str]:
    return _names(text, list(get_args(PolicyName)))


def _names(text: str, known: list[str]) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: must be of {', '.join(known)}")
    return names


def _machine(asked: argparse.Namespace) -> Machine:
    if shutil.which(asked.peers_python) is None:
        raise ValueError(f"--peers-python: {asked.peers_python} is no program that can be run")
    card = load_card(asked.model)
    return Machine(
        model=asked.model,
        threads=asked.threads,
        device=asked.device,
        guidance_scale=card.guidance_scale,
        batch=asked.batch,
        peers_python=asked.peers_python,
    )


def _wanted(asked: argparse.Namespace) -> Wanted:
    contestants = [
        Contestant(SERVERS[name], policy)
        for name in asked.servers
        for policy in (asked.policies if not SERVERS[name].peer else [None])
    ]
    return Wanted(
        contestants=contestants,
        loads=asked.loads,
        seconds=asked.seconds,
        seed=asked.seed,
        burst=asked.burst,
        beyond=not asked.no_beyond,
        deadlines=not asked.no_deadlines,
        solo_repeats=asked.solo_repeats,
        policy=DEFAULT_POLICY if DEFAULT_POLICY in asked.policies else asked.policies[0],
    )


def _results(asked: argparse.Namespace, machine: Machine) -> Results:
    meta: dict[str, Any] = {
        "what": "open-loop Poisson arrivals; goodput is pictures in time a second",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "hardware": hardware(),
        "device": machine.device,
        "model": machine.model,
        "guidance_scale": machine.guidance_scale,
        "threads": machine.threads,
        "batch": machine.batch,
        "mix": {str(steps): share for steps, share in MIX.items()},
        "deadline_in_solo_times": DEADLINE,
        "deadlines_wanted": not asked.no_deadlines,
        "seconds": asked.seconds,
        "burst": asked.burst,
        "seed": asked.seed,
        "versions": {"pacer": versions(sys.executable), "peers": versions(machine.peers_python)},
    }
    return resumed(asked.json, meta) if asked.resume else Results(asked.json, meta)


if __name__ == "__main__":
    raise SystemExit(main())
