"""Rivals are searched by the errors of a model's pictures, where it gives them before rounding."""

from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from schedules.grids import shifted, uniform
from schedules.search.method import Sampler
from schedules.search.teacher import run_teacher
from workers.lab.comparing.ground import Ground
from workers.lab.comparing.searches import search_method
from workers.lab.model import LabModel
from workers.lab.seeds import seed_set
from workers.lab.subject import Subject

STEPS, SEEDS = 3, 16


def blank(latents: Tensor) -> Tensor:
    """Pictures that show nothing."""
    return 0 * latents


def found(name: str, model: LabModel) -> Sampler:
    problem = model.problem(seed_set(model.prompts, "calibration", SEEDS, 0), guidance_scale=1.5, batch=64)
    subject = Subject(model, lambda seeds, steps, nodes: run_teacher(seeds, steps, nodes=nodes))
    ground = Ground(problem, lambda: run_teacher(problem, 40, nodes=20), 1, subject)
    sampler = search_method(name, None, name).find(ground, [STEPS])[STEPS]
    assert isinstance(sampler, Sampler)
    return sampler


@pytest.mark.parametrize("name", ["s4s", "s4s_alt", "ld3", "evolution", "cma_es"])
def test_where_pictures_show_nothing_nothing_is_found(model: LabModel, name: str) -> None:
    by_latents, by_pictures = found(name, model), found(f"{name}_pictures", replace(model, paint=blank))
    assert by_pictures.table.difference(by_latents.table, tolerance=1e-3) is not None
    if name != "cma_es":  # which begins anywhere
        begun = uniform(STEPS) if name == "evolution" else shifted(STEPS, 3.0)
        np.testing.assert_allclose(by_pictures.sigmas, begun, atol=0.03)  # evolution has the teacher's nodes
