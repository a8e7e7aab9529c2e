"""How a budget is refused that cannot be met: with the numbers that contradict."""

from __future__ import annotations

from collections.abc import Sequence

from pacer.control.limits import Limits
from pacer.errors import ErrorKind, PacerError
from schedules.evidence import Evidence

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
    if limits.psnr_db is not None:
        shown = [(evidence.psnr_db_of(limits.kept_by), steps) for evidence, steps in held if evidence]
    else:
        shown = [(evidence.quality_of(limits.kept_by), steps) for evidence, steps in held if evidence]
    known = [(reached, steps) for reached, steps in shown if reached is not None]
    if not known and limits.psnr_db is not None and any(evidence for evidence, _ in held):
        what = f"what {100 * limits.kept_by:g} of 100 pictures reach was not measured"
        return _refused(field, f"{what}; lower budget.kept_by, or measure more seeds (pacer schedules measure)")
    if not known:
        nothing, scales = "nothing was measured for this model, guidance_scale and size", _listed(elsewhere)
        way = f"ask for guidance_scale {scales}, where something was, or leave" if elsewhere else "leave"
        return _refused(field, f"{nothing}; {way} the floor out")
    most, steps = max(known)
    return _refused(field, f"{floor} was not shown to be reached; the most is {most:.4g}, by {steps} steps")


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
        return PSNR, f"{limits.psnr_db:g} dB for {100 * limits.kept_by:g} of 100 pictures{together}"
    return QUALITY, f"{limits.quality:g}"


def _listed(scales: Sequence[float]) -> str:
    return " or ".join(f"{scale:g}" for scale in scales)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _refused(field: str, detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)
