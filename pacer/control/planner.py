"""From what a caller can spend to what will be run: which schedule, how many evaluations, what to expect for it.

Pure functions over numbers: the registry and the measured speed come in, a plan and its table go out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pacer.control.evaluations import check_evaluations, check_spent, most_steps, refused, too_few
from pacer.control.nearest import entry_near, nearest
from pacer.control.own_sigmas import check_sigmas
from pacer.control.turns import TurnCost
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Plan, WorkerSpeed
from pacer.models import ModelCard
from schedules.artefact import Entry, Schedule, solver_of
from schedules.compile import SOLVERS, compile_table
from schedules.grid_names import find_grid, grid_names
from schedules.registry import Registry, ScheduleNotFound, entry_table
from schedules.table import FloatArray, Table

CUSTOM = "custom"
"""The schedule name of a plan that was made from the caller's own sigmas."""

_ALLOWING = "allow_other_model runs it all the same, with no promise of quality"

_BEYOND = "allow_interpolated runs it all the same, with no promise of quality"

_DIGITS = 6  # of a number of steps that is worth reading

Quality = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRequest:
    """What a caller asks for, as far as planning goes.

    Attributes:
        card: the model's card.
        guidance_scale: in the card's guidance_range; 1 means unguided.
        width: pixels.
        height: pixels.
        steps: the step budget; None leaves it to evaluations, sigmas, schedule or the default.
        evaluations: the most network evaluations for one image, a guided step counting two; None sets no bound.
        schedule: a registry id 'model/solver/steps' or 'model/solver@variant/steps', or the name of a grid; None takes
            the best there is.
        solver: a solver's name, any variant; None takes the schedule's own, or the model's.
        sigmas: the caller's own noise levels, steps + 1 of them.
        allow_interpolated: take a searched schedule for a guidance scale, a size or a budget that it was not shown to
            hold for; nothing is then known of its quality.
        allow_other_model: run the schedule named by its id even where it was optimised on another model, or on other
            weights of this one; nothing is then known of its quality.
    """

    card: ModelCard
    guidance_scale: float
    width: int
    height: int
    steps: int | None = None
    evaluations: int | None = None
    schedule: str | None = None
    solver: str | None = None
    sigmas: tuple[float, ...] | None = None
    allow_other_model: bool = False
    allow_interpolated: bool = False


@dataclass(frozen=True, slots=True)
class _Choice:
    name: str
    solver: str
    sigmas: tuple[float, ...]
    table: Table
    quality: Quality | None = None
    other_model: bool = False
    interpolated: bool = False


def plan(
    request: BudgetRequest,
    registry: Registry,
    speed: WorkerSpeed | None,
    *,
    default_steps: int = 10,
    max_steps: int = 100,
) -> tuple[Plan, Table]:
    """Decide what to run for a request.

    Args:
        request: what the caller can spend.
        registry: the schedules at hand.
        speed: what workers measured, in seconds; None before they have.
        default_steps: the budget of a request that names none; a distilled model has its own.
        max_steps: the largest budget allowed.

    Raises:
        PacerError: invalid_request, schedule_not_found or schedule_mismatch, naming the field and what is allowed.
    """
    _check_guidance(request.guidance_scale, request.card)
    _check_steps(request.steps, max_steps, field="steps")
    check_evaluations(request.evaluations)
    choice = _choose(request, registry, default_steps, max_steps)
    evaluations = choice.table.network_evaluations(request.guidance_scale)
    what = f"{len(choice.sigmas) - 1} steps of schedule {choice.name!r} under solver {choice.solver!r}"
    check_spent(evaluations, request.evaluations, what=what, guidance_scale=request.guidance_scale)
    made = Plan(
        model=request.card.id,
        schedule=choice.name,
        solver=choice.solver,
        steps=len(choice.sigmas) - 1,
        evaluations=evaluations,
        sigmas=choice.sigmas,
        predicted_seconds=None
        if speed is None
        else predict_seconds(choice.table.evaluations_count, evaluations, speed),
        predicted_quality_db=choice.quality,
        other_model=choice.other_model,
        interpolated=choice.interpolated,
    )
    return made, choice.table


def predict_seconds(turns: int, rows: int, speed: WorkerSpeed) -> float:
    """Service seconds of one image that waits for nobody: so many network calls with so many rows together."""
    denoise = TurnCost(speed.turn_seconds, speed.row_seconds).seconds(turns, rows)
    return speed.encode_seconds + denoise + speed.decode_seconds


