"""The recogniser: right on ground truth, wrong where the picture is wrong."""

import numpy as np
import pytest

from workers.shapes.language import Prompt, Thing, parse, sample_prompts
from workers.shapes.recognise import read
from workers.shapes.render import SIZE, Placed, draw, render
from workers.shapes.score import TASKS, passes, score, task_prompts

PICTURES = 600


def test_ground_truth_is_read_right() -> None:
    tasks, rng = task_prompts(PICTURES, seed=3), np.random.default_rng(3)
    scores = score(tasks, np.stack([draw(prompt, rng) for _, prompt in tasks]))
    assert set(scores) == {*TASKS, "overall"}
    assert min(scores.values()) >= 0.99


def test_ground_truth_is_read_right_through_noise_and_blur() -> None:
    tasks, rng = task_prompts(PICTURES // 2, seed=4), np.random.default_rng(4)
    clean = np.stack([draw(prompt, rng) for _, prompt in tasks]).astype(np.float64)
    blurred = (clean + np.roll(clean, 1, axis=1) + np.roll(clean, 1, axis=2)) / 3
    noisy = np.clip(blurred + rng.normal(0, 8, clean.shape), 0, 255).astype(np.uint8)
    assert score(tasks, noisy)["overall"] >= 0.97


def test_backgrounds_are_named() -> None:
    rng = np.random.default_rng(0)
    for prompt in sample_prompts(60, 0):
        assert read(draw(prompt, rng)).background == prompt.background


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ("a red circle on a white background", "a blue circle on a white background"),
        ("a red circle on a white background", "two red circles on a white background"),
        ("three red stars on a black background", "two red stars on a black background"),
        ("a red circle above a blue star on a gray background", "a blue circle above a red star on a gray background"),
        ("a red circle above a blue star on a gray background", "a red circle below a blue star on a gray background"),
        (
            "a red circle left of a red star on a gray background",
            "a red star left of a red circle on a gray background",
        ),
    ],
)
def test_wrong_pictures_fail_their_task(asked: str, drawn: str) -> None:
    prompt, rng = parse(asked), np.random.default_rng(1)
    reading = read(draw(parse(drawn), rng))
    tasks = [task for task, kind in TASKS.items() if kind == prompt.kind]
    assert not all(passes(task, prompt, reading) for task in tasks)


def test_a_shape_cut_in_two_is_not_one_thing() -> None:
    prompt = Prompt((Thing("red", "square"),), "white")
    pixels = render((Placed(prompt.things[0], 32, 32, 18),), "white")
    pixels[:, SIZE // 2 - 3 : SIZE // 2 + 3] = 245
    assert not passes("single object", prompt, read(pixels))


def test_an_empty_picture_holds_nothing() -> None:
    assert read(np.full((SIZE, SIZE, 3), 128, dtype=np.uint8)).things == ()
