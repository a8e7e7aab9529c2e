"""Guidance that a search takes away costs no forward in the artefact, and may come back where a search goes on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schedules.artefact import LEARNED, Schedule, StoredTable, parse
from schedules.search.problem import Field
from schedules.table import UncondMode, common_rows
from tests.workers.lab.conftest import PROMPTED, UNPROMPTED
from workers.lab.meter import Meter
from workers.lab.model import LabModel
from workers.lab.searching.baselines import LEARNED_FLOW
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.searching.search import search_schedule
from workers.lab.searching.spliced import Effort, Splicing, Wanted
from workers.lab.store import LabStore

REQUEST = SearchRequest(
    LEARNED, (1,), 1.5, seeds=32, held_out=32, grid=24, teacher_steps=48, baselines=LEARNED_FLOW[:2],
    measure="latents",
)  # fmt: skip


def misled_field(prompts: Sequence[str]) -> Field:
    """At pure noise guidance only adds to what is wrong with the prompted output."""
    near, wrong = (PROMPTED, 1.0) if prompts[0] else (UNPROMPTED, 0.5)

    def field(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        far = PROMPTED(x, t, rows) + wrong * torch.sin(3 * x)
        return torch.where((t > 990)[:, None], far, near(x, t, rows))

    return field


@pytest.fixture
def misled(model: LabModel) -> LabModel:
    return replace(model, field=misled_field)


def search(model: LabModel, folder: Path, **changes: object) -> Schedule:
    run = SearchRun(model, replace(REQUEST, **changes), LabStore(folder), Meter())
    return parse(search_schedule(run).model_dump_json())


def with_first_weight(schedule: Schedule, w: float, mode: UncondMode) -> Schedule:
    """The first entry begun at pure noise, with another weight there."""
    first, *others = schedule.entries
    table = schedule.table(first)
    changed = replace(table, t=[1000.0, *table.t[1:]], w=[w, *table.w[1:]], uncond=(mode, *table.uncond[1:]))
    stored = first.model_copy(update={"table": StoredTable.of(changed)})
    return schedule.model_copy(update={"entries": (stored, *others)})


def test_a_weight_that_fell_to_0_costs_no_forward(misled: LabModel, model: LabModel, tmp_path: Path) -> None:
    start = with_first_weight(search(misled, tmp_path), 0.6, "fresh")
    lean = search(misled, tmp_path, start=start, seed_offset=64)
    table = lean.table(lean.entries[0])
    assert (table.w.tolist(), table.uncond) == ([0.0], ("skipped",))
    assert lean.network_evaluations(lean.entries[0], 1.5) == 1
    further = search(model, tmp_path / "other", start=lean, seed_offset=128)
    again = further.table(further.entries[0])
    assert again.w[0] > 0.5
    assert again.uncond == ("fresh",)


@pytest.mark.parametrize("mode", ["fresh", "skipped"])
def test_a_splice_begins_as_the_artefact_has_it(model: LabModel, tmp_path: Path, mode: UncondMode) -> None:
    found = with_first_weight(search(model, tmp_path, budgets=(2, 3)), 0.0, mode)
    splicing = Splicing(SearchRun(model, REQUEST, LabStore(tmp_path), Meter()), found)
    splice = splicing.splice(Wanted(begun=2, done=1, steps=3))
    assert splice.table.uncond == (mode, "fresh", "fresh")
    parse(found.model_copy(update={"splices": (splice,)}).model_dump_json())  # or it would be refused


def test_a_splice_goes_on_from_the_one_that_the_artefact_has(model: LabModel, tmp_path: Path) -> None:
    found = with_first_weight(search(model, tmp_path, budgets=(2, 3)), 0.0, "skipped")
    wanted, run = Wanted(begun=2, done=1, steps=3), SearchRun(model, REQUEST, LabStore(tmp_path), Meter())
    first = Splicing(run, found).splice(wanted)
    known = found.model_copy(update={"splices": (first,)})
    stayed = Splicing(run, known, Effort(rounds=(), many=(), go_on=True)).splice(wanted)
    assert stayed.evidence == first.evidence
    assert common_rows(stayed.table.table(), first.table.table()) == 3
    anew = Splicing(run, known, Effort(rounds=(), many=())).splice(wanted)
    assert anew.evidence != first.evidence
