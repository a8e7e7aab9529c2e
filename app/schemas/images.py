"""The answer of /v1/images/generations: OpenAI's, with a `pacer` object beside it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.schemas.answers import PlanAnswer, TimingsAnswer
from pacer.jobs.messages import ImageFormat


class ImageDatum(BaseModel):
    """One image."""

    b64_json: str


class ImageFacts(BaseModel):
    """How one image came about."""

    id: str = Field(description="the job's id")
    seed: int
    steps: int = Field(description="of this image, as it was drawn")
    timings: TimingsAnswer


class PacerFacts(PlanAnswer):
    """The plan that was run, and what it took."""

    seed: int = Field(description="of the first image; image i has seed + i")
    guidance_scale: float
    true_cfg_scale: float = Field(description="of what comes on top where the network takes guidance_scale; 1 is none")
    queue_seconds: float = Field(description="the longest wait among the images")
    service_seconds: float = Field(description="the longest service among the images")
    latency_seconds: float = Field(description="measured, from arrival until the last image was stored")
    in_time: bool | None = Field(
        description="whether the last image was stored by the deadline; null without a deadline"
    )
    images: list[ImageFacts]
    ignored: list[str] = Field(description="fields that were given and mean nothing in this request")


class ImagesAnswer(BaseModel):
    """OpenAI's images response."""

    created: int = Field(description="Unix seconds")
    data: list[ImageDatum]
    output_format: ImageFormat
    quality: str | None = Field(description="the level that was served: low, medium, high or auto")
    size: str
    pacer: PacerFacts
