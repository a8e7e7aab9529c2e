"""One closed list of what can go wrong.

Kind                  HTTP  label                 raised by
------------------------------------------------------------------------------------------
invalid_request       422   invalid_request       the gateway, on a bad field
malformed_body        400   malformed_body        the gateway, on a body that is not JSON
body_too_large        413   body_too_large        the gateway
unauthorized          401   unauthorized          the gateway
model_not_found       404   model_not_found       the planner
schedule_not_found    404   schedule_not_found    the planner
schedule_mismatch     409   schedule_mismatch     the planner, on another model's or solver's schedule
plan_not_binding      409   plan_not_binding      the gateway, on a plan_id that is used, late or not for this
job_not_found         404   job_not_found         the gateway
job_not_finished      409   job_not_finished      the gateway, on an image asked for too early
job_gone              410   job_gone              the gateway, on a result past its time
job_cancelled         409   job_cancelled         the gateway
queue_full            429   queue_full            the store
deadline_unreachable  429   deadline_unreachable  the planner, while others are before it
deadline_passed       504   deadline_passed       the worker or the gateway
worker_failed         500   worker_failed         the worker, when its attempts are used up
not_finite            500   not_finite            the worker, when a picture overflowed
store_unavailable     503   store_unavailable     the gateway
no_worker             503   no_worker             the gateway
internal              500   internal              anybody: this is a bug
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class _Description:
    status: int
    title: str
    advice: str


class ErrorKind(Enum):
    """What went wrong; each kind has its HTTP status, problem type, metric label and advice."""

    invalid_request = _Description(422, "Invalid request", "Correct the named field and send the request again.")
    malformed_body = _Description(
        400,
        "Malformed body",
        "Send a JSON object with content-type application/json, or a form where one is asked for.",
    )
    body_too_large = _Description(413, "Body too large", "Send a smaller body.")
    unauthorized = _Description(401, "Unauthorized", "Send a valid key as 'Authorization: Bearer KEY'.")
    model_not_found = _Description(404, "Model not found", "Choose a model from GET /v1/models.")
    schedule_not_found = _Description(
        404, "Schedule not found", "Choose a schedule from GET /v1/models/{model}/schedules."
    )
    schedule_mismatch = _Description(
        409, "Schedule mismatch", "A schedule belongs to one model and one solver; leave it out to get the right one."
    )
    plan_not_binding = _Description(
        409, "Plan not binding", "Get a plan_id from POST /v1/plan for this very request, and use it once, in time."
    )
    job_not_found = _Description(404, "Job not found", "Check the id; jobs are forgotten some time after they end.")
    job_not_finished = _Description(409, "Job not finished", "Follow its events, or ask again later.")
    job_gone = _Description(410, "Result gone", "Submit the job again; results are kept for a limited time.")
    job_cancelled = _Description(409, "Job cancelled", "Submit the job again if you want its image.")
    queue_full = _Description(429, "Queue full", "Send the request again after the time given in Retry-After.")
    deadline_unreachable = _Description(
        429, "Deadline unreachable", "Allow more time or spend less, or send it again after the time in Retry-After."
    )
    deadline_passed = _Description(504, "Deadline passed", "Allow more time, or spend fewer steps.")
    worker_failed = _Description(500, "Worker failed", "Send the request again; tell the operator if it fails again.")
    not_finite = _Description(
        500, "Image not finite", "The network overflowed on this request; change its seed, guidance or schedule."
    )
    store_unavailable = _Description(503, "Store unavailable", "Send the request again in a few seconds.")
    no_worker = _Description(503, "No worker", "No worker serves this model now; start one, or try again later.")
    internal = _Description(500, "Internal error", "This is a bug; please report it with the request id.")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value.status

    @property
    def title(self) -> str:
        """A short name for people, the same for every occurrence."""
        return self.value.title

    @property
    def advice(self) -> str:
        """One sentence: what to do next."""
        return self.value.advice

    @property
    def label(self) -> str:
        """The metric label and the tail of the problem type."""
        return self.name


class PacerError(Exception):
    """An error of a known kind.

    Attributes:
        kind: which of the closed list.
        detail: what is wrong here and what is allowed, one or two sentences.
        field: the request field to blame, dotted, if there is one.
        retry_after_s: seconds after which it is worth trying again, if known.
        extra: further facts for the answer's body, JSON values.
    """

    def __init__(
        self,
        kind: ErrorKind,
        detail: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s
        self.extra = extra or {}