def _choose(request: BudgetRequest, registry: Registry, default_steps: int, max_steps: int) -> _Choice:
    if request.sigmas is not None:
        return _custom(request, request.sigmas, max_steps)
    if request.schedule is not None and "/" in request.schedule:
        return _registered(request, request.schedule, registry, max_steps)
    if request.evaluations is not None and request.steps is None:
        return _spend(request, request.evaluations, registry, max_steps)
    steps = request.steps or _default(request.card, default_steps, max_steps)
    if request.schedule is not None:
        return _grid(request, request.schedule, steps)
    if request.card.distilled:
        return _grid(request, request.card.grid, steps)
    best = _best(request, steps, registry)
    if best is None and request.allow_interpolated:
        best = _nearest(request, steps, registry)
    return best or _grid(request, request.card.grid, steps)


def _spend(request: BudgetRequest, evaluations: int, registry: Registry, max_steps: int) -> _Choice:
    """The best that a number of network evaluations buys, whatever its steps."""
    card = request.card
    if request.schedule is not None:
        return _grid(request, request.schedule, _affordable(request, evaluations, max_steps))
    if card.distilled:
        native = min(max_steps, card.distilled.native_steps)
        return _grid(request, card.grid, _affordable(request, evaluations, native))
    ranked = registry.ranked(card.id, guidance_scale=request.guidance_scale)
    suiting = (each for each in ranked if each[1].steps <= max_steps and _suits(request, *each))
    first = next(suiting, None)
    if first is not None and first[1].evidence is not None:
        return _from_entry(*first)
    # Of entries that nobody measured, the one with most steps, unless the grid has more for the same.
    longest = None if first is None else max((first, *suiting), key=lambda each: each[1].steps)
    steps, has_grids = _grid_steps(request, evaluations, max_steps), request.solver in (None, *SOLVERS)
    if longest is not None and (longest[1].steps >= steps or not has_grids):
        return _from_entry(*longest)
    near = _nearest(request, max(1, steps), registry) if request.allow_interpolated else None
    if near is None and not has_grids:
        _check_reachable(request, evaluations, registry, max_steps)
    return near or _grid(request, card.grid, _affordable(request, evaluations, max_steps))


def _check_reachable(request: BudgetRequest, evaluations: int, registry: Registry, max_steps: int) -> None:
    """Refuse fewer evaluations than any schedule takes of a solver that has nothing but searched ones."""
    free = replace(request, evaluations=None)
    held = (each for each in registry.ranked(request.card.id) if each[1].steps <= max_steps and _suits(free, *each))
    taken = [schedule.network_evaluations(entry, request.guidance_scale) for schedule, entry in held]
    if taken:
        raise refused(f"{evaluations} buys nothing: schedules of solver {request.solver!r} take {min(taken)} or more")


def _grid_steps(request: BudgetRequest, evaluations: int, most: int) -> int:
    """The steps of a grid that a number of network evaluations buys, 0 where not even one.

    Under the model's own solver where the one wanted has no grids.
    """
    wanted = request.solver
    solver = request.card.solver if wanted is None or wanted not in SOLVERS else wanted
    return min(most, most_steps(solver, evaluations, request.guidance_scale))


def _affordable(request: BudgetRequest, evaluations: int, most: int) -> int:
    """The steps of a grid that a number of network evaluations buys, one at the least."""
    solver = _solver(request)
    steps = _grid_steps(request, evaluations, most)
    if steps < 1:
        raise too_few(solver, evaluations, request.guidance_scale)
    return steps


def _default(card: ModelCard, default_steps: int, max_steps: int) -> int:
    """The budget of a request that names none; a card's own may be more than is allowed here."""
    steps = card.default_steps(default_steps)
    if steps > max_steps:
        raise _invalid("steps", f"the default of {card.id} is {steps}; name a budget, in 1 to {max_steps}")
    return steps


def _custom(request: BudgetRequest, sigmas: tuple[float, ...], max_steps: int) -> _Choice:
    if request.schedule is not None:
        raise _invalid("sigmas", "sigmas and schedule are two answers to one question; give one of them")
    check_sigmas(sigmas, request.card, max_steps)
    if request.steps is not None and request.steps != len(sigmas) - 1:
        raise _invalid("sigmas", f"{request.steps} steps need {request.steps + 1} sigmas, there are {len(sigmas)}")
    solver = _solver(request)
    return _Choice(CUSTOM, solver, sigmas, _compile(request, solver, np.array(sigmas), field="sigmas"))


