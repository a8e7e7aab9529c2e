"""How a budget is refused that cannot be met: with the numbers that contradict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pacer.control.limits import Limits
from pacer.errors import ErrorKind, PacerError
from schedules.evidence import SHARES, Evidence

STEPS = "budget.max_steps"
EVALUATIONS = "budget.evaluations"
LATENCY = "budget.latency_ms"
PSNR = "budget.min_psnr_db"
QUALITY = "budget.min_quality"


def nothing_fits(
    limits: Limits, what: str, turns: int, evaluations: int, *, scale: float = 1.0, field: str = ""
) -> PacerError:
    """The error where not even the least is to be had.

    Args:
        limits: of the budget.
        what: the least there is, in words.
        turns: its table rows.
        evaluations: its forwards.
        scale: between a step's two evaluations; 1 means one.
        field: that says it.
    """
    if limits.evaluations is not None and evaluations > limits.evaluations:
        way = "" if scale == 1.0 else f", or set {field} to 1"
        least = f"the least is {what}, {evaluations} network evaluations at {field} {scale:g}"
        return _refused(EVALUATIONS, f"{limits.evaluations} buys nothing: {least}; allow {evaluations} or more{way}")
    return too_late(limits, f"the least, {what},", turns, evaluations)


def too_late(limits: Limits, what: str, turns: int, evaluations: int) -> PacerError:
    """The error where there is no time: at all, or for as long as others are before it."""
    if limits.forecast is None or limits.latency_s is None:
        raise ValueError(f"limits: they set no time, so nothing can be late, are {limits}; this is a bug")
    forecast, alone_s = limits.forecast, limits.alone_s(turns, evaluations)
    expected_s = forecast.service_s(turns, evaluations) + forecast.added_s(turns, evaluations, limits.images)
    all_of_them = f" for n {limits.images}" if limits.images > 1 else ""
    needs = f"{what} would take about {_ms(alone_s)}{all_of_them}"
    if alone_s > limits.latency_s:
        return _refused(LATENCY, f"{needs}, the budget says {_ms(limits.latency_s)}")
    if expected_s > max(alone_s, limits.latency_s):
        needs = f"{needs} after a wait of about {_ms(expected_s - alone_s)}"
    elif forecast.promise is not None and forecast.promise.leaves_room:
        needs = f"{needs}, and with what was promised by then and is left to other keys it could not be relied on"
    else:
        needs = f"{needs}, and with what others were promised by then it could not be relied on"
    late_s = limits.late_s(turns, evaluations)
    return PacerError(
        ErrorKind.deadline_unreachable,
        f"{needs}, the budget says {_ms(limits.latency_s)}",
        field=LATENCY,
        retry_after_s=late_s,
    )


def too_dear(limits: Limits, steps: int, turns: int, evaluations: int) -> PacerError:
    """The error where a floor needs more than the budget allows."""
    spent = f"{steps} steps, {evaluations} network evaluations"
    field, floor = _floor(limits)
    if limits.evaluations is not None and evaluations > limits.evaluations:
        return _refused(field, f"{floor} needs {spent}; budget.evaluations allows {limits.evaluations}")
    least, most = limits.steps
    if steps > most:
        return _refused(field, f"{floor} needs {spent}; at most {most} steps are allowed")
    if steps < least:
        return _refused(field, f"{floor} needs {spent} and no more; at least {least} steps are asked for")
    return too_late(limits, f"{steps} steps, which {field} {floor} needs,", turns, evaluations)


def beyond_reach(
    limits: Limits, held: Sequence[tuple[Evidence | None, int]], *, elsewhere: Sequence[float] = ()
) -> PacerError:
    """The error where no schedule was shown to reach the floor.

    Args:
        limits: of the budget.
        held: what was measured of each schedule at hand, and its steps.
        elsewhere: other guidance scales, at which schedules at hand were measured.
    """
    field, floor = _floor(limits)
    if limits.psnr_db is not None and limits.quality is not None:
        return _refused(field, f"{floor} are each reached, by no schedule both")
    measured = [(evidence, steps) for evidence, steps in held if evidence is not None]
    known = [(told, steps) for evidence, steps in measured if (told := _shown(evidence, limits)) is not None]
    if not known and limits.psnr_db is not None and measured:
        what = f"what {_percent(limits.kept_by)} of 100 pictures reach was not measured"
        way = _fewer(limits, measured) or "; lower budget.kept_by"
        return _refused(field, f"{what}{way}, or measure more seeds (pacer schedules measure)")
    if not known:
        nothing, scales = "nothing was measured for this model, guidance_scale and size", _listed(elsewhere)
        way = f"ask for guidance_scale {scales}, where something was, or leave" if elsewhere else "leave"
        return _refused(field, f"{nothing}; {way} the floor out")
    most, steps = max(known)
    reached = f"the most is {most:.4g}, by {steps} steps"
    return _refused(field, f"{floor} was not shown to be reached; {reached}{_fewer(limits, measured)}")


def _shown(evidence: Evidence, limits: Limits) -> float | None:
    """What a floor may count on; None where nobody measured it."""
    by = limits.kept_by
    return evidence.psnr_db_of(by) if limits.psnr_db is not None else evidence.quality_of(by)


def _fewer(limits: Limits, measured: Sequence[tuple[Evidence, int]]) -> str:
    """By how many pictures at the most the floor is kept, to be asked for; nothing where by none that were counted."""
    for share in sorted((share for share in SHARES if share < limits.kept_by), reverse=True):
        relaxed = replace(limits, kept_by=share)
        steps = [steps for evidence, steps in measured if relaxed.reached_by(evidence)]
        if steps:
            return f"; with budget.kept_by {share:g}, {min(steps)} steps keep it for {_percent(share)} of 100"
    return ""


def below_floor(limits: Limits, what: str, *, measured: bool) -> PacerError:
    """The error of a sampler that was named and was not shown to reach the floor."""
    field, floor = _floor(limits)
    known = (
        f"were not shown to reach {floor}"
        if measured
        else f"were never measured for this use, so nobody knows that of {floor}"
    )
    return _refused(field, f"{what} {known}; leave out one of the two")


def _floor(limits: Limits) -> tuple[str, str]:
    """The field of the floor, of PSNR where there are both, and how it is said."""
    if limits.psnr_db is not None:
        together = "" if limits.quality is None else f" and {QUALITY} {limits.quality:g}"
        return PSNR, f"{limits.psnr_db:g} dB for {_percent(limits.kept_by)} of 100 pictures{together}"
    return QUALITY, f"{limits.quality:g}"


def _percent(share: float) -> str:
    return f"{100 * share:g}"


def _listed(scales: Sequence[float]) -> str:
    return " or ".join(f"{scale:g}" for scale in scales)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _refused(field: str, detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)
