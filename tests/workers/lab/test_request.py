from pathlib import Path

import pytest

from workers.lab.prompts import FilePrompts, ShapesPrompts
from workers.lab.searching.request import SearchRequest, parse_budgets
from workers.lab.seeds import seed_set


@pytest.mark.parametrize(
    ("text", "budgets"), [("1-4", (1, 2, 3, 4)), ("10,4,6", (4, 6, 10)), ("1-3, 2-4,8", (1, 2, 3, 4, 8)), ("7", (7,))]
)
def test_budgets_are_read(text: str, budgets: tuple[int, ...]) -> None:
    assert parse_budgets(text) == budgets


@pytest.mark.parametrize("text", ["", "a", "0", "0-3", "3-1", "1-", "-4", "1;2", "1.5"])
def test_broken_budgets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be like 1-20 or 4,6,10"):
        parse_budgets(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": "rk45"}, "solver: must be one of euler"),
        ({"budgets": (4, 2)}, "budgets: must rise"),
        ({"grid": 5, "teacher_steps": 60}, r"path_budget: must be in 1\.\.5"),
        ({"seeds": 0}, "seeds: must be at least 1, is 0"),
        ({"held_out": 0}, "held_out: must be at least 1, is 0"),
        ({"teacher_steps": 50}, "teacher_steps: must be a multiple of the grid's 20"),
        ({"baselines": ("uniform", "best")}, "'best' is not"),
        ({"baselines": ()}, "at least one"),
        ({"seeds": 4}, r"screen: must be in 1\.\.4"),
        ({"seeds": 20}, r"path_seeds: must be in 1\.\.20"),
    ],
)
def test_impossible_requests_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchRequest(**{"solver": "euler", "budgets": (4,), "guidance_scale": 1.0, **changes})  # type: ignore[arg-type]


def test_budgets_between_two_anchors_are_not_searched_on_their_own() -> None:
    request = SearchRequest("euler", tuple(range(1, 21)), 1.0)
    assert [steps for steps in request.budgets if request.is_anchor(steps)] == [*range(1, 9), 10, 12, 14, 16, 20]
    assert request.neighbours(9) == (8, 10)
    assert request.neighbours(19) == (16, 20)


def test_a_budget_without_both_neighbours_is_an_anchor() -> None:
    request = SearchRequest("euler", (8, 9, 19, 20), 1.0)
    assert all(request.is_anchor(steps) for steps in request.budgets)


def test_noise_depends_on_the_seed_alone() -> None:
    many, few = (seed_set(ShapesPrompts(), "calibration", count, offset) for count, offset in ((5, 10), (2, 13)))
    assert (many.noise((4, 2, 2))[3:] == few.noise((4, 2, 2))).all()


@pytest.mark.parametrize(("count", "offset"), [(0, 0), (10, -1), (10, 999_991)])
def test_seeds_that_would_run_into_another_split_are_refused(count: int, offset: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        seed_set(ShapesPrompts(), "validation", count, offset)


def test_prompts_of_a_file_are_split_by_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(f"picture {i}" for i in range(200)) + "\n\n")
    splits = [set(FilePrompts(path).draw(name, 2000, 0)) for name in ("calibration", "validation", "held-out")]
    assert len(set.union(*splits)) == sum(map(len, splits)) == 200


def test_a_file_with_too_few_prompts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one picture\n")
    with pytest.raises(ValueError, match="has no prompt for"):
        [FilePrompts(path).draw(name, 1, 0) for name in ("calibration", "validation", "held-out")]
