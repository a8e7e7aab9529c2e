"""The worker's commands: what cannot be done is told before anything is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from pacer.models import CARD_NAME, Distilled, load
from pacer.settings import Settings
from workers.cli import schedules


@pytest.fixture
def turbo(tmp_path: Path) -> Path:
    card = load("shapes-64").model_copy(update={"id": "turbo", "distilled": Distilled(native_steps=4)})
    (tmp_path / CARD_NAME).write_text(card.model_dump_json())
    return tmp_path


def test_a_distilled_model_has_no_schedules_to_search(turbo: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "schedules", "search", "--budgets", "4", "--model", str(turbo)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("pacer: turbo is distilled to 4 steps: it has no many-step teacher")


@pytest.mark.parametrize("how", ["--model={}", "--model {}", "--seeds=4 --model {} --budgets=2", ""])
def test_however_the_model_is_named(turbo: Path, how: str) -> None:
    settings = Settings(models=(str(turbo),))
    with pytest.raises(ValueError, match="turbo is distilled"):
        schedules(settings, ["search", *how.format(turbo).split()])


def test_help_is_given_for_any_model(turbo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schedules(Settings(models=(str(turbo),)), ["search", "--help"]) == 0
    assert "--budgets" in capsys.readouterr().out
