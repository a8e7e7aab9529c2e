"""What a caller may say, on native routes and on OpenAI's. No unknown field, no conversion between types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from app.schemas.budget import Budget
from app.schemas.strict import Strict
from pacer.jobs.messages import ImageFormat
from pacer.loras import MOST as MOST_LORAS
from pacer.settings import QualityLevel

MAX_SEED = 2**63 - 1

LORA_SCALE = 4.0
"""Largest scale of a LoRA, and of its opposite."""

_SIZE = re.compile(r"auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4}")


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the NUL character")
    return value


def _spoken(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return _text(value)


def _size(value: str) -> str:
    if not _SIZE.fullmatch(value):
        raise ValueError("must be 'auto' or WIDTHxHEIGHT in pixels, such as 64x64")
    return value


def _between(least: int, most: int) -> AfterValidator:
    """A range whose refusal tells both ends."""

    def check(value: int) -> int:
        if not least <= value <= most:
            raise ValueError(f"must lie in {least} to {most}, is {value}")
        return value

    return AfterValidator(check)


Text = Annotated[str, AfterValidator(_text)]
Prompt = Annotated[
    str, AfterValidator(_spoken), Field(min_length=1, json_schema_extra={"example": "a red circle above a blue square"})
]
Size = Annotated[
    str, AfterValidator(_size), Field(json_schema_extra={"pattern": f"^({_SIZE.pattern})$", "example": "64x64"})
]
Seed = Annotated[int, _between(0, MAX_SEED), Field(json_schema_extra={"minimum": 0, "maximum": MAX_SEED})]
Percent = Annotated[int, _between(0, 100), Field(json_schema_extra={"minimum": 0, "maximum": 100})]
Strength = Annotated[
    float,
    Field(
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
        description="how much of the image is noise at the start, above 0 to 1; 0.8 by default, 1 with a mask",
    ),
]
FromOne = Annotated[int, Field(json_schema_extra={"minimum": 1})]
"""At least 1; the most is the gateway's setting, and so whoever knows it judges both ends and tells both."""


class LoraFields(Strict):
    """A LoRA to draw with."""

    name: Text = Field(min_length=1, max_length=100, description="one of those that GET /v1/models lists")
    scale: float = Field(default=1.0, ge=-LORA_SCALE, le=LORA_SCALE, description="what its weights are multiplied by")


def _one_name(value: object) -> object:
    """A name alone stands for one at scale 1."""
    return [{"name": value}] if isinstance(value, str) else value


def _or_a_name(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "minLength": 1, "maxLength": 100})


def _named_once(value: list[LoraFields]) -> list[LoraFields]:
    names = [lora.name for lora in value]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"must name each once, {twice[:80]!r} is there twice")
    return value


