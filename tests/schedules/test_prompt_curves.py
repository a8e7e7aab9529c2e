"""Error curves that follow from the words of a prompt."""

from __future__ import annotations

import numpy as np
import pytest

from schedules.evidence import Evidence, Figure, Kept
from schedules.prompt_curves import PromptCurves, words_of
from schedules.search.prompt_fit import PromptErrors, fit_prompts
from schedules.search.prompt_saving import saving

COLOURS, SHAPES = ("red", "green", "blue", "cyan"), ("circle", "square", "star")
STEPS = (2, 4, 8)


def errors(
    count: int, *, spread: float = 2.0, quality: bool = False, single: bool = False, seed: int = 0
) -> PromptErrors:
    """Stars are 6 dB harder, and blue is 2 dB easier; the rest is chance."""
    draws = np.random.default_rng(seed)
    colours, shapes = draws.choice(COLOURS, count), draws.choice(SHAPES, count)
    prompts = tuple(f"A {colour} {shape}, please." for colour, shape in zip(colours, shapes, strict=True))
    level = 30.0 - 6.0 * (shapes == "star") + 2.0 * (colours == "blue")
    psnr_db = level[:, None] + np.array([0.0, 8.0, 16.0]) + 2.0 * draws.normal(size=(count, 3))
    share = np.clip(psnr_db / 50, 0, 1) if quality else None
    return PromptErrors(prompts, STEPS, psnr_db, share, single=single)


FIGURE = Figure(mean=36.5, low=36.0, high=37.0)
SHOWN = Evidence(psnr_db=FIGURE, latent_mse=FIGURE, seeds=64, seed_offset=0, teacher_steps=50)


def test_words_are_told_apart_whatever_their_case_and_marks() -> None:
    assert words_of("A red circle, a RED star!") == ("a", "circle", "red", "star")


def test_a_fit_finds_what_each_word_costs() -> None:
    curves = fit_prompts(errors(1200))
    star, circle, blue = (curves.of(f"a {words} please") for words in ("red star", "red circle", "blue circle"))
    assert star is not None
    assert circle is not None
    assert blue is not None
    assert np.subtract(circle.psnr_db, star.psnr_db) == pytest.approx([6, 6, 6], abs=0.6)
    assert np.subtract(blue.psnr_db, circle.psnr_db) == pytest.approx([2, 2, 2], abs=0.6)
    assert circle.psnr_db == pytest.approx([30, 38, 46], abs=0.6)
    variance = 6.0**2 * (1 / 3) * (2 / 3) + 2.0**2 * (1 / 4) * (3 / 4)
    assert curves.psnr_db.explained == pytest.approx([variance / (variance + 4)] * 3, abs=0.05)


def test_floors_are_kept_by_the_share_that_was_promised_of_new_prompts() -> None:
    curves, new = fit_prompts(errors(800)), errors(4000, seed=1)
    for share in (0.5, 0.9, 0.98):
        for place, steps in enumerate(STEPS):
            told = [curves.of(prompt) for prompt in new.prompts]
            least = [0.0 if each is None else each.evidence(steps, SHOWN).psnr_db_of(share) for each in told]
            kept = (new.psnr_db[:, place] >= np.array(least, dtype=np.float64)).mean()
            assert share - 0.01 <= kept <= share + 0.5 * (1 - share) + 0.02


def test_where_words_tell_nothing_they_are_given_no_weight() -> None:
    draws = np.random.default_rng(3)
    noise = PromptErrors(errors(400).prompts, STEPS, 30 + 5 * draws.normal(size=(400, 3)))
    curves = fit_prompts(noise)
    assert np.abs(curves.psnr_db.each).max() < 1.0
    assert max(curves.psnr_db.explained) < 0.02


def test_of_unknown_words_nothing_is_told() -> None:
    curves = fit_prompts(errors(200))
    assert curves.of("a photograph of an astronaut on a horse") is None
    assert curves.of("") is None
    assert curves.of("a red circle somewhere") is not None


