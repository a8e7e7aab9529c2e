"""An artefact of the registry, and the model that it is for."""

from __future__ import annotations

from pathlib import Path

from pacer.settings import Settings
from schedules.artefact import Schedule
from schedules.registry import Registry
from workers.lab.loading import open_model, served_as
from workers.lab.misfit import misfit
from workers.lab.model import LabModel


def find_artefact(registry: Registry, artefact: str) -> Schedule:
    """The artefact of a name as MODEL/SOLVER[@VARIANT].

    Raises:
        ValueError: there is none; names those that there are.
    """
    model, _, solver = artefact.rpartition("/")
    for schedule in registry.schedules(model):
        if schedule.solver_id == solver:
            return schedule
    known = ", ".join(f"{each.model}/{each.solver_id}" for each in registry.artefacts) or "none"
    raise ValueError(f"artefact: no {artefact!r}; there are {known}")


def open_model_of(schedule: Schedule, settings: Settings, prompts: Path | None) -> LabModel:
    """Load the model that an artefact is for.

    Args:
        schedule: the artefact.
        settings: which models are served, and where.
        prompts: a file of prompts for models that bring none.

    Raises:
        ValueError: what is served under its name is another model, or as open_model.
    """
    lab = open_model(served_as(schedule.model, settings), settings, prompts)
    if wrong := misfit(schedule, lab):
        raise ValueError(f"{schedule.model}/{schedule.solver_id}: {wrong}")
    return lab
