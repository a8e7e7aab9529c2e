"""Every Prometheus metric of Pacer: names, help, labels, buckets.

Names have the prefix pacer_ and end in their base unit; labels are few and bounded (a schedule's id comes from the
registry, or is "custom"). One process is one scrape target: the gateway and each worker have a registry of their own
and expose the whole list; each observes what it does itself, so that sums over targets count nothing twice.

    metric                        type       observed by
    --------------------------------------------------------------------------------
    pacer_jobs_total              counter    who ends the job, see OUTCOMES
    pacer_job_e2e_seconds         histogram  worker, at finish
    pacer_latency_ratio           histogram  worker, at finish
    pacer_job_queue_seconds       histogram  worker, at claim
    pacer_stage_seconds           histogram  worker
    pacer_denoise_step_seconds    histogram  worker
    pacer_batch_size              histogram  worker
    pacer_job_nfe                 histogram  worker, at finish
    pacer_out_of_memory_total     counter    worker
    pacer_schedule_used_total     counter    gateway, at submission
    pacer_planned_steps           histogram  gateway, at submission
    pacer_refused_total           counter    gateway, of requests that queue nothing
    pacer_queue_depth             gauge      gateway, read from the store at scrape
    pacer_predicted_quality_db    histogram  gateway, at submission
    pacer_build_info              gauge      both
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

Outcome = Literal["completed", "failed", "cancelled", "expired"]
Stage = Literal["encode", "denoise", "decode", "encode_file", "store"]
Component = Literal["gateway", "worker"]

OUTCOMES: dict[Outcome, str] = {
    "completed": "counted by the worker that finished it",
    "failed": "counted by the worker that gave it up, or found its attempts used up",
    "cancelled": "counted by the gateway that was asked to",
    "expired": "counted by the worker that found its deadline passed",
}
STAGES: tuple[Stage, ...] = ("encode", "denoise", "decode", "encode_file", "store")

# fmt: off
JOB_SECONDS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300)
QUEUE_SECONDS = (0.005, 0.01, 0.025, 0.05, *JOB_SECONDS)
STAGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STEP_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
BATCH_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
EVALUATIONS = (1, 2, 4, 6, 8, 10, 12, 16, 20, 30, 40, 60, 100, 200)
RATIO = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 10)
STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 30, 50, 100)
QUALITY_DB = (10, 15, 17.5, 20, 22.5, 25, 27.5, 30, 32.5, 35, 40, 45, 50)
# fmt: on


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of one process, on its registry."""

    registry: CollectorRegistry
    jobs: Counter
    """Labels: model, outcome."""
    job_e2e: Histogram
    """Labels: model. Seconds from submission to the finished image."""
    latency_ratio: Histogram
    """Labels: model. The same, as a multiple of what the plan had predicted; of a request's images the last."""
    job_queue: Histogram
    """Labels: model. Seconds from submission to claim."""
    stage: Histogram
    """Labels: model, stage. Seconds per job; of denoise: from its first to its last step."""
    denoise_step: Histogram
    """Labels: model. Seconds of one turn of the batch."""
    batch_size: Histogram
    """Labels: model. Requests in one turn."""
    job_nfe: Histogram
    """Labels: model. Network evaluations of a finished job."""
    out_of_memory: Counter
    """Labels: model, stage (encode, denoise, decode, seat). Calls made again in parts, and jobs given back; each lowers
    the limit for its like."""
    schedule_used: Counter
    """Labels: schedule, solver, other_model and interpolated (true or false). Jobs submitted."""
    planned_steps: Histogram
    """Labels: model. Of jobs that leave their steps open under a deadline."""
    refused: Counter
    """Labels: model (a served one, or "other" where none is known), kind. Requests for images and quotes."""
    replanned: Counter
    """Labels: model, direction (more or fewer steps). Jobs that a worker planned anew."""
    express: Counter
    """Labels: model. Jobs with a deadline that a worker took in on an express seat, as its slots were taken."""
    queue_depth: Gauge
    """Labels: model. Set at scrape, from the store."""
    predicted_quality: Histogram
    """Labels: model. dB, the mean that the plan predicts."""


def make_metrics(component: Component, registry: CollectorRegistry | None = None) -> Metrics:
    """All metrics of a process on a registry, a new one unless given.

    Raises:
        ValueError: the registry has them already.
    """
    registry = registry or CollectorRegistry()
    # The library's own switch is one for the process; its `_created` series would double what is stored for no use.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library says no types here
    _build_info(component, registry)

    def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, ("model", *labels), buckets=buckets, registry=registry)

    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=registry)

    return Metrics(
        registry=registry,
        jobs=counter("pacer_jobs_total", "Jobs that ended.", "model", "outcome"),
        job_e2e=histogram("pacer_job_e2e_seconds", "From submission to the finished image.", JOB_SECONDS),
        latency_ratio=histogram(
            "pacer_latency_ratio", "From submission to the finished image, over what was predicted.", RATIO
        ),
        job_queue=histogram("pacer_job_queue_seconds", "From submission to a worker's claim.", QUEUE_SECONDS),
        stage=histogram("pacer_stage_seconds", "What a job spent in each stage.", STAGE_SECONDS, "stage"),
        denoise_step=histogram("pacer_denoise_step_seconds", "One turn of the batch.", STEP_SECONDS),
        batch_size=histogram("pacer_batch_size", "Requests in one turn of the batch.", BATCH_ROWS),
        job_nfe=histogram("pacer_job_nfe", "Network evaluations of a finished job.", EVALUATIONS),
        out_of_memory=counter(
            "pacer_out_of_memory_total",
            "Calls split, and jobs given back, for lack of memory.",
            "model",
            "stage",
        ),
        schedule_used=counter(
            "pacer_schedule_used_total",
            "Jobs submitted, by schedule.",
            "schedule",
            "solver",
            "other_model",
            "interpolated",
        ),
        planned_steps=histogram("pacer_planned_steps", "Steps planned for jobs that leave them open.", STEPS),
        refused=counter("pacer_refused_total", "Requests for images or quotes that were refused.", "model", "kind"),
        replanned=counter("pacer_replanned_total", "Jobs that a worker planned anew.", "model", "direction"),
        express=counter("pacer_express_total", "Jobs taken in on express seats, as all slots were taken.", "model"),
        queue_depth=Gauge("pacer_queue_depth", "Jobs that wait, in the store.", ("model",), registry=registry),
        predicted_quality=histogram(
            "pacer_predicted_quality_db", "PSNR to the teacher that the plan predicts, dB.", QUALITY_DB
        ),
    )


def _build_info(component: Component, registry: CollectorRegistry) -> None:
    try:
        release = version("pacer")
    except PackageNotFoundError:
        release = "uninstalled"
    info = Gauge("pacer_build_info", "What runs here; always 1.", ("component", "version", "python"), registry=registry)
    info.labels(component, release, python_version()).set(1)
