"""Whether the process lives, whether it can serve, what it measured, and what its problems mean."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import pacer
from app.gateway import Gateway, GatewayDep
from app.problems import describe, describe_not_found
from app.schemas.answers import Health, Readiness
from pacer.errors import ErrorKind, PacerError

router = APIRouter(tags=["health"])


class ProblemKind(BaseModel):
    """One kind of the closed list of errors."""

    kind: str
    title: str
    status: int
    advice: str


@router.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """The process answers."""
    return Health(version=pacer.__version__)


@router.get("/readyz", response_model=Readiness, responses=describe(ErrorKind.store_unavailable, ErrorKind.no_worker))
async def readyz(gateway: GatewayDep) -> Readiness:
    """The store answers and every served model has a live worker."""
    await gateway.store.ping()
    workers = {model: await gateway.store.live_workers(model) for model in gateway.cards}
    idle = [model for model, count in workers.items() if not count]
    if idle:
        raise PacerError(ErrorKind.no_worker, f"no live worker for {', '.join(idle)}.", extra={"workers": workers})
    return Readiness(workers=workers)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(gateway: GatewayDep) -> Response:
    """Prometheus metrics of this gateway; the queue depth is read from the store now."""
    await _read_depths(gateway)
    return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _read_depths(gateway: Gateway) -> None:
    """A depth that cannot be read is left out rather than shown old."""
    gateway.metrics.queue_depth.clear()
    for model in gateway.cards:
        try:
            depth = await gateway.store.depth(model)
        except PacerError:
            return
        gateway.metrics.queue_depth.labels(model=model).set(depth)


@router.get("/problems/{kind}", response_model=ProblemKind, responses=describe_not_found("No such kind"))
async def problem(kind: str) -> ProblemKind:
    """What a problem type means and what to do about it."""
    known = ErrorKind.__members__.get(kind)
    if known is None:
        raise HTTPException(404)
    return ProblemKind(kind=known.label, title=known.title, status=known.status, advice=known.advice)
