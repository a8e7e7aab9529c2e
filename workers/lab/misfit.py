"""Whether a schedule is for the very model that is at hand."""

from __future__ import annotations

from pacer.control.networks import lacking
from schedules.artefact import Schedule
from workers.lab.model import LabModel


def misfit(schedule: Schedule, model: LabModel) -> str | None:
    """Why a schedule is not for a model, if so: other weights, bits or dtype, or rows for other networks."""
    if schedule.weights_sha256 != model.weights_sha256:
        return f"it was searched on other weights of {schedule.model}"
    if schedule.quantization != model.quantization:
        here, there = (quantization or "none" for quantization in (model.quantization, schedule.quantization))
        return f"it was searched on weights quantised as {there}, these are {here}"
    if model.asked_dtype not in (None, schedule.dtype):
        return f"it was searched in {schedule.dtype}, this model computes in {model.asked_dtype}"
    networks = {name: network.weights_sha256 for name, network in model.smaller.items()}
    if missing := lacking(schedule, networks):
        return f"it has rows for the network {missing[0]!r}, which the model has not, or with other weights"
    return None
