"""The schedule that a request names by its id."""

from __future__ import annotations

from dataclasses import replace

from pacer.control.budget_request import BudgetRequest, check_steps, invalid, mismatch
from pacer.control.choice import Choice, from_entry
from pacer.control.held import covers, same_weights, where_it_holds
from pacer.control.nearest import entry_near
from pacer.control.networks import lacking
from pacer.errors import ErrorKind, PacerError
from schedules.artefact import Entry, Schedule, solver_of
from schedules.registry import Registry, ScheduleNotFound

_ALLOWING = "allow_other_model runs it all the same, with no promise of quality"

_BEYOND = "allow_interpolated runs it all the same, with no promise of quality"

_DIGITS = 6  # of a number of steps that is worth reading


def by_id(request: BudgetRequest, name: str, registry: Registry, max_steps: int) -> Choice:
    """The schedule of an id, as far as it is for this request or the caller allows it all the same.

    Raises:
        PacerError: invalid_request, schedule_not_found or schedule_mismatch.
    """
    _check_belongs(request, name)
    schedule, entry = _find(request, name, registry, max_steps)
    if request.steps is not None and request.steps != entry.steps:
        raise invalid("schedule", f"schedule {name!r} has {entry.steps} steps, the budget says {request.steps}")
    check_steps(entry.steps, max_steps, field="schedule")
    card = request.card
    foreign = schedule.model != card.id or not same_weights(
        schedule, card.weights_sha256, card.quantization, card.dtype
    )
    _check_fits(request, name, schedule, foreign=foreign)
    choice = from_entry(schedule, entry)
    beyond = schedule.entry(entry.steps) is None or not covers(schedule, request)
    # What was measured on another model, or elsewhere, says nothing of this.
    evidence = None if foreign or beyond else schedule.evidence_at(choice.evidence, request.guidance_scale)
    return replace(choice, evidence=evidence, other_model=foreign, interpolated=beyond)


def _find(request: BudgetRequest, name: str, registry: Registry, max_steps: int) -> tuple[Schedule, Entry]:
    """A schedule by its id; where the caller allows it, one between the budgets that were searched."""
    try:
        return registry.find(name)
    except ScheduleNotFound as error:
        model, solver, steps = name.rsplit("/", 2)
        family = next((each for each in registry.schedules(model) if each.solver_id == solver), None)
        if request.allow_interpolated and family and steps.isascii() and steps.isdecimal() and len(steps) <= _DIGITS:
            check_steps(int(steps), max_steps, field="schedule")
            entry = entry_near(family, int(steps))
            if entry is not None:
                return family, entry
        raise PacerError(ErrorKind.schedule_not_found, str(error), field="schedule") from error


def _check_fits(request: BudgetRequest, name: str, schedule: Schedule, *, foreign: bool) -> None:
    """Refuse a schedule that this model cannot run, or not without the caller's leave, or that is not for this use."""
    card = request.card
    if not schedule.servable:
        raise mismatch(f"schedule {name!r} can only be run by `pacer schedules bench`, not served")
    if schedule.prediction != card.prediction:
        raise mismatch(
            f"schedule {name!r} is for {schedule.prediction} models, {card.id!r} is one of {card.prediction}"
        )
    if schedule.noise != card.noise:
        raise mismatch(f"schedule {name!r} is for models trained on other noise than {card.id!r} was")
    if foreign and not request.allow_other_model:
        raise mismatch(
            f"schedule {name!r} was optimised on other weights of {card.id!r}, or in another dtype; {_ALLOWING}"
        )
    if missing := lacking(schedule, card.networks):
        known = ", ".join(card.networks) or "none"
        raise mismatch(
            f"schedule {name!r} has rows for the smaller network {missing[0]!r}, which {card.id!r} has not, or with "
            f"other weights; its smaller networks: {known}"
        )
    if schedule.networks and request.lora:
        raise mismatch(f"schedule {name!r} has rows for a smaller network, which no LoRA fits; leave out lora")
    if not (covers(schedule, request) or request.allow_interpolated):
        where = where_it_holds(schedule) + (" and no true_cfg_scale" if request.true_cfg_scale != 1 else "")
        raise mismatch(f"schedule {name!r} was shown to hold for {where}, not for this request; {_BEYOND}")


def _check_belongs(request: BudgetRequest, name: str) -> None:
    """Refuse, by name, the schedule of another solver, and of another model unless the caller allows that."""
    parts = name.rsplit("/", 2)
    if len(parts) < 3 or not all(parts):
        raise invalid("schedule", f"{name[:120]!r} is not a schedule id; an id is model/solver/steps")
    model, solver, _ = parts
    if model != request.card.id and not request.allow_other_model:
        said = f"schedule {name[:120]!r} was optimised for model {model[:80]!r}, not for {request.card.id!r}"
        raise mismatch(f"{said}; {_ALLOWING}")
    if request.solver not in (None, solver_of(solver)):
        raise mismatch(f"schedule {name[:120]!r} was optimised for solver {solver!r}, not for {request.solver!r}")
