"""Settings that contradict each other end the start; none is left for a request to find."""

import re

import pytest
from pydantic import ValidationError

from pacer.settings import Settings


@pytest.mark.parametrize(
    ("environment", "field", "said"),
    [
        ({"QUALITY_STEPS": '{"low": 4}'}, "quality_steps", "must say low, medium and high; medium, high: missing"),
        ({"QUALITY_STEPS": "{}"}, "quality_steps", "low, medium, high: missing"),
        ({"QUALITY_STEPS": '{"low": 0, "medium": 8, "high": 16}'}, "quality_steps", "low is 0"),
        ({"QUALITY_STEPS": '{"low": 4, "medium": 8, "high": 101}'}, "quality_steps", "(100), high is 101"),
        ({"QUALITY_STEPS": '{"low": 4, "medium": 8, "high": 16, "hd": 32}'}, "quality_steps", "'low', 'medium'"),
        ({"DEFAULT_STEPS": "101"}, "default_steps", "PACER_MAX_STEPS (100), is 101"),
        ({"MAX_STEPS": "9"}, "default_steps", "PACER_MAX_STEPS (9), is 10"),
        ({"MAX_STEPS": "12"}, "quality_steps", "PACER_MAX_STEPS (12), high is 16"),
    ],
)
def test_steps_that_no_request_could_have_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], field: str, said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"PACER_{name}", value)
    with pytest.raises(ValidationError, match=re.escape(said)) as caught:
        Settings()
    assert caught.value.errors()[0]["loc"][0] == field


def test_steps_may_reach_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACER_MAX_STEPS", "16")
    monkeypatch.setenv("PACER_DEFAULT_STEPS", "16")
    settings = Settings()
    assert (settings.default_steps, settings.quality_steps["high"]) == (16, 16)


def test_a_wrong_limit_is_told_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACER_MAX_STEPS", "0")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [("max_steps",)]


@pytest.mark.parametrize(
    ("weights", "said"),
    [({"b" * 64: 1.0}, "must name digests"), ({"a" * 64: 0.0}, "must lie in 0.01 to 100"), ({"a" * 64: 101.0}, "100")],
)
def test_weights_are_of_known_keys_and_neither_nothing_nor_everything(weights, said):
    with pytest.raises(ValidationError, match=said):
        Settings(api_keys=("a" * 64,), key_weights=weights)
