"""Budgets under load: fixed steps against requests that leave their steps open, on the same server.

    python -m benchmarks.budget [--loads 0.5,1,1.5,2,3] [--seconds 30] [--judged 400] [--json FILE]

docs/benchmarks.md tells what is compared and how to read it.
"""

from __future__ import annotations

import argparse
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.budget.report import draw_picture, print_report
from benchmarks.budget.sweep import Sweep, Wanted
from benchmarks.common import loads_option
from benchmarks.serving.process import ROOT, ServerError
from benchmarks.serving.provenance import commit, hardware


def main() -> int:
    """Measure, print, draw; returns the exit code."""
    asked = _arguments().parse_args()
    console = Console()
    # SIGTERM unwinds like Ctrl-C, so that no server is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    meta = {
        "what": "open-loop Poisson arrivals; goodput is pictures a second in time that reach their floor",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "hardware": hardware(),
        "threads": asked.threads,
        "seconds": asked.seconds,
        "seed": asked.seed,
    }
    wanted = Wanted(
        asked.loads, asked.seconds, asked.seed, asked.judged, asked.others, asked.threads, asked.json
    )  # fmt: skip
    try:
        results = Sweep(wanted, meta, console).run()
    except (ServerError, ValueError) as error:
        console.print(f"[bold red]{error}[/]", soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print(f"stopped; the rows so far are in {asked.json}")
        return 130
    print_report(results, console)
    draw_picture(results, asked.json.with_suffix(".svg"))
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budget", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--loads", type=loads_option, default="0.5,1,1.5,2,3",
                        help="in what the server draws of fixed steps a second")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--judged", type=_count, default=400, help="wishes with a floor whose pictures, at every load, "
                        "are compared with the teacher's of 100 steps: about a second each")  # fmt: skip
    parser.add_argument("--others", type=_count, default=48, help="the same of wishes without a floor")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/budget.json")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, is {count}")
    return count


if __name__ == "__main__":
    raise SystemExit(main())
