"""What every artefact says of the model that it was made on."""

from __future__ import annotations

from typing import Literal, TypedDict

from schedules.artefact import BetaSchedule, Prediction
from schedules.evidence import ValidFor
from workers.lab.model import LabModel


class Header(TypedDict):
    """Fields of a schedule artefact, as `Schedule` has them."""

    format: Literal["pacer-schedule/1"]
    model: str
    revision: str | None
    weights_sha256: str
    dtype: str
    quantization: str | None
    prediction: Prediction
    noise: BetaSchedule | None
    valid_for: ValidFor


def header_of(model: LabModel, scales: tuple[float, float]) -> Header:
    """The fields for a model at its own size.

    Args:
        model: the model.
        scales: least and most guidance scale that the schedules hold for.
    """
    width, height = model.size
    return Header(
        format="pacer-schedule/1",
        model=model.name,
        revision=model.revision,
        weights_sha256=model.weights_sha256,
        dtype=model.dtype,
        quantization=model.quantization,
        prediction=model.native.prediction,
        noise=model.native.noise,
        valid_for=ValidFor(width=(width, width), height=(height, height), guidance_scale=scales),
    )
