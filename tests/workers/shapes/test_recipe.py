"""What a checkpoint tells of its training."""

import pytest

from workers.shapes import train
from workers.shapes.recipe import FlowRecipe, History, history_of

COMMAND = (
    "python -m workers.shapes.train --vae-steps 2200 --flow-steps 9500 --pictures 80000"
    " --count-share 0.3 --sigma-mean 0.3"
)


def test_one_run_however_often_resumed_is_one_line() -> None:
    history = History()
    for step in (0, 100, 4000):
        history.go_on(step, 80_000, FlowRecipe())
    assert history.told(9500, 2200) == [f"steps 1 to 9,500, 64 pictures each: `{COMMAND}`"]


def test_every_change_of_the_recipe_is_told() -> None:
    history = History()
    history.go_on(0, 80_000, FlowRecipe(5000))
    history.go_on(4900, 80_000, FlowRecipe(5550, sigma_mean=0.6))
    lines = history.told(5550, 2200)
    assert [line.split(", 64")[0] for line in lines] == ["steps 1 to 4,900", "steps 4,901 to 5,550"]
    assert "--flow-steps 5000 " in lines[0]
    assert "--sigma-mean 0.6`" in lines[1]
    assert history.recipe.sigma_mean == 0.6


def test_steps_before_the_first_record_are_told_as_such() -> None:
    history = history_of({"step": 5550})
    assert history.told(5550, 2200) == ["steps 1 to 5,550: settings not on record"]
    history.go_on(5550, 80_000, FlowRecipe())
    assert history.told(9500, 2200) == [
        "steps 1 to 5,550: settings not on record",
        f"steps 5,551 to 9,500, 64 pictures each: `{COMMAND}`",
    ]


def test_it_survives_a_checkpoint() -> None:
    history = History()
    history.go_on(0, 1000, FlowRecipe(10, width=32))
    assert history_of({"history": history.state_dict()}).stages == history.stages


def test_the_rate_warms_up_stays_and_falls() -> None:
    recipe = FlowRecipe(steps=1000, peak_rate=1.0, warmup_steps=100, fall_share=0.3)
    rates = [recipe.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert set(rates[99:700]) == {1.0}
    assert rates[850] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.01


def test_the_commands_defaults_are_the_recipe_that_the_card_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train"])
    plain = vars(train._options())
    monkeypatch.setattr("sys.argv", COMMAND.split()[2:])
    assert vars(train._options()) == plain
