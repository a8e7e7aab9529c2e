"""What travels through the store: frozen, typed, self-contained. A worker needs nothing but the job to draw it."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
import numpy as np

from schedules.table import BaseKind, Table, UncondMode

JobState = Literal["queued", "running", "completed", "failed", "cancelled", "expired"]
ImageFormat = Literal["png", "jpeg", "webp"]
MaskKind = Literal["white", "alpha"]
EventKind = Literal["queued", "started", "step", "requeued", "completed", "failed", "cancelled", "expired"]
Verdict = Literal["ok", "cancelled", "fenced"]
"""What the store says of a job that a worker holds: go on, stop because nobody wants it, or stop because it is lost."""

TERMINAL: frozenset[JobState] = frozenset({"completed", "failed", "cancelled", "expired"})


class TableMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Table on the wire: little-endian float64 bytes, row-major."""

    t: bytes
    c: bytes
    w: bytes
    uncond: tuple[UncondMode, ...]
    X: bytes
    base: tuple[BaseKind, ...]
    original: bytes = b""
    """Of a table with blends."""
    networks: tuple[str, ...] = ()
    """Of a table with rows for smaller networks."""

    @classmethod
    def of(cls, table: Table) -> TableMessage:
        """Pack a table."""
        t, c, w, rows = (np.ascontiguousarray(a, dtype="<f8").tobytes() for a in (table.t, table.c, table.w, table.X))
        original = b"" if table.original is None else np.ascontiguousarray(table.original, dtype="<f8").tobytes()
        return cls(t, c, w, table.uncond, rows, table.base, original, table.networks)

    def table(self) -> Table:
        """Unpack and check the table.

        Raises:
            TableError: the numbers are no sampler.
        """
        t, c, w, rows = (np.frombuffer(data, dtype="<f8") for data in (self.t, self.c, self.w, self.X))
        original = np.frombuffer(self.original, dtype="<f8").reshape(-1, 2) if self.original else None
        return Table(t, c, w, self.uncond, rows.reshape(len(t) + 1, -1), self.base, original, self.networks)


