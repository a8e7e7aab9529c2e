"""What the service says, on native routes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from pacer.jobs import messages
from pacer.jobs.messages import EventKind, ImageFormat, JobState


class KeptAnswer(BaseModel):
    """What a share of the pictures has at the least, with 95 % confidence."""

    by: float = Field(description="share of the pictures")
    least: float


class Quality(BaseModel):
    """PSNR to the many-step teacher, decibels, with its 95 % interval."""

    mean: float
    low: float
    high: float


class PlannedQuality(Quality):
    """The same, and what single pictures have."""

    kept: list[KeptAnswer] = Field(description="what floors of PSNR go by; empty where nobody measured it")


class Share(BaseModel):
    """Share of the many-step teacher's quality, with its 95 % interval."""

    mean: float
    low: float
    high: float
    kept: list[KeptAnswer] = Field(description="of SSIM; empty for a task score, whose floors go by low")


def told_quality(
    interval: tuple[float, float, float] | None, kept: tuple[tuple[float, float], ...]
) -> PlannedQuality | None:
    """PSNR as answers tell it: mean, low and high, and shares of the pictures with what they have."""
    if interval is None:
        return None
    mean, low, high = interval
    return PlannedQuality(mean=mean, low=low, high=high, kept=_kept(kept))


def told_share(interval: tuple[float, float, float] | None, kept: tuple[tuple[float, float], ...]) -> Share | None:
    """The same of a share of the teacher's quality."""
    if interval is None:
        return None
    mean, low, high = interval
    return Share(mean=mean, low=low, high=high, kept=_kept(kept))


def _kept(kept: tuple[tuple[float, float], ...]) -> list[KeptAnswer]:
    return [KeptAnswer(by=by, least=least) for by, least in kept]


class LoraAnswer(BaseModel):
    """A LoRA that an image is drawn with."""

    name: str
    scale: float


class ReplannedAnswer(BaseModel):
    """What was planned before a worker planned anew."""

    from_steps: int = Field(description="steps that were planned at first")
    made: int = Field(description="of these, those that were made by then")

    @classmethod
    def of(cls, from_steps: int, made: int) -> ReplannedAnswer:
        """Of a plan's two numbers."""
        return cls(from_steps=from_steps, made=made)


class Latency(BaseModel):
    """From arrival to the image, the last of several, seconds."""

    p50: float = Field(description="half of such images take no more")
    p95: float = Field(description="95 of 100 take no more")


def _latency(seconds: tuple[float, float] | None) -> Latency | None:
    return None if seconds is None else Latency(p50=seconds[0], p95=seconds[1])


class PlanAnswer(BaseModel):
    """What will be run, and what to expect for it."""

    model: str
    schedule: str = Field(description="registry id, name of a grid, or custom")
    solver: str
    steps: int
    evaluations: int = Field(description="network forwards for one image, guidance counted")
    sigmas: list[float]
    predicted_seconds: float | None = Field(description="service time of one image; null until a worker has measured")
    predicted_wait_seconds: float | None = Field(
        description="what others add to it, and to the last of n images those before it, as expected; null until a "
        "worker has measured"
    )
    predicted_latency: Latency | None = Field(
        description="both together, by how far images of late were off it; null until a worker has measured"
    )
    predicted_quality_db: PlannedQuality | None = Field(description="null without evidence")
    predicted_quality: Share | None = Field(description="null without evidence")
    other_model: bool = Field(
        description="the schedule was optimised on another model or other weights, and allow_other_model ran it here"
    )
    interpolated: bool = Field(
        description="the schedule was made from those of neighbouring budgets, or allow_interpolated took it for a "
        "guidance scale or a size that it was not shown to hold for"
    )
    by_prompt: bool = Field(
        description="the steps of a floor, and the quality predicted, follow from the words of the prompt, rather than "
        "from pictures of all prompts"
    )
    replanned: ReplannedAnswer | None = Field(
        description="what was planned at first, where a worker went on with more steps or fewer; null if it did not"
    )
    lora: list[LoraAnswer] = Field(
        description="what the model is drawn with; the schedule was searched without, so no quality is predicted"
    )

    @classmethod
    def of(cls, plan: messages.Plan) -> PlanAnswer:
        """The plan as it goes over HTTP."""
        return cls(
            model=plan.model,
            schedule=plan.schedule,
            solver=plan.solver,
            steps=plan.steps,
            evaluations=plan.evaluations,
            sigmas=list(plan.sigmas),
            predicted_seconds=plan.predicted_seconds,
            predicted_quality_db=told_quality(plan.predicted_quality_db, plan.kept_psnr_db),
            predicted_quality=told_share(plan.predicted_quality, plan.kept_ssim),
            predicted_wait_seconds=plan.predicted_wait_seconds,
            predicted_latency=_latency(plan.latency_seconds),
            other_model=plan.other_model,
            interpolated=plan.interpolated,
            by_prompt=plan.by_prompt,
            replanned=None if plan.replanned is None else ReplannedAnswer.of(*plan.replanned),
            lora=[LoraAnswer(name=lora.name, scale=lora.scale) for lora in plan.lora],
        )


