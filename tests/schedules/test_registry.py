import json

import pytest

from schedules.artefact import ArtefactError, Schedule, parse, write
from schedules.compile import SOLVERS, compile_table
from schedules.grids import karras, uniform
from schedules.registry import SHIPPED, Registry, ScheduleNotFound, artefact_path, entry_table


def schedule(
    model="acme/flow-1", solver="euler", psnr=None, grid=uniform, steps=(2, 4), *, servable=True, variant=None
) -> Schedule:
    figure = {"mean": psnr, "low": psnr, "high": psnr}
    evidence = {"psnr_db": figure, "latent_mse": figure, "seeds": 1, "seed_offset": 1, "teacher_steps": 50}
    document = {
        "format": "pacer-schedule/1",
        "model": model,
        "revision": None,
        "weights_sha256": "0" * 64,
        "dtype": "float32",
        "quantization": None,
        "prediction": "flow",
        "solver": solver,
        "variant": variant,
        "order": SOLVERS[solver],
        "servable": servable,
        "valid_for": {"width": [64, 64], "height": [64, 64], "guidance_scale": [1.0, 8.0]},
        "provenance": {
            "method": "hand",
            "teacher_steps": 50,
            "calibration_seeds": 1,
            "calibration_seed_offset": 0,
            "prompts_sha256": "1" * 64,
            "date": "2026-11-20",
            "code_version": "0.1.0",
        },
        "entries": [
            {"steps": n, "sigmas": grid(n).tolist(), "evidence": None if psnr is None else evidence} for n in steps
        ],
    }
    return parse(json.dumps(document))


def place(folder, *schedules):
    for one in schedules:
        write(one, artefact_path(folder, one.model, one.solver, one.variant))
    return folder


@pytest.fixture
def registry(tmp_path):
    folder = place(
        tmp_path,
        schedule(solver="euler", psnr=20.0),
        schedule(solver="unipc-2", psnr=30.0),
        schedule(solver="ab2", psnr=None),
        schedule(solver="ab3", psnr=40.0, servable=False),
        schedule(solver="ddim", psnr=25.0, steps=(4, 7)),
        schedule(model="tiny"),
    )
    return Registry.load(folder)


def test_model_with_a_slash_lies_in_a_plain_folder(tmp_path):
    assert artefact_path(tmp_path, "acme/flow-1", "euler") == tmp_path / "acme--flow-1" / "euler.json"


def test_models_and_their_schedules_are_listed(registry):
    assert {"acme/flow-1", "tiny"} <= set(registry.models())
    assert [one.solver for one in registry.schedules("acme/flow-1")] == ["ab2", "ab3", "ddim", "euler", "unipc-2"]
    assert registry.schedules("unknown") == ()


def test_find_gives_schedule_and_entry(registry):
    found, entry = registry.find("acme/flow-1/ddim/7")
    assert (found.solver, entry.steps) == ("ddim", 7)
    found, entry = registry.find("tiny/euler/2")
    assert (found.model, entry.steps) == ("tiny", 2)


