"""The narrower network learns what the model's own network says, whether interrupted or not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from rich.progress import Progress
from transformers import PreTrainedTokenizerFast

from tests.workers.interrupting import Interrupting
from tests.workers.shapes.conftest import TINY
from workers.shapes import averaged
from workers.shapes.pool import Pool
from workers.shapes.train_flow import FlowModel
from workers.shapes.train_smaller import distil, error

CPU = torch.device("cpu")


@pytest.fixture
def teacher(tokenizer: PreTrainedTokenizerFast) -> FlowModel:
    torch.manual_seed(1)
    model = FlowModel(replace(TINY, width=64), tokenizer)
    torch.nn.init.normal_(model.transformer.proj_out.weight, std=0.3)
    return model.eval().requires_grad_(requires_grad=False)


def test_it_learns_what_the_teacher_says(teacher: FlowModel, pool: Pool, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=60, warmup_steps=5, average_decay=0.9)
    errors = []
    for steps in (1, 60):
        student = distil(
            tmp_path / str(steps), teacher, pool, replace(recipe, steps=steps),
            device=CPU, progress=Progress(disable=True),
        )  # fmt: skip
        errors.append(error(student, teacher, pool, recipe, CPU))
    assert errors[1] < 0.7 * errors[0]


def test_interrupted_it_ends_as_an_uninterrupted_one(
    teacher: FlowModel, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(averaged, "_SAVE_EVERY", 2)

    def train(folder: str, progress: Progress) -> SD3Transformer2DModel:
        return distil(tmp_path / folder, teacher, pool, TINY, device=CPU, progress=progress)

    whole = train("whole", Interrupting(99))
    with pytest.raises(KeyboardInterrupt):
        train("parts", Interrupting(3))
    again = train("parts", Interrupting(99))
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