def _registered(request: BudgetRequest, name: str, registry: Registry, max_steps: int) -> _Choice:
    _check_belongs(request, name)
    schedule, entry = _find(request, name, registry, max_steps)
    if request.steps is not None and request.steps != entry.steps:
        raise _invalid("schedule", f"schedule {name!r} has {entry.steps} steps, the budget says {request.steps}")
    _check_steps(entry.steps, max_steps, field="schedule")
    foreign = schedule.model != request.card.id or not _same_weights(schedule, request.card)
    _check_fits(request, name, schedule, foreign=foreign)
    choice = _from_entry(schedule, entry)
    beyond = schedule.entry(entry.steps) is None or not _covers(schedule, request)
    # What was measured on another model, or elsewhere, says nothing of this.
    quality = None if foreign or beyond else choice.quality
    return replace(choice, quality=quality, other_model=foreign, interpolated=beyond)


def _find(request: BudgetRequest, name: str, registry: Registry, max_steps: int) -> tuple[Schedule, Entry]:
    """A schedule by its id; where the caller allows it, one between the budgets that were searched."""
    try:
        return registry.find(name)
    except ScheduleNotFound as error:
        model, solver, steps = name.rsplit("/", 2)
        family = next((each for each in registry.schedules(model) if each.solver_id == solver), None)
        if request.allow_interpolated and family and steps.isascii() and steps.isdecimal() and len(steps) <= _DIGITS:
            _check_steps(int(steps), max_steps, field="schedule")
            entry = entry_near(family, int(steps))
            if entry is not None:
                return family, entry
        raise PacerError(ErrorKind.schedule_not_found, str(error), field="schedule") from error


def _check_fits(request: BudgetRequest, name: str, schedule: Schedule, *, foreign: bool) -> None:
    """Refuse a schedule that this model cannot run, or not without the caller's leave, or that is not for this use."""
    card = request.card
    if not schedule.servable:
        raise _mismatch(f"schedule {name!r} can only be run by `pacer schedules bench`, not served")
    if schedule.prediction != card.prediction:
        raise _mismatch(
            f"schedule {name!r} is for {schedule.prediction} models, {card.id!r} is one of {card.prediction}"
        )
    if schedule.noise != card.noise:
        raise _mismatch(f"schedule {name!r} is for models trained on other noise than {card.id!r} was")
    if foreign and not request.allow_other_model:
        raise _mismatch(f"schedule {name!r} was optimised on other weights of {card.id!r}; {_ALLOWING}")
    if not (_covers(schedule, request) or request.allow_interpolated):
        where = _where_it_holds(schedule)
        raise _mismatch(f"schedule {name!r} was shown to hold for {where}, not for this request; {_BEYOND}")


def _check_belongs(request: BudgetRequest, name: str) -> None:
    """Refuse, by name, the schedule of another solver, and of another model unless the caller allows that."""
    parts = name.rsplit("/", 2)
    if len(parts) < 3 or not all(parts):
        raise _invalid("schedule", f"{name[:120]!r} is not a schedule id; an id is model/solver/steps")
    model, solver, _ = parts
    if model != request.card.id and not request.allow_other_model:
        said = f"schedule {name[:120]!r} was optimised for model {model[:80]!r}, not for {request.card.id!r}"
        raise _mismatch(f"{said}; {_ALLOWING}")
    if request.solver not in (None, solver_of(solver)):
        raise _mismatch(f"schedule {name[:120]!r} was optimised for solver {solver!r}, not for {request.solver!r}")


def _best(request: BudgetRequest, steps: int, registry: Registry) -> _Choice | None:
    """The registry's best entry of this many steps that holds for the request, if there is one.

    A solver that takes two evaluations for a step, such as Heun's, spends twice the budget: it must be asked for.
    """
    for schedule, entry in registry.candidates(request.card.id, steps, guidance_scale=request.guidance_scale):
        if _suits(request, schedule, entry):
            choice = _from_entry(schedule, entry)
            if request.solver is not None or choice.table.evaluations_count <= steps:
                return choice
    return None