@pytest.mark.parametrize(
    ("schedule_id", "message"),
    [
        ("nobody/euler/4", "no schedules for model 'nobody'; there are some for .*acme/flow-1"),
        (
            "acme/flow-1/heun/4",
            "no schedule of acme/flow-1 for solver 'heun'; there are ab2, ab3, ddim, euler, unipc-2",
        ),
        ("acme/flow-1/ddim/5", "no schedule acme/flow-1/ddim for '5' steps; there are 4, 7"),
        ("acme/flow-1/ddim/four", "for 'four' steps; there are 4, 7"),
        ("acme/flow-1/ddim/-4", "for '-4' steps"),
        ("acme/flow-1/ddim/²", "for '²' steps"),
        ("ddim/4", "a schedule's id is model/solver/steps, not 'ddim/4'"),
        ("", "a schedule's id is model/solver/steps, not ''"),
        ("//4", "a schedule's id is model/solver/steps"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(registry, schedule_id, message):
    with pytest.raises(ScheduleNotFound, match=message):
        registry.find(schedule_id)


def test_candidates_are_servable_and_best_first(registry):
    assert [one.solver for one, _ in registry.candidates("acme/flow-1", 4)] == ["unipc-2", "ddim", "euler", "ab2"]
    assert [one.solver for one, _ in registry.candidates("acme/flow-1", 2)] == ["unipc-2", "euler", "ab2"]
    assert registry.candidates("acme/flow-1", 5) == ()
    assert registry.candidates("unknown", 4) == ()


def test_earlier_folders_win(tmp_path):
    first = place(tmp_path / "first", schedule(grid=karras))
    second = place(tmp_path / "second", schedule(grid=uniform), schedule(solver="ab2"))
    registry = Registry.load(first, second)
    assert registry.find("acme/flow-1/euler/4")[1].sigmas == tuple(karras(4))
    assert Registry.load(second, first).find("acme/flow-1/euler/4")[1].sigmas == tuple(uniform(4))
    assert registry.find("acme/flow-1/ab2/4")


def test_entry_table_is_compiled_from_the_sigmas(registry):
    found, entry = registry.find("acme/flow-1/unipc-2/4")
    assert entry_table(found, entry).difference(compile_table("unipc-2", uniform(4), "flow")) is None


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="absent: no such folder of schedules"):
        Registry.load(tmp_path / "absent")


def test_malformed_file_is_named(tmp_path):
    path = place(tmp_path, schedule()) / "acme--flow-1" / "euler.json"
    path.write_text(path.read_text().replace('"order": 1', '"order": 7'))
    with pytest.raises(ArtefactError, match=r"acme--flow-1/euler\.json: order: euler has order 1, is 7"):
        Registry.load(tmp_path)


def test_variants_lie_beside_the_plain_artefact_and_are_found_by_their_names(tmp_path):
    place(tmp_path, schedule(grid=karras), schedule(variant="g3", steps=(4, 7)), schedule(variant="g1"))
    names = {path.name for path in (tmp_path / "acme--flow-1").iterdir()}
    assert names == {"euler.json", "euler@g1.json", "euler@g3.json"}
    registry = Registry.load(tmp_path)
    assert [one.solver_id for one in registry.schedules("acme/flow-1")] == ["euler", "euler@g1", "euler@g3"]
    assert registry.find("acme/flow-1/euler/4")[1].sigmas == tuple(karras(4))
    found, entry = registry.find("acme/flow-1/euler@g3/7")
    assert (found.solver, found.variant, entry.steps) == ("euler", "g3", 7)
    with pytest.raises(ScheduleNotFound, match="for solver 'euler@g2'; there are euler, euler@g1, euler@g3"):
        registry.find("acme/flow-1/euler@g2/4")
    with pytest.raises(ScheduleNotFound, match="no schedule acme/flow-1/euler@g3 for '2' steps; there are 4, 7"):
        registry.find("acme/flow-1/euler@g3/2")


def test_an_earlier_folder_wins_for_its_own_variant_alone(tmp_path):
    first = place(tmp_path / "first", schedule(variant="g3", grid=karras))
    second = place(tmp_path / "second", schedule(variant="g3"), schedule())
    registry = Registry.load(first, second)
    assert registry.find("acme/flow-1/euler@g3/4")[1].sigmas == tuple(karras(4))
    assert registry.find("acme/flow-1/euler/4")[1].sigmas == tuple(uniform(4))


def test_variant_in_anothers_place_is_refused(tmp_path):
    write(schedule(variant="g3"), artefact_path(tmp_path, "acme/flow-1", "euler"))
    with pytest.raises(ArtefactError, match=r"must lie at .*euler@g3\.json, as its model, solver and variant say"):
        Registry.load(tmp_path)


def test_of_two_that_are_as_good_the_one_with_fewer_evaluations_comes_first():
    document = json.loads(schedule(psnr=30.0, variant="a").with_tables().model_dump_json())
    fresh = parse(json.dumps(document))
    document["variant"] = "b"
    for entry in document["entries"]:
        entry["table"]["uncond"][-1] = "reused"
    reused = parse(json.dumps(document))
    registry = Registry.of([fresh, reused, schedule(psnr=29.0)])
    assert [one.solver_id for one, _ in registry.candidates("acme/flow-1", 4, guidance_scale=2.0)] == [
        "euler@b", "euler@a", "euler",
    ]  # fmt: skip
    assert [one.solver_id for one, _ in registry.candidates("acme/flow-1", 4)] == ["euler@a", "euler@b", "euler"]
    assert [entry.steps for _, entry in registry.ranked("acme/flow-1", guidance_scale=2.0)] == [2, 2, 4, 4, 2, 4]


def test_what_was_measured_nearest_to_the_guidance_scale_comes_first():
    def measured_at(scale: float | None, variant: str, psnr: float | None) -> Schedule:
        made = schedule(variant=variant, psnr=psnr)
        parameters = {} if scale is None else {"guidance_scale": scale}
        return made.model_copy(update={"provenance": made.provenance.model_copy(update={"parameters": parameters})})

    known = [measured_at(1.5, "low", 40.0), measured_at(4.0, "high", 30.0), measured_at(4.0, "unmeasured", None)]
    registry = Registry.of(known)
    for scale, first in ((1.2, "low"), (2.0, "low"), (3.0, "high"), (9.0, "high")):
        found = [one.variant for one, _ in registry.candidates("acme/flow-1", 4, guidance_scale=scale)]
        assert (found[0], found[-1]) == (first, "unmeasured")


def test_misplaced_file_is_refused(tmp_path):
    write(schedule(), tmp_path / "euler.json")
    with pytest.raises(ArtefactError, match=r"euler\.json: must lie at .*acme--flow-1/euler\.json"):
        Registry.load(tmp_path)


def test_shipped_artefacts_are_sound():
    """Loading checks each file, and that every formula compiles on its sigmas."""
    registry = Registry.load()
    assert len(registry.artefacts) == len(list(SHIPPED.rglob("*.json")))
    for one in registry.artefacts:
        for entry in one.entries:
            assert entry_table(one, entry).evaluations_count >= 1
