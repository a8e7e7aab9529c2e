"""diffusers: Python lines that set a stock scheduler and pass the grid in that scheduler's own convention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from schedules.artefact import Entry, Schedule
from schedules.export.parts import Export, check_sigmas_suffice, decimals, refusal, title
from schedules.noise import FLOW
from schedules.table import FloatArray

_TARGET = "diffusers"


def export_diffusers(schedule: Schedule, entry: Entry) -> Export:
    """The lines between making the pipeline and the picture.

    A flow's Euler takes N sigmas on a scheduler of shift 1, which appends the 0; Euler on an epsilon or v model takes
    all N + 1; DPM-Solver++ takes integer timesteps only, so the grid is rounded and the loss stated.

    Raises:
        ExportError: no stock scheduler takes this grid for this solver, or the table is learned.
    """
    check_sigmas_suffice(schedule, entry, _TARGET)
    kind = "flow" if schedule.prediction == "flow" else "vp"
    writer = _WRITERS.get((kind, schedule.solver))
    if writer is None:
        reason = f"no stock scheduler takes own sigmas and is {schedule.solver} for a {schedule.prediction} model"
        raise refusal(schedule, entry, _TARGET, reason)
    return writer(schedule, entry)


def _flow_euler(schedule: Schedule, entry: Entry) -> Export:
    sigmas = _ending_in_zero(schedule, entry)
    made = "FlowMatchEulerDiscreteScheduler(shift=1.0)"
    notes = (title(schedule, entry), "Sigmas are final and without the last 0, which the scheduler appends.")
    return _snippet(made, f"sigmas=[{decimals(sigmas[:-1])}]", notes)


def _flow_unipc(schedule: Schedule, entry: Entry) -> Export:
    sigmas = _ending_in_zero(schedule, entry)
    times = FLOW.time(sigmas[:-1])
    _refuse_repeats(schedule, entry, times.astype(np.int64))
    lost = float((times - np.floor(times)).max())
    options = 'prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0, solver_order=2'
    notes = (
        title(schedule, entry),
        "Sigmas are final and without the last 0; Flux pipelines drop them with this scheduler.",
        f"Loss: this scheduler cuts the network's times to integers, by up to {lost:.2f} of 1000.",
    )
    return _snippet(f"UniPCMultistepScheduler({options})", f"sigmas=[{decimals(sigmas[:-1])}]", notes)


def _vp_euler(schedule: Schedule, entry: Entry) -> Export:
    if schedule.prediction == "sample":
        raise refusal(schedule, entry, _TARGET, "EulerDiscreteScheduler takes no models that predict the sample")
    made = f'EulerDiscreteScheduler({_trained_on(schedule)}, timestep_spacing="trailing")'
    notes = (title(schedule, entry), "Sigmas with the last 0, as this scheduler wants them.")
    return _snippet(made, f"sigmas=[{decimals(entry.sigma_array())}]", notes)


def _vp_dpmpp_2m(schedule: Schedule, entry: Entry) -> Export:
    sigmas = _ending_in_zero(schedule, entry)[:-1]
    if schedule.noise is None:
        raise refusal(schedule, entry, _TARGET, "the artefact does not say what noise the model was trained on")
    noise = schedule.noise.schedule()
    levels = np.exp(noise.log_sigmas)
    times = np.rint(noise.time(sigmas)).astype(np.int64)
    _refuse_repeats(schedule, entry, times)
    moved = np.abs(levels[times] / sigmas - 1.0)
    made = (
        f'DPMSolverMultistepScheduler({_trained_on(schedule)}, algorithm_type="dpmsolver++", solver_order=2, '
        'final_sigmas_type="zero")'
    )
    worst = int(moved.argmax())
    example = f"{sigmas[worst]:.6g} becomes {levels[times[worst]]:.6g}"
    loss = f"Loss: timesteps are the nearest integers; sigmas move by up to {moved.max():.2%} ({example})."
    return _snippet(made, f"timesteps={times.tolist()}", (title(schedule, entry), loss))


_WRITERS: dict[tuple[str, str], Callable[[Schedule, Entry], Export]] = {
    ("flow", "euler"): _flow_euler,
    ("flow", "ddim"): _flow_euler,  # for a flow DDIM is Euler
    ("flow", "unipc-2"): _flow_unipc,
    ("vp", "euler"): _vp_euler,
    ("vp", "dpmpp-2m"): _vp_dpmpp_2m,
}


def _ending_in_zero(schedule: Schedule, entry: Entry) -> FloatArray:
    if entry.sigmas[-1] != 0:
        raise refusal(schedule, entry, _TARGET, f"the scheduler ends in 0, and its last sigma is {entry.sigmas[-1]:g}")
    return entry.sigma_array()


def _refuse_repeats(schedule: Schedule, entry: Entry, times: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    """Two levels on one integer time would be one step, or a step of length 0."""
    repeated = times[1:][np.diff(times) == 0]
    if repeated.size:
        reason = f"its scheduler takes integer timesteps, and two noise levels fall on {repeated[0]}"
        raise refusal(schedule, entry, _TARGET, reason)


def _trained_on(schedule: Schedule) -> str:
    """The noise of an epsilon or v model, as constructor arguments."""
    noise = schedule.noise
    if noise is None:
        raise ValueError("an epsilon or v model's artefact names its noise")
    return (
        f'prediction_type="{schedule.prediction}", num_train_timesteps={noise.train_times}, '
        f'beta_schedule="{noise.kind}", beta_start={noise.beta_start!r}, beta_end={noise.beta_end!r}'
    )


def _snippet(made: str, grid: str, notes: tuple[str, ...]) -> Export:
    """`pipe` and `prompt` are the reader's own."""
    name = made.partition("(")[0]
    lines = (
        *(f"# {note}" for note in notes),
        f"from diffusers import {name}",
        "",
        f"pipe.scheduler = {made}",
        f"images = pipe(prompt, {grid}).images",
    )
    return Export("\n".join(lines) + "\n", notes)
