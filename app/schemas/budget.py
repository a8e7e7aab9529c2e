"""What a caller can spend on an image, and what it must get for that."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypedDict

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

from app.schemas.strict import Strict


def _given(value: object) -> object:
    """Leave a field out rather than give null for it."""
    if value is None:
        raise PydanticKnownError("int_type")
    return value


def _given_number(value: object) -> object:
    if value is None:
        raise PydanticKnownError("float_type")
    return value


def _without_default(schema: dict[str, Any]) -> None:
    """Null stands for a field that is not there; nobody may say it."""
    del schema["default"]


_NOTHING_SAID = PydanticCustomError(
    "nothing_said",
    "is required, or budget.evaluations, latency_ms, min_quality, min_psnr_db, max_steps or min_steps",
)

Spendable = Annotated[int | None, BeforeValidator(_given), WithJsonSchema({"type": "integer", "minimum": 1})]
Floor = Annotated[
    float | None, BeforeValidator(_given_number), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
]
Share = Annotated[
    float | None,
    BeforeValidator(_given_number),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
]


class Bounds(TypedDict, total=False):
    """What a budget says beside the steps, as planning takes it."""

    evaluations: int | None
    latency_s: float | None
    min_steps: int | None
    max_steps: int | None
    min_psnr_db: float | None
    min_quality: float | None
    kept_by: float | None


class Budget(Strict):
    """What the caller can spend, and what it must get for that: any bounds that do not contradict each other.

    With a floor, the cheapest schedule that was shown to reach it; without one, the best there is within the bounds.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [
                {"steps": 6},
                {"evaluations": 12},
                {"latency_ms": 500},
                {"min_psnr_db": 45, "kept_by": 0.9, "max_steps": 12},
            ],
        }
    )

    steps: Spendable = Field(
        default=None,
        json_schema_extra=_without_default,
        description="steps of the solver: each one row of its table, but two rows a step for heun",
    )
    evaluations: Spendable = Field(
        default=None,
        json_schema_extra=_without_default,
        description="most network evaluations for one image: one forward each, so a guided step takes two where the "
        "schedule evaluates the unconditional output afresh; the best there is of any steps",
    )
    latency_ms: Spendable = Field(
        default=None,
        json_schema_extra=_without_default,
        description="milliseconds from arrival to the image: the best that can be done by then, refused where nothing "
        "can, and dropped where it could not after all",
    )
    min_quality: Share = Field(
        default=None,
        json_schema_extra=_without_default,
        description="least share of the many-step teacher's quality that was shown on held-out seeds: of a task score "
        "the low end of its mean's 95 % interval, of SSIM what `kept_by` of the pictures have",
    )
    min_psnr_db: Floor = Field(
        default=None,
        json_schema_extra=_without_default,
        description="least PSNR to the many-step teacher that `kept_by` of the pictures were shown to have, on "
        "held-out seeds, with 95 % confidence",
    )
    kept_by: Share = Field(
        default=None,
        json_schema_extra=_without_default,
        description="share of the pictures by which a floor is kept, 0.5 to 0.98; 0.98 by default, and fewer are "
        "cheaper. Task scores are of many pictures, and kept in the mean",
    )
    min_steps: Spendable = Field(default=None, json_schema_extra=_without_default, description="fewest steps")
    max_steps: Spendable = Field(default=None, json_schema_extra=_without_default, description="most steps")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            missing = InitErrorDetails(type=_NOTHING_SAID, loc=("steps",), input={})
            raise ValidationError.from_exception_data("Budget", [missing])
        return self

    def bounds(self) -> Bounds:
        """What it says beside the steps."""
        return Bounds(
            evaluations=self.evaluations,
            latency_s=None if self.latency_ms is None else self.latency_ms / 1000,
            min_steps=self.min_steps,
            max_steps=self.max_steps,
            min_psnr_db=self.min_psnr_db,
            min_quality=self.min_quality,
            kept_by=self.kept_by,
        )
