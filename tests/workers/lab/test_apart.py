"""A search whose budgets are shared out among processes finds what one process finds."""

from pathlib import Path

import pytest

from pacer.settings import Settings
from schedules.artefact import Schedule, read
from schedules.search.pacer_options import PacerOptions
from tests.workers.lab.test_cli import folder  # noqa: F401 - the fixture
from workers.lab.cli import main
from workers.lab.searching.apart import Errand, chains
from workers.lab.searching.request import SearchRequest

ONE_THREAD = Settings(torch_threads=1, device="cpu")
SMALL = (
    "search", "--method=pacer", "--seeds=6", "--validation=4", "--held-out=4", "--teacher-steps=12", "--grid=6",
    "--budgets=1,2", "--baselines=ab2 shift2",
)  # fmt: skip


def search(folder: Path, tmp_path: Path, *more: str) -> Schedule:  # noqa: F811
    arguments = (*SMALL, f"--model={folder}", f"--prompts={folder / 'prompts.txt'}", f"--data={tmp_path / 'lab'}")
    out = tmp_path / "registry"
    assert main(ONE_THREAD, [*arguments, f"--out={out}", f"--report={tmp_path / 'report.html'}", *more]) == 0
    return read(out / "tiny" / "learned.json")


def test_two_processes_find_what_one_finds(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    alone, together = search(folder, tmp_path / "a"), search(folder, tmp_path / "b", "--processes=2")
    assert [entry.steps for entry in together.entries] == [1, 2]
    for one, other in zip(alone.entries, together.entries, strict=True):
        assert one.table is not None
        assert other.table is not None
        assert one.table.table().difference(other.table.table(), tolerance=1e-4) is None
    spent = [each.provenance.parameters["search_evaluations"] for each in (alone, together)]
    assert spent[0] <= spent[1]  # each process measures for itself what all budgets need


def test_grids_of_a_solver_are_searched_in_one_process(folder: Path) -> None:  # noqa: F811
    with pytest.raises(ValueError, match="only --method pacer"):
        main(ONE_THREAD, ["search", f"--model={folder}", f"--prompts={folder / 'prompts.txt'}", "--processes=2"])


def test_what_fails_in_a_process_ends_the_search(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    tmp_path.joinpath("lab").mkdir()
    tmp_path.joinpath("lab", "budgets").write_text("a file where results should go")
    with pytest.raises(FileExistsError):
        search(folder, tmp_path, "--processes=2")


def test_budgets_that_go_on_from_each_other_stay_together() -> None:
    grows = PacerOptions().grows
    assert chains((4, 8, 9, 11, 12, 13, 14, 16, 17), grows) == [(4,), (8, 9), (11,), (12, 13, 14), (16, 17)]
    assert chains((1, 2, 3), grows) == [(1,), (2,), (3,)]


def test_threads_are_divided(tmp_path: Path) -> None:
    errand = Errand(
        "m",
        Settings(torch_threads=5, device="cpu"),
        None,
        SearchRequest("learned", (1,), 1.5, baselines=("ab2 shift2",)),
        tmp_path,
        False,
    )
    assert [part.settings.torch_threads for part in errand.parts(2)] == [2, 2]
    assert [part.settings.torch_threads for part in errand.parts(8)] == [1] * 8
