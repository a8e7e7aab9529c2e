"""What an artefact says beside its numbers: where it holds, how well it did, how it came about."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
IsoDate = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Strict(BaseModel):
    """A frozen record: no unknown fields, no conversions, no nan or inf."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ValidFor(Strict):
    """Where the schedule was shown to hold."""

    width: Annotated[tuple[int, int], Field(description="least and most pixels")]
    height: Annotated[tuple[int, int], Field(description="least and most pixels")]
    guidance_scale: Annotated[tuple[float, float], Field(description="least and most guidance scale")]

    @field_validator("width", "height", "guidance_scale")
    @classmethod
    def _least_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        least, most = value
        if not 0 < least <= most:
            raise ValueError(f"must be 0 < least <= most, is {least}, {most}")
        return value

    def covers(self, *, width: int, height: int, guidance_scale: float) -> bool:
        """Whether a request is where the schedule was shown to hold."""
        asked = ((width, self.width), (height, self.height), (guidance_scale, self.guidance_scale))
        return all(least <= value <= most for value, (least, most) in asked)


class Figure(Strict):
    """A held-out figure with its bootstrap interval (95 %)."""

    mean: float
    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.mean <= self.high:
            raise ValueError(f"must be low <= mean <= high, is {self.low}, {self.mean}, {self.high}")
        return self


SHARES = (0.5, 0.75, 0.9, 0.95, 0.98)
"""Of the pictures, for each of which evidence says what they have at the least."""
KEPT_BY = 0.98
"""By how many of them a floor is kept, where a request does not say it: a floor that one in ten misses is none."""


class Kept(Strict):
    """What a share of the pictures has at the least, with 95 % confidence."""

    by: float = Field(gt=0, lt=1)
    least: float


def pairs(kept: tuple[Kept, ...]) -> tuple[tuple[float, float], ...]:
    """Shares and what they have, in plain numbers."""
    return tuple([(each.by, each.least) for each in kept])


def least_of(kept: tuple[Kept, ...], share: float) -> float | None:
    """What this share of the pictures has at the least; None where nobody measured so large a one."""
    for each in kept:
        if each.by >= share:
            return each.least
    return None


class Evidence(Strict):
    """Measured on seeds and prompts that the search never saw, against the many-step teacher at equal seed."""

    psnr_db: Figure
    kept_psnr_db: tuple[Kept, ...] = ()
    kept_seeds: int | None = Field(
        default=None, ge=1, description="from the same first seed on, of what is kept; null: `seeds`"
    )
    latent_mse: Figure
    task_score: float | None = Field(default=None, ge=0, le=1)
    quality: Figure | None = Field(
        default=None, description="share of the teacher's task score; without a task, SSIM to its pictures"
    )
    quality_seeds: int | None = Field(
        default=None,
        ge=1,
        description="likewise of task score and quality",
        exclude_if=lambda seeds: seeds is None,
    )
    kept_ssim: tuple[Kept, ...] = Field(default=(), description="where quality is SSIM")
    seeds: int = Field(ge=1)
    seed_offset: int = Field(ge=0)
    teacher_steps: int = Field(ge=1)
    baselines_psnr_db: dict[str, Figure] = Field(default_factory=dict)

    def psnr_db_of(self, share: float) -> float | None:
        """What this share of the pictures has at the least, dB; None where nobody measured it."""
        return least_of(self.kept_psnr_db, share)

    def quality_of(self, share: float) -> float | None:
        """What a floor of quality may count on: SSIM of this share of the pictures; a task score in their mean."""
        if self.kept_ssim:
            return least_of(self.kept_ssim, share)
        return None if self.quality is None else self.quality.low


class Provenance(Strict):
    """How the schedule came about, enough to make it again."""

    method: str = Field(min_length=1)
    parameters: dict[str, bool | int | float | str] = Field(default_factory=dict)
    teacher_steps: int = Field(ge=1)
    calibration_seeds: int = Field(ge=1)
    calibration_seed_offset: int = Field(ge=0)
    prompts_sha256: Sha256
    date: IsoDate
    code_version: str