class QuoteAnswer(PlanAnswer):
    """The plan of a request that is not run."""

    ignored: list[str] = Field(description="fields that were given and mean nothing in this request")


class BoundQuoteAnswer(QuoteAnswer):
    """A quote that binds: its schedule is kept for a while."""

    plan_id: str = Field(description="one request may name it, to run this very schedule")
    expires_at: float = Field(description="until when, Unix seconds")


class TimingsAnswer(BaseModel):
    """Seconds that a finished job took."""

    queue: float
    encode: float
    denoise: float
    decode: float
    service: float = Field(description="from the claim until the file is ready to be stored")

    @classmethod
    def of(cls, timings: messages.Timings) -> TimingsAnswer:
        """The timings as they go over HTTP."""
        return cls(**{name: getattr(timings, name) for name in cls.model_fields})


class JobError(BaseModel):
    """Why a job came to nothing."""

    type: str
    title: str
    detail: str
    advice: str


class JobAccepted(BaseModel):
    """A job that was queued."""

    id: str
    status: Literal["queued"]
    seed: int
    plan: PlanAnswer
    ignored: list[str] = Field(description="fields that were given and mean nothing in this request")


class JobAnswer(BaseModel):
    """What is known of a job."""

    id: str
    status: JobState
    step: int
    total: int
    attempt: int
    seed: int
    plan: PlanAnswer
    submitted_ms: int = Field(description="store time, Unix epoch")
    finished_ms: int | None
    latency_seconds: float | None = Field(description="measured, from arrival to the stored image; null without one")
    in_time: bool | None = Field(
        description="whether the image was stored by the deadline; null without a deadline, before the job has ended, "
        "and where it was cancelled"
    )
    timings: TimingsAnswer | None
    error: JobError | None
    image: str | None = Field(description="where the image lies, once there is one")
    output_format: ImageFormat


class JobCancelled(BaseModel):
    """The state of a job after DELETE."""

    id: str
    status: JobState


class JobEvent(BaseModel):
    """The data of one server-sent event."""

    kind: EventKind
    step: int
    total: int
    detail: str | None


class ModelAnswer(BaseModel):
    """A served model: OpenAI's fields and what requests to it may say."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "pacer"
    width: list[int] = Field(description="least, most and multiple, in pixels")
    height: list[int] = Field(description="least, most and multiple, in pixels")
    guidance_scale: float
    guidance_range: list[float] = Field(description="least and most")
    embedded_guidance: bool = Field(
        description="the network takes the guidance scale as an input, a step is one evaluation; true_cfg_scale adds "
        "classifier-free guidance"
    )
    sigma_range: list[float] = Field(description="least before the final 0, and most")
    prediction: str
    max_words: int | None
    max_steps: int
    default_steps: int
    distilled: bool = Field(description="taught to draw in default_steps; it has no searched schedules")
    solvers: list[str]
    grids: list[str] = Field(description="those of its noise, and its own; a flow's may be shift with any number")
    loras: list[str] = Field(description="those that requests may name")
    live_workers: int | None = Field(description="null while the store does not answer")


class ModelList(BaseModel):
    """All served models."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]


class ScheduleAnswer(BaseModel):
    """One entry of the registry."""

    id: str
    solver: str
    variant: str | None = Field(description="which of several artefacts of one solver; null is the plain one")
    steps: int
    evaluations: int = Field(description="network forwards for one guided image")
    order: int
    servable: bool
    method: str
    sigmas: list[float]
    networks: list[str] = Field(description="smaller networks that some of its rows run")
    psnr_db: PlannedQuality | None = Field(description="null where nobody measured it")
    quality: Share | None
    baselines_psnr_db: dict[str, Quality]
    guidance_range: list[float] = Field(description="least and most")
    measured_guidance_scale: float | None = Field(
        description="of `psnr_db`, `quality` and `baselines_psnr_db`; plans at another scale promise no quality"
    )


class ScheduleList(BaseModel):
    """All entries of a model."""

    model: str
    data: list[ScheduleAnswer]


class FrontierAnswer(BaseModel):
    """Quality against cost: the schedules of a model that none other beats, cheapest first."""

    model: str
    guidance_scale: float
    data: list[PlanAnswer] = Field(description="evaluations and predicted quality both rise from one to the next")


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(BaseModel):
    """The store answers and every served model has a live worker."""

    status: Literal["ready"] = "ready"
    workers: dict[str, int]
