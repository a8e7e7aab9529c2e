"""Which of our solvers the samplers of k-diffusion, in ComfyUI, A1111 and Forge, are the same as."""

from __future__ import annotations

from schedules.artefact import Entry, Schedule
from schedules.export.parts import check_sigmas_suffice, refusal

COMFYUI_NAMES = {"euler": "euler", "dpmpp-2m": "dpmpp_2m"}
A1111_NAMES = {"euler": "Euler", "dpmpp-2m": "DPM++ 2M"}


def sampler_name(schedule: Schedule, entry: Entry, target: str, names: dict[str, str]) -> str:
    """The target's name for the entry's solver.

    Their DPM++ 2M extrapolates in log sigma whatever the model is. For an epsilon or v model this is half the log
    signal-to-noise ratio, as ours; for a flow that is log((1 - sigma) / sigma), so the two are different solvers.

    Raises:
        ExportError: the target has no such solver.
    """
    check_sigmas_suffice(schedule, entry, target)
    if schedule.prediction == "flow" and schedule.solver in {"euler", "ddim"}:
        return names["euler"]  # for a flow DDIM is Euler
    if schedule.prediction == "flow" and schedule.solver == "dpmpp-2m":
        reason = f"its {names['dpmpp-2m']} steps in log sigma, which for a flow is another solver than dpmpp-2m"
        raise refusal(schedule, entry, target, reason)
    if schedule.solver not in names:
        raise refusal(schedule, entry, target, f"it has no sampler that is {schedule.solver}")
    return names[schedule.solver]


def start_notes(schedule: Schedule, entry: Entry) -> tuple[str, ...]:
    """A note where these programs start from other noise than the table: a flow's, scaled to its first sigma."""
    first = entry.sigmas[0]
    if schedule.prediction != "flow" or first == 1:
        return ()
    return (f"The table starts from unit noise at sigma {first:g}; this program scales the noise by {first:g} first.",)