class PlanFields(Strict):
    """What planning needs."""

    model: Text | None = Field(default=None, min_length=1, description="a model's id; the first served one by default")
    size: Size | None = Field(default=None, description="WIDTHxHEIGHT in pixels, or auto")
    guidance_scale: float | None = Field(
        default=None, description="classifier-free guidance, 1 turns it off; the model's own by default"
    )
    true_cfg_scale: float | None = Field(
        default=None,
        description="classifier-free guidance, with the negative prompt, on top of a guidance scale that the network "
        "takes as an input (FLUX.1-dev); such a step is two evaluations; 1, none, by default",
    )
    budget: Budget | None = None
    num_inference_steps: FromOne | None = Field(default=None, description="the same as budget.steps")
    schedule: Text | None = Field(
        default=None,
        min_length=1,
        description="a registry id model/solver/steps or model/solver@variant/steps, or a grid; the best there is by "
        "default",
    )
    solver: Text | None = Field(default=None, min_length=1, description="solver of custom sigmas, or the one wanted")
    allow_other_model: bool | None = Field(
        default=None,
        description="run the schedule named by its id even if it was optimised on another model or other weights; "
        "refused by default, and nothing is known of its quality",
    )
    allow_interpolated: bool | None = Field(
        default=None,
        description="take a searched schedule for a guidance scale or a size that it was not shown to hold for, or one "
        "made from those of budgets far away; the answer marks it and promises no quality",
    )
    sigmas: list[float] | None = Field(
        default=None, description="own noise levels: steps + 1 of them, strictly decreasing, the last 0"
    )
    lora: Annotated[list[LoraFields], AfterValidator(_named_once), Field(max_length=MOST_LORAS)] | None = Field(
        default=None,
        json_schema_extra=_or_a_name,
        description="LoRAs to draw with, or the name of one; no quality is predicted, schedules were searched without",
    )

    @field_validator("lora", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return _one_name(value)

    @property
    def idle_leaves(self) -> tuple[str, ...]:
        """Leave that was given for what this request cannot do.

        Another model's schedule must be named by its id; sigmas and grids hold everywhere.
        """
        named = "/" in (self.schedule or "")
        idle = {
            "allow_interpolated": bool(self.allow_interpolated)
            and (self.sigmas is not None or (self.schedule is not None and not named)),
            "allow_other_model": bool(self.allow_other_model) and not named,
        }
        return tuple(name for name, so in idle.items() if so)


class DrawFields(PlanFields):
    """What drawing needs beside the plan."""

    prompt: Prompt
    plan_id: Text | None = Field(
        default=None,
        min_length=1,
        description="of a binding quote of POST /v1/plan: draw by the very schedule that was quoted",
    )
    negative_prompt: Text | None = None
    seed: Seed | None = Field(default=None, description="drawn at random, and reported, by default")
    output_format: ImageFormat | None = Field(default=None, description="png by default")
    output_compression: Percent | None = Field(default=None, description="quality of jpeg and webp")

    def ignored(self, branch_scale: float) -> list[str]:
        """The fields that were given and mean nothing at this scale between a step's two evaluations."""
        means_nothing = {
            "negative_prompt": bool(self.negative_prompt) and branch_scale == 1,
            # A PNG has no quality to lower.
            "output_compression": self.output_compression is not None and self.output_format in (None, "png"),
        }
        return [*self.idle_leaves, *(name for name, so in means_nothing.items() if so)]


class PictureFields(Strict):
    """What starts from a picture instead of noise alone."""

    image: Text | None = Field(
        default=None,
        min_length=1,
        description="a PNG, JPEG or WebP file to start from, as base64 or a data: URL; of the size that is drawn",
    )
    mask: Text | None = Field(
        default=None,
        min_length=1,
        description="a file of the image's size: white is repainted, black is kept, grey is mixed",
    )
    strength: Strength | None = None
    resize: bool | None = Field(default=None, description="scale the image to the size drawn; refused by default")


class PlanRequest(PlanFields):
    """A quote without the run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"budget": {"latency_ms": 2000}}, {"budget": {"min_psnr_db": 40}, "bind_seconds": 30}]
        }
    )

    prompt: Prompt | None = Field(
        default=None, description="what will be drawn: the steps of a floor, and its quality, may follow from the words"
    )
    n: FromOne | None = Field(default=None, description="images, each with this budget; 1 by default")
    bind_seconds: FromOne | None = Field(
        default=None,
        description="keep the quoted schedule for so long, for one request with the plan_id that is answered",
    )
    strength: Strength | None = None
    masked: bool | None = Field(default=None, description="whether a mask will keep a part of the image")

    def ignored(self) -> list[str]:
        """The fields that were given and mean nothing in this request."""
        return list(self.idle_leaves)


class JobRequest(PictureFields, DrawFields):
    """One image, drawn in the background."""


class SvgReasoning(Strict):
    """OpenAI's, of the author of an SVG."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class Svg(Strict):
    """OpenAI's choice of who writes an SVG."""

    model: Text | None = None
    reasoning: SvgReasoning | None = None


QUALITY_LEVELS: Mapping[str, QualityLevel] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "standard": "medium",
    "hd": "high",
    "xhigh": "high",
    "max": "high",
}
"""What each of OpenAI's qualities, save auto, comes to here."""


class ImagesRequest(DrawFields):
    """OpenAI's image generation request, and this service's further fields."""

    n: FromOne | None = Field(default=None, description="images; image i has seed + i")
    quality: Literal["auto", "low", "medium", "high", "standard", "hd", "xhigh", "max"] | None = Field(
        default=None,
        description="low, medium and high name a step budget; standard is medium; hd, xhigh and max are high; "
        "auto leaves it to budget",
    )
    response_format: Literal["b64_json"] | None = None
    stream: Literal[False] | None = None
    user: Text | None = None
    # OpenAI's fields that mean nothing here: accepted, and listed under pacer.ignored.
    background: Literal["transparent", "opaque", "auto"] | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    input_fidelity: Literal["low", "high"] | None = None
    moderation: Literal["low", "auto"] | None = None
    partial_images: Annotated[int, _between(0, 3), Field(json_schema_extra={"minimum": 0, "maximum": 3})] | None = None
    safety_identifier: Text | None = None
    style: Literal["vivid", "natural"] | None = None
    svg: Svg | None = None

    @property
    def quality_level(self) -> QualityLevel | None:
        """The level that was asked for, if any."""
        return None if self.quality in (None, "auto") else QUALITY_LEVELS[self.quality]

    def ignored(self, branch_scale: float) -> list[str]:
        """The fields that were given and mean nothing here."""
        return sorted([*super().ignored(branch_scale), *(name for name in IGNORED if getattr(self, name) is not None)])


class EditsRequest(ImagesRequest):
    """OpenAI's image edit request, and this service's further fields; its files stand beside it."""

    strength: Strength | None = None
    resize: bool | None = Field(default=None, description="scale the image to the size drawn; refused by default")


IGNORED = (
    "background", "complexity", "frame_count", "frame_duration_ms", "input_fidelity", "moderation", "partial_images",
    "safety_identifier", "style", "svg",
)  # fmt: skip
