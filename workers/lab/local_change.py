"""Where a teacher's velocity turns, on a few held-out seeds."""

from __future__ import annotations

from pathlib import Path

from pacer.settings import Settings
from schedules.artefact import Schedule
from schedules.search.teacher import run_teacher
from workers.lab.loading import open_model, served_as
from workers.lab.seeds import seed_set
from workers.lab.show import LocalChange
from workers.lab.store import LabStore

_SEEDS, _STEPS = 16, 60


def measure_local_change(schedule: Schedule, settings: Settings, prompts: Path | None, data: Path) -> LocalChange:
    """The curve at a schedule's guidance scale.

    Args:
        schedule: whose model.
        settings: where models lie.
        prompts: of the curve, for models but shapes-64.
        data: where teachers are kept.
    """
    lab = open_model(served_as(schedule.model, settings), settings, prompts)
    guidance = float(schedule.provenance.parameters["guidance_scale"])
    seeds = seed_set(lab.prompts, "held-out", _SEEDS, 0)
    key = {**lab.identity, "curve": lab.weights_sha256, "prompts": seeds.prompts_sha256, "guidance_scale": guidance}
    problem = lab.problem(seeds, guidance_scale=guidance, batch=_SEEDS)
    teacher = LabStore(data).teacher(key, lab.device, lambda: run_teacher(problem, _STEPS))
    return LocalChange(teacher.sigmas[1:-1], teacher.local_change())
