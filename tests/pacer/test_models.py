from __future__ import annotations

import json
from pathlib import Path

import pytest

from pacer.errors import ErrorKind, PacerError
from pacer.models import CARD_NAME, CardError, Distilled, count_words, find, load, require_teacher, served, source_of
from pacer.settings import Settings
from schedules.artefact import BetaSchedule

CARD = load("shapes-64")
BETAS = BetaSchedule(kind="scaled_linear", beta_start=0.00085, beta_end=0.012)


def put_card(folder: Path, **changes: object) -> str:
    folder.mkdir(exist_ok=True)
    card = CARD.model_copy(update=changes)
    (folder / CARD_NAME).write_text(card.model_dump_json())
    return str(folder)


def test_the_shipped_card_draws_one_size() -> None:
    assert CARD.allows(64, 64)
    assert not CARD.allows(64, 128)
    assert (CARD.sizes, CARD.default_size) == ("64x64", (64, 64))


def test_sizes_come_in_steps() -> None:
    card = CARD.model_copy(update={"width": (64, 256, 32), "height": (64, 128, 64)})
    assert card.allows(96, 128)
    assert not card.allows(97, 128)
    assert not card.allows(288, 128)
    assert card.default_size == (256, 128)
    assert card.sizes == "width 64 to 256 in steps of 32, height 64 to 128 in steps of 64"


def test_a_folder_brings_its_own_card(tmp_path: Path) -> None:
    folder = put_card(tmp_path / "mine", id="me/mine")
    settings = Settings(models=("shapes-64", folder))
    assert list(served(settings)) == ["shapes-64", "me/mine"]
    assert find(folder, settings) == find("me/mine", settings)


def test_a_worker_finds_a_served_folder_by_the_id_in_its_card(tmp_path: Path) -> None:
    folder = put_card(tmp_path / "mine", id="me/mine")
    settings = Settings(models=("shapes-64", folder))
    assert [source_of(name, settings) for name in ("me/mine", folder)] == [folder, folder]
    assert [source_of(name, settings) for name in ("shapes-64", None)] == ["shapes-64", "shapes-64"]
    assert source_of("elsewhere", settings) == "elsewhere"


def test_an_unknown_model_is_told_which_are_served() -> None:
    with pytest.raises(PacerError, match="served: shapes-64") as caught:
        find("dall-e-3", Settings())
    assert caught.value.kind is ErrorKind.model_not_found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": (64, 32, 8)}, "width"),
        ({"height": (64, 70, 8)}, "height"),
        ({"guidance_scale": 30.0}, "guidance_scale"),
        ({"guidance_range": (0.0, 5.0)}, "guidance_scale"),
        ({"sigma_min": 1.0}, "sigma_min"),
        ({"id": "two--dashes"}, "id"),
        ({"prediction": "epsilon"}, "prediction"),
        ({"noise": BETAS}, "prediction: a model of 'flow' has no noise"),
        ({"solver": "rk45"}, "solver: must be one of euler"),
        ({"grid": "karas"}, "grid: must be one of uniform"),
        ({"size": (64, 65)}, "size: must be one of 64x64"),
        ({"sigma_max": 1.5}, "sigma_max: must be at most 1"),
        ({"prediction": "epsilon", "noise": BETAS}, "grid: must be one of karras"),
        ({"prediction": "epsilon", "noise": BETAS, "grid": "karras", "sigma_max": 20.0}, "sigma_max: must be at most"),
    ],
)
def test_a_malformed_card_is_refused_by_field(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(CardError, match=said):
        load(put_card(tmp_path / "bad", **changes))


def test_a_distilled_model_has_native_steps_and_no_teacher(tmp_path: Path) -> None:
    turbo = load(put_card(tmp_path / "turbo", id="me/turbo", distilled=Distilled(native_steps=4)))
    assert (turbo.default_steps(10), CARD.default_steps(10)) == (4, 10)
    require_teacher(CARD)
    with pytest.raises(CardError, match="me/turbo is distilled to 4 steps: it has no many-step teacher"):
        require_teacher(turbo)


@pytest.mark.parametrize("native_steps", [0, "four", 2.5])
def test_native_steps_are_a_number_of_steps(tmp_path: Path, native_steps: object) -> None:
    folder = put_card(tmp_path / "bad")
    fields = json.loads((tmp_path / "bad" / CARD_NAME).read_text())
    (tmp_path / "bad" / CARD_NAME).write_text(json.dumps({**fields, "distilled": {"native_steps": native_steps}}))
    with pytest.raises(CardError, match=r"distilled\.native_steps"):
        load(folder)


@pytest.mark.parametrize("models", [(), ("shapes-64", "shapes-64"), ("nowhere",)])
def test_models_that_cannot_be_served_are_refused(models: tuple[str, ...]) -> None:
    with pytest.raises(CardError):
        served(Settings(models=models))


def test_words_are_counted_as_a_word_level_tokenizer_does() -> None:
    assert count_words("a red circle, above  a blue-ish square!") == 8
    assert count_words(" ... ") == 0