def test_evidence_moves_to_the_prompt() -> None:
    curves = fit_prompts(errors(800, quality=True, single=True))
    figure = Figure(mean=36.5, low=36.0, high=37.0)
    shown = Evidence(
        psnr_db=figure, kept_psnr_db=(Kept(by=0.9, least=30.0),), latent_mse=figure,
        quality=Figure(mean=0.73, low=0.72, high=0.75), seeds=64, seed_offset=0, teacher_steps=50,
    )  # fmt: skip
    told = curves.of("a red star please")
    assert told is not None
    moved = told.evidence(4, shown)
    assert moved.psnr_db.mean == pytest.approx(32.0, abs=0.7)
    assert moved.psnr_db.mean - moved.psnr_db.low == pytest.approx(0.5)
    least = moved.psnr_db_of(0.9)
    assert least == pytest.approx(32.0 - 1.28 * 2, abs=0.7)
    assert curves.needed_psnr_db(least, 4, 0.9) == pytest.approx(told.psnr_db[1])
    assert curves.needed_psnr_db(least, 4, 0.99) == np.inf, "of so many nobody measured it"
    assert moved.quality is not None
    assert moved.quality.mean == pytest.approx(0.64, abs=0.02)
    least = moved.quality_of(0.9)
    assert least is not None
    assert told.quality is not None
    assert curves.needed_quality(least, 4, 0.9, shown) == pytest.approx(told.quality[1])
    assert (told.knows(4), told.knows(5)) == (True, False)


def test_of_a_task_score_the_interval_is_taken_over() -> None:
    curves = fit_prompts(errors(400, quality=True))
    figure = Figure(mean=36.5, low=36.0, high=37.0)
    shown = Evidence(
        psnr_db=figure, latent_mse=figure, quality=Figure(mean=0.73, low=0.70, high=0.75), seeds=64, seed_offset=0,
        teacher_steps=50,
    )  # fmt: skip
    told = curves.of("a red star please")
    assert told is not None
    assert told.quality is not None
    assert curves.needed_quality(0.5, 4, 0.9, shown) == pytest.approx(0.53)
    assert told.evidence(4, shown).kept_ssim == ()


def test_curves_are_kept_as_json() -> None:
    curves = fit_prompts(errors(200, quality=True))
    again = PromptCurves.model_validate_json(curves.model_dump_json())
    assert again == curves
    with pytest.raises(ValueError, match="one value for each of the 2 budgets"):
        PromptCurves.model_validate_json(curves.model_copy(update={"steps": (2, 4)}).model_dump_json())


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 prompts, there are 7"):
        fit_prompts(errors(7))


def test_the_saving_is_measured_at_equal_mean_quality() -> None:
    measured = np.array([[10.0, 20.0, 30.0], [0.0, 10.0, 20.0]])
    steps = np.array([2.0, 4.0, 6.0])
    same = saving(15.0, np.tile(measured.mean(0), (2, 1)), measured, steps)
    assert (same.evaluations, same.fixed, same.share) == (4.0, 4.0, 0.0)
    by_prompt = saving(20.0, measured, measured, steps)
    assert (by_prompt.quality, by_prompt.evaluations, by_prompt.fixed) == (20.0, 5.0, 5.0), (
        "straight curves save nothing"
    )
    bent = np.array([[19.0, 20.0, 20.0], [5.0, 12.0, 20.0]])
    told = saving(19.0, bent, bent, steps)
    assert told.quality == pytest.approx(19.5)
    assert told.evaluations == 4.0
    assert told.fixed == pytest.approx(4 + 2 * 3.5 / 4)


def test_a_quality_of_which_words_tell_nothing_is_left_to_all_pictures() -> None:
    chance = np.random.default_rng(4).random((400, 3))
    known = errors(400)
    curves = fit_prompts(PromptErrors(known.prompts, STEPS, known.psnr_db, chance))
    assert curves.quality is None
    figure = Figure(mean=0.5, low=0.4, high=0.6)
    shown = Evidence(psnr_db=figure, latent_mse=figure, quality=figure, seeds=64, seed_offset=0, teacher_steps=50)
    told = curves.of("a red star please")
    assert told is not None
    assert [curves.needed_quality(floor, 4, 0.9, shown) for floor in (0.4, 0.41)] == [-np.inf, np.inf]
    assert told.evidence(4, shown).quality == figure


def test_a_quality_that_all_pictures_have_alike_is_not_told_by_the_words() -> None:
    measured = errors(400)
    chance = np.random.default_rng(2).normal(size=(400, 3))
    chance[:, 1] = 1.0
    curves = fit_prompts(PromptErrors(measured.prompts, STEPS, measured.psnr_db, chance))
    assert curves.quality is None
