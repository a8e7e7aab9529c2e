"""Binding quotes: made of a plan, and agreed with by the request that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from app.gateway import Gateway
from app.pictures import Source
from app.schemas.requests import DrawFields, ImagesRequest
from pacer.control.budget_request import BudgetRequest, PictureEntry
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.bound_plans import BoundPlan, not_binding
from pacer.jobs.messages import Plan, TableMessage
from schedules.table import Table

Fields = TypeVar("Fields", bound=DrawFields)

_PLANNING = (
    "budget", "num_inference_steps", "schedule", "solver", "sigmas", "allow_other_model", "allow_interpolated",
)  # fmt: skip


async def bind(
    request: BudgetRequest, planned: Plan, table: Table, *, seconds: int, gateway: Gateway, owner: str
) -> tuple[str, float]:
    """Keep a quote for its owner; returns its id, and when it ends in Unix seconds.

    Raises:
        PacerError: invalid_request, or store_unavailable.
    """
    most = gateway.settings.max_bind_s
    if not 1 <= seconds <= most:
        detail = f"bind_seconds: must lie in 1 to {most}, is {seconds}"
        raise PacerError(ErrorKind.invalid_request, detail, field="bind_seconds")
    bound = BoundPlan(
        owner=owner,
        plan=planned,
        table=TableMessage.of(table),
        width=request.width,
        height=request.height,
        guidance_scale=request.guidance_scale,
        true_cfg_scale=request.true_cfg_scale,
        images=request.images,
        latency_s=request.latency_s,
        strength=None if request.picture is None else request.picture.strength,
        masked=request.picture is not None and request.picture.masked,
        prompt=request.prompt if planned.by_prompt else None,
    )
    return await gateway.bound_plans.keep(bound, seconds)


def quoted_fields(fields: Fields, bound: BoundPlan, count: int | None) -> Fields:
    """The request with what was quoted filled in; a count of None was not said.

    Raises:
        PacerError: plan_not_binding, where the request says something else, or plans anew.
    """
    for name in _PLANNING:
        if getattr(fields, name) is not None:
            raise not_binding(f"the plan stands already; leave {name} out")
    if isinstance(fields, ImagesRequest) and fields.quality_level is not None:
        raise not_binding("the plan stands already; leave quality out")
    size = f"{bound.width}x{bound.height}"
    scales = {"guidance_scale": bound.guidance_scale, "true_cfg_scale": bound.true_cfg_scale}
    quoted = {"model": bound.plan.model, "size": size, **scales}
    for name, value in quoted.items():
        said = getattr(fields, name)
        if said is not None and said != value:
            raise not_binding(f"was quoted for {name} {value}, not {said}")
    if bound.prompt is not None and fields.prompt != bound.prompt:
        raise not_binding("was quoted for another prompt, whose words its steps follow from")
    named = {lora.name: lora.scale for lora in fields.lora or ()}
    loras = {lora.name: lora.scale for lora in bound.plan.lora}
    if fields.lora is not None and named != loras:
        raise not_binding(f"was quoted for lora {_set(loras)}, not {_set(named)}")
    if count not in (None, bound.images):
        raise not_binding(f"was quoted for n {bound.images}, not {count}")
    return fields.model_copy(update=quoted)


def _set(loras: Mapping[str, float]) -> str:
    return ", ".join(f"{name} at {scale:g}" for name, scale in sorted(loras.items())) or "none"


def quoted_source(source: Source | None, bound: BoundPlan) -> tuple[Source | None, PictureEntry | None]:
    """The picture to start from, with the strength that was quoted filled in, and where it enters.

    Raises:
        PacerError: plan_not_binding, where it was not quoted so.
    """
    quoted = None if bound.strength is None and not bound.masked else PictureEntry(bound.strength, bound.masked)
    said = None
    if source is not None:
        source = replace(source, strength=bound.strength if source.strength is None else source.strength)
        said = PictureEntry(source.strength, source.mask is not None)
    if said != quoted:
        raise not_binding(f"was quoted for {_entry(quoted)}, not for {_entry(said)}")
    return source, quoted


def _entry(picture: PictureEntry | None) -> str:
    if picture is None:
        return "drawing without an image"
    at = "" if picture.strength is None else f" at strength {picture.strength:g}"
    return f"an image{at}" + (" under a mask" if picture.masked else "")
