"""What the routes share: the settings, the models, the schedules, the store and the metrics of one gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request

from app.schemas.budget import Budget
from pacer import models
from pacer.jobs.bound_plans import BoundPlans
from pacer.jobs.messages import Job, JobState, PictureFiles
from pacer.jobs.owners import EVERYBODY
from pacer.jobs.store import JobStore
from pacer.metrics import Metrics
from pacer.models import ModelCard
from pacer.settings import QualityLevel, Settings
from schedules.registry import Registry


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway process."""

    settings: Settings
    cards: Mapping[str, ModelCard]
    registry: Registry
    store: JobStore
    bound_plans: BoundPlans
    metrics: Metrics
    tiers: Mapping[QualityLevel, Budget]
    """What quality levels stand for."""
    again: Mapping[str, asyncio.Lock]
    """By model: those whose plan was stale plan again one after the other."""

    def card(self, model: str | None) -> ModelCard:
        """The card of a model by its id; the first served one when no id is given.

        Raises:
            PacerError: model_not_found.
        """
        card = models.choose(model, self.cards)
        structlog.contextvars.bind_contextvars(model=card.id)  # for the log, and the count of what is refused
        return card

    async def submit(
        self,
        jobs: Sequence[Job],
        picture: PictureFiles | None = None,
        owner: str = EVERYBODY,
        plan_id: str | None = None,
        promises: int | None = None,
    ) -> None:
        """Queue all jobs of an owner's request, of one plan, or none; `picture` is what they start from.

        A binding quote of this id is used up; `promises` are those of the load that they were planned on.

        Raises:
            PacerError: queue_full, plan_not_binding or store_unavailable.
            StaleLoadError: there are more promises by now.
        """
        plan = jobs[0].plan
        await self.store.submit(
            jobs,
            predicted_s=plan.predicted_seconds,
            picture=picture,
            owner=owner,
            plan_id=plan_id or "",
            promises=promises,
        )
        marks = (str(mark).lower() for mark in (plan.other_model, plan.interpolated))
        self.metrics.schedule_used.labels(plan.schedule, plan.solver, *marks).inc(len(jobs))
        if jobs[0].leeway is not None:
            for _ in jobs:
                self.metrics.planned_steps.labels(plan.model).observe(plan.steps)
        if plan.predicted_quality_db is not None:
            for _ in jobs:
                self.metrics.predicted_quality.labels(plan.model).observe(plan.predicted_quality_db[0])

    async def cancel(self, job_id: str) -> JobState:
        """End a job that waits or runs; returns the state it is in now.

        Raises:
            PacerError: job_not_found, job_gone or store_unavailable.
        """
        model = (await self.store.status(job_id)).plan.model
        state, ended_now = await self.store.cancel(job_id)
        if ended_now:
            self.metrics.jobs.labels(model, state).inc()
        return state


def _gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(_gateway_of)]