def _nearest(request: BudgetRequest, steps: int, registry: Registry) -> _Choice | None:
    """What comes nearest to a schedule for this budget, guidance and size among those for these very weights."""
    known = [
        schedule
        for schedule in registry.schedules(request.card.id)
        if request.solver in (None, schedule.solver) and _same_weights(schedule, request.card)
    ]
    found = nearest(
        known,
        steps,
        covers=lambda schedule: _covers(schedule, request),
        fits=lambda schedule, entry: _fits(request, schedule, entry),
    )
    return None if found is None else replace(_from_entry(*found), quality=None, interpolated=True)


def _from_entry(schedule: Schedule, entry: Entry) -> _Choice:
    figure = None if entry.evidence is None else entry.evidence.psnr_db
    quality = None if figure is None else (figure.mean, figure.low, figure.high)
    name, table = schedule.entry_id(entry.steps), entry_table(schedule, entry)
    return _Choice(name, schedule.solver, entry.sigmas, table, quality)


def _grid(request: BudgetRequest, name: str, steps: int) -> _Choice:
    """A textbook grid by its name: no evidence, hence no predicted quality."""
    noise = request.card.noise_schedule
    grid = find_grid(name, noise)
    if grid is None:
        allowed = f"an id model/solver/steps, or one of the grids {', '.join(grid_names(noise))}"
        raise PacerError(ErrorKind.schedule_not_found, f"no schedule {name[:120]!r}; give {allowed}", field="schedule")
    solver = _solver(request)
    sigmas = grid(steps)
    return _Choice(name, solver, tuple(sigmas.tolist()), _compile(request, solver, sigmas, field="schedule"))


def _compile(request: BudgetRequest, solver: str, sigmas: FloatArray, *, field: str) -> Table:
    try:
        # Sigmas that almost touch overflow in the higher orders; the table then says so.
        with np.errstate(all="ignore"):
            return compile_table(solver, sigmas, request.card.prediction, request.card.noise_schedule)
    except ValueError as error:
        raise _invalid(field, f"solver {solver!r} cannot run these sigmas: {error}") from error


def _same_weights(schedule: Schedule, card: ModelCard) -> bool:
    """Whether the schedule is for these very weights; a card without their hash vouches for any."""
    return card.weights_sha256 in (None, schedule.weights_sha256)


def _suits(request: BudgetRequest, schedule: Schedule, entry: Entry) -> bool:
    """Whether an entry is of the solver wanted, holds for the request and is within its evaluations."""
    wanted = request.solver in (None, schedule.solver) and _fits(request, schedule, entry)
    return wanted and _same_weights(schedule, request.card) and _covers(schedule, request)


def _fits(request: BudgetRequest, schedule: Schedule, entry: Entry) -> bool:
    most = request.evaluations
    return most is None or schedule.network_evaluations(entry, request.guidance_scale) <= most


def _covers(schedule: Schedule, request: BudgetRequest) -> bool:
    """Whether the schedule was shown to hold at this size and guidance."""
    return schedule.valid_for.covers(width=request.width, height=request.height, guidance_scale=request.guidance_scale)


def _where_it_holds(schedule: Schedule) -> str:
    valid = schedule.valid_for
    (w0, w1), (h0, h1), (g0, g1) = valid.width, valid.height, valid.guidance_scale
    return f"width {w0} to {w1}, height {h0} to {h1}, guidance_scale {g0:g} to {g1:g}"


def _solver(request: BudgetRequest) -> str:
    """The compiler for sigmas that come without one."""
    solver = request.solver or request.card.solver
    if solver not in SOLVERS:
        raise _invalid("solver", f"no solver {solver[:80]!r}; choose one of {', '.join(SOLVERS)}")
    return solver


def _check_guidance(scale: float, card: ModelCard) -> None:
    least, most = card.guidance_range
    if not least <= scale <= most:
        raise _invalid("guidance_scale", f"must lie in {least:g} to {most:g} for {card.id}, is {scale:g}")


def _check_steps(steps: int | None, max_steps: int, *, field: str) -> None:
    if steps is not None and not 1 <= steps <= max_steps:
        raise _invalid(field, f"steps must lie in 1 to {max_steps}, is {steps}")


def _invalid(field: str, detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)


def _mismatch(detail: str) -> PacerError:
    return PacerError(ErrorKind.schedule_mismatch, detail, field="schedule")