class Lora(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A LoRA that an image is drawn with."""

    name: str
    """Of a file that the model is offered with."""
    scale: float = 1.0
    """What its weights are multiplied by."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the gateway decided to spend, and what it expects for it."""

    model: str
    schedule: str
    """Registry id model/solver/steps or model/solver@variant/steps, the name of a grid, or 'custom'."""
    solver: str
    steps: int
    evaluations: int
    """Network forwards for one image, guidance counted."""
    sigmas: tuple[float, ...]
    predicted_seconds: float | None
    """Service time of one image without queueing, None until a worker has measured."""
    predicted_quality_db: tuple[float, float, float] | None
    """PSNR to the teacher: mean, low, high; None without evidence."""
    predicted_quality: tuple[float, float, float] | None = None
    """Share of the teacher's quality: mean, low, high; None without evidence."""
    kept_psnr_db: tuple[tuple[float, float], ...] = ()
    """Shares of the pictures, rising, and the PSNR to the teacher that so many have at the least."""
    kept_ssim: tuple[tuple[float, float], ...] = ()
    """The same of SSIM, where quality is no task score."""
    predicted_wait_seconds: float | None = None
    """What others add to it, and to the last of several images those before it; None until a worker has measured."""
    latency_seconds: tuple[float, float] | None = None
    """From arrival to the last image: what half of such images take at the most, and 95 of 100; None likewise."""
    other_model: bool = False
    """Whether the schedule was optimised on another model or other weights, and runs because the caller allowed it."""
    interpolated: bool = False
    """Whether it was made from those of neighbouring budgets, or the caller allowed it beyond its guidance or size."""
    by_prompt: bool = False
    """Whether the quality was told from the words of the prompt, rather than from pictures of all prompts."""
    replanned: tuple[int, int] | None = None
    """Steps that it was to have at first, and how many of them were made when it was planned anew; None if never."""
    lora: tuple[Lora, ...] = ()
    """What the model is drawn with, by name; the schedule was searched, and its quality measured, without."""
    sized_forwards: int | None = None
    """Forwards of the model's default size that take as long; None where the image is of that size."""

    @property
    def work(self) -> int:
        """What one image adds to the work of workers, in forwards of the model's default size."""
        return self.evaluations if self.sized_forwards is None else self.sized_forwards


class Leeway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller left open, so that a worker may plan anew."""

    least_steps: int
    most_steps: int
    evaluations: int | None = None
    """Most forwards of the network for one image."""


class PictureInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of the picture that a job starts from; its files travel beside the job."""

    width: int
    """Pixels of the file, as its header says."""
    height: int
    mask: MaskKind | None = None
    """What a mask file says with: white is repainted, or what is transparent; None without a mask."""
    resize: bool = False
    """Whether to scale the picture, and the mask, to the job's width and height."""
    strength: float | None = None
    """The caller's; None where the sigmas say where to start."""


class PictureFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of the picture that a job starts from."""

    image: bytes
    mask: bytes = b""
    """Empty without one."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One image to draw."""

    id: str
    prompt: str
    negative_prompt: str
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    width: int
    height: int
    guidance_scale: float
    plan: Plan
    table: TableMessage
    image_format: ImageFormat = "png"
    compression: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    """Quality 0..100 of jpeg and webp."""
    embed_metadata: bool = True
    """Whether a PNG carries prompt, seed, model and schedule."""
    deadline_s: float | None = None
    """Seconds from arrival after which the image is worth nothing."""
    picture: PictureInput | None = None
    """What it starts from instead of noise alone."""
    true_cfg_scale: float = 1.0
    """Of classifier-free guidance on top of a scale that the network takes as an input; 1 means none."""
    leeway: Leeway | None = None
    """What a worker may plan anew; None where it must keep to the plan."""
    last: bool = True
    """Whether it is the last of its request's images, which what the plan tells of time is for."""

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.width * self.height

    @property
    def model(self) -> str:
        """The model that draws it."""
        return self.plan.model


class Claim(msgspec.Struct, frozen=True):
    """A job handed to a worker, with the fence that its results must carry."""

    job: Job
    fence: int
    """Larger than those of all claims of this job before."""
    attempt: int
    """1 on the first try."""
    submitted_ms: int
    """Store time."""
    claimed_ms: int
    """Store time."""
    picture: PictureFiles | None = None
    """What the job starts from, if it starts from a picture."""
    claimed_s: float = msgspec.field(default_factory=time.monotonic)
    """The same moment on the worker's own clock, for durations."""


STEPS_TOLD_S = 0.1
"""Seconds between two tellings of the steps that a worker made."""


class Progress(msgspec.Struct, frozen=True):
    """How far a worker is with a job that it holds."""

    id: str
    fence: int
    """The one of the claim."""
    step: int
    """Evaluations done, 0..total."""


class WorkerSpeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker measured of itself, seconds, at the model's default size; the planner predicts from it."""

    turn_seconds: float
    """One network call, whatever is in it."""
    row_seconds: float
    """What each row of the call adds: one forward for one image."""
    encode_seconds: float
    """The prompt of one image."""
    decode_seconds: float
    """Latents to pixels of one image."""
    rows: float = 16.0
    """Most rows of a call."""
    deliver_seconds: float = 0.0
    """Pixels to the caller's hands: the file, the store, and the gateway's answer."""
    half_within: float = 1.0
    """Half of the images of late took, from arrival, no more than so many times what was predicted."""
    most_within: float = 1.0
    """The same of 95 of 100."""
    pixels: float = 0.0
    """Width x height of the default size; 0 where nobody said them, and all sizes count alike."""
    sizes: dict[int, float] = {}
    """Of other sizes that were drawn: their pixels, and what each row of them adds to a call."""


class Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds that a finished job took."""

    queue: float
    encode: float
    denoise: float
    decode: float
    service: float
    """From the claim until the file is ready to be stored."""


class JobStatus(msgspec.Struct, frozen=True):
    """What is known of a job."""

    id: str
    status: JobState
    step: int
    total: int
    plan: Plan
    attempt: int
    submitted_ms: int
    finished_ms: int | None
    timings: Timings | None
    error_kind: str | None
    error_detail: str | None
    image_format: ImageFormat
    seed: int
    deadline_ms: int | None = None
    """None without one."""

    @property
    def latency_s(self) -> float | None:
        """Seconds from arrival to the stored image; None without one."""
        if self.status != "completed" or self.finished_ms is None:
            return None
        return (self.finished_ms - self.submitted_ms) / 1000

    @property
    def in_time(self) -> bool | None:
        """Whether its image was stored by the deadline; None without one, before it ended, and if it was cancelled."""
        if self.deadline_ms is None or self.finished_ms is None or self.status == "cancelled":
            return None
        return self.status == "completed" and self.finished_ms <= self.deadline_ms


class Event(msgspec.Struct, frozen=True):
    """One entry of a job's event stream."""

    id: str
    """Stream id, as SSE's Last-Event-ID has it."""
    kind: EventKind
    step: int
    total: int
    detail: str | None = None
