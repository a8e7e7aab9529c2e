"""`pacer simulate`: how many workers a traffic needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from app.stages import Stages, named, read_stages
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.figures import Report
from pacer.control.simulation.poisson import poisson_trace, read_shares
from pacer.control.simulation.service import simulate_service
from pacer.control.simulation.trace_file import TraceError, read_trace, write_trace
from pacer.jobs.messages import WorkerSpeed
from pacer.models import ModelCard, choose, find, served
from pacer.settings import Settings
from schedules.registry import Registry

BUDGETS = "4:50,8:30,20:15,50:5"
"""The mix of a trace that is made, where none is said."""

_SETTINGS = (
    "policy", "slots", "aging_s", "queue_limit", "best_effort_slack_s", "beat_s", "default_steps", "max_steps",
    "degrade_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Where requests come from: a file, or a rate; what is None was not said."""

    arrivals: Path | None = None
    rate: float | None = None
    seconds: float | None = None
    seed: int | None = None
    budgets: str | None = None
    deadline_factor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What was simulated and what came of it; in JSON by the same names.

    Attributes:
        model: whose requests.
        requests: how many.
        speed: of each worker.
        settings: of the gateway and the workers, those that had a part in it.
        runs: one for each number of workers.
    """

    model: str
    requests: int
    speed: dict[str, float]
    settings: dict[str, float | str]
    runs: tuple[Report, ...]

    def write_json(self, path: Path) -> None:
        """Write the same to a file.

        Raises:
            ValueError: it cannot be written.
        """
        named(path, lambda path: path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8"))


def simulate(
    settings: Settings, traffic: Traffic, stages: Stages, *, model: str | None, workers: str, write: Path | None = None
) -> Simulation:
    """Run the traffic past each number of workers, and write it to a file if one is named.

    Raises:
        ValueError: an option or a file is wrong; the message names it.
        PacerError: the model is not served.
    """
    counts, registry = read_workers(workers), Registry.load(settings.registry_dir)
    trace, speed = _trace_and_speed(traffic, stages, model, settings, registry)
    if write is not None:
        named(write, lambda path: _write(path, trace))
    return Simulation(
        model=trace[0].request.card.id,
        requests=len(trace),
        speed=msgspec.structs.asdict(speed),
        settings={name: getattr(settings, name) for name in _SETTINGS},
        runs=tuple(Report.of(simulate_service(trace, registry, speed, count, settings)) for count in counts),
    )


def read_workers(text: str) -> tuple[int, ...]:
    """Numbers of workers, as in 1,2,4.

    Raises:
        ValueError: one of them is none.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise ValueError(f"--workers: must be whole numbers from 1 on with commas between them, not {text[:80]!r}")
    return tuple(int(part) for part in parts)


def read_factors(text: str) -> tuple[float, float]:
    """Least and most of the deadlines in service times, as in 1.5,5; one number is both.

    Raises:
        ValueError: it is neither.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in {1, 2}:
        raise ValueError(f"--deadline-factor: must be one number or two with a comma, as in 1.5,5; not {text[:80]!r}")
    return numbers[0], numbers[-1]


def _trace_and_speed(
    traffic: Traffic, stages: Stages, model: str | None, settings: Settings, registry: Registry
) -> tuple[tuple[Asked, ...], WorkerSpeed]:
    card = None if model is None else find(model, settings)
    if traffic.arrivals is None:
        card = card or choose(None, served(settings))
        speed = read_stages(stages, settings, card.id)
        return _made(traffic, card, settings, registry, speed), speed
    said = [name for name, value in asdict(traffic).items() if value is not None and name != "arrivals"]
    if said:
        raise ValueError(f"--arrivals says who comes when; leave out --{said[0].replace('_', '-')}")
    trace = named(traffic.arrivals, lambda path: _of_one_model(_read(path, settings), card))
    return trace, read_stages(stages, settings, trace[0].request.card.id)


def _made(
    traffic: Traffic, card: ModelCard, settings: Settings, registry: Registry, speed: WorkerSpeed
) -> tuple[Asked, ...]:
    if traffic.rate is None or traffic.seconds is None:
        raise ValueError("say who comes when: --arrivals with a file, or --rate and --seconds")
    trace = poisson_trace(
        card,
        read_shares(BUDGETS if traffic.budgets is None else traffic.budgets),
        per_s=traffic.rate,
        seconds=traffic.seconds,
        seed=traffic.seed or 0,
        factors=None if traffic.deadline_factor is None else read_factors(traffic.deadline_factor),
        registry=registry,
        speed=speed,
        max_steps=settings.max_steps,
    )
    if not trace:
        raise ValueError(f"--rate {traffic.rate:g} brings nobody in {traffic.seconds:g} s; let it last longer")
    return trace


def _read(path: Path, settings: Settings) -> tuple[Asked, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return read_trace(file, served(settings), settings.max_steps)


def _write(path: Path, trace: Sequence[Asked]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_trace(file, trace)


def _of_one_model(trace: Sequence[Asked], card: ModelCard | None) -> tuple[Asked, ...]:
    """A model's own requests; each model has its queue and its workers."""
    models = sorted({asked.request.card.id for asked in trace})
    if card is None and len(models) > 1:
        raise TraceError(f"it asks for {', '.join(models)}, each of which has its own workers; name one by --model")
    own = tuple(asked for asked in trace if card is None or asked.request.card.id == card.id)
    if not own:
        raise TraceError(f"it asks for {', '.join(models)}, never for the --model")
    return own
