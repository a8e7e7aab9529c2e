"""The gateway's application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from redis.asyncio import Redis

import pacer
from app import problems
from app.api import edits, health, images, jobs, models, plan
from app.auth import BearerKeys, check_digests
from app.context import RequestContext
from app.gateway import Gateway
from app.tiers import tiers_of
from pacer.jobs.bound_plans import BoundPlans
from pacer.jobs.connection import connect_async
from pacer.jobs.store import JobStore
from pacer.metrics import make_metrics
from pacer.models import served
from pacer.settings import Settings
from schedules.registry import Registry

_STATIC = Path(__file__).parent / "static"
_PAGE_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"


def create_app(settings: Settings) -> FastAPI:
    """The application of one gateway process.

    Raises:
        ValueError: the settings cannot be served: no store, a missing model card, a malformed key or artefact.
    """
    if settings.redis_url is None:
        raise ValueError("PACER_REDIS_URL must name the store; `pacer up` starts one of its own")
    check_digests(settings.api_keys)
    client = connect_async(settings.redis_url)
    store = JobStore(client, settings)
    cards = served(settings)
    gateway = Gateway(
        settings=settings,
        cards=cards,
        registry=Registry.load(settings.registry_dir),
        store=store,
        bound_plans=BoundPlans(client),
        metrics=make_metrics("gateway"),
        tiers=tiers_of(settings, cards.values()),
        again={model: asyncio.Lock() for model in cards},
    )
    app = FastAPI(
        title="Pacer",
        version=pacer.__version__,
        description="Images under a budget: say how many network steps you can spend.",
        lifespan=_closing(store, client),
        redirect_slashes=False,
        # The framework's own pages load their scripts from elsewhere; a gateway may have no internet.
        docs_url=None,
        redoc_url=None,
    )
    app.state.gateway = gateway
    _add_routes(app, needs_key=bool(settings.api_keys))
    problems.install(app)
    app.openapi = partial(_document, app)  # type: ignore[method-assign]
    if settings.api_keys:
        app.add_middleware(BearerKeys, digests=settings.api_keys)
    app.add_middleware(RequestContext)
    return app


def _closing(store: JobStore, client: Redis) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await store.close()
            await client.aclose()

    return lifespan


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the errors' schemas, which the framework cannot place under their media type."""
    document = FastAPI.openapi(app)
    document["components"]["schemas"].update(problems.schemas())
    return document


def _add_routes(app: FastAPI, *, needs_key: bool) -> None:
    # The middleware checks the key; this only documents it.
    documented = [Depends(HTTPBearer(auto_error=False))] if needs_key else []
    for module in (images, edits, jobs, plan, models):
        app.include_router(module.router, dependencies=documented)
    app.include_router(health.router)
    app.mount("/static/swagger", StaticFiles(packages=[("fastapi_swagger", "resources")]), name="swagger")
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html", headers={"Content-Security-Policy": _PAGE_POLICY})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(_STATIC / "docs.html", headers={"Content-Security-Policy": _PAGE_POLICY})
