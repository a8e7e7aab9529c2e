"""What `pacer schedules search` refuses before it loads a model."""

import pytest

from pacer.settings import Settings
from workers.lab.cli import main


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--method=pacer", "--solver=heun"), "solver: --method pacer learns its own, called 'learned'; leave 'heun'"),
        (("--placement",), "placement: only --method pacer searches where guidance is evaluated"),
        (("--evaluations=8,10",), "evaluations: only --placement counts them; --budgets counts steps"),
        (("--variant=a b",), "variant"),
        (("--budgets=4-",), "budgets: must be like 1-20 or 4,6,10"),
        (("--method=pacer", "--placement", "--evaluations=few"), "evaluations: must be like 1-20 or 4,6,10"),
    ],
)
def test_options_that_contradict_each_other_are_told_at_once(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        main(Settings(), ["search", "--model=there-is-no-such-model", *given])
