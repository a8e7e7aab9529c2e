import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.artefact import ArtefactError, Schedule, StoredTable, check_variant, parse, read, write
from schedules.compile import SOLVERS, compile_table
from schedules.grids import GRIDS, uniform
from schedules.table import Table, all_fresh

FIGURE = {"mean": 30.0, "low": 29.0, "high": 31.0}


def document(solver="euler", steps=(1, 2, 4), **changes):
    """A valid artefact as JSON values, with changes."""
    return {
        "format": "pacer-schedule/1",
        "model": "acme/flow-1",
        "revision": None,
        "weights_sha256": "0" * 64,
        "dtype": "float32",
        "quantization": None,
        "prediction": "flow",
        "solver": solver,
        "order": SOLVERS.get(solver, 1),
        "valid_for": {"width": [64, 64], "height": [64, 64], "guidance_scale": [1.0, 8.0]},
        "provenance": {
            "method": "pooled-oss",
            "parameters": {"grid": 100, "free_start": False, "cost": "x0"},
            "teacher_steps": 100,
            "calibration_seeds": 64,
            "calibration_seed_offset": 0,
            "prompts_sha256": "1" * 64,
            "date": "2026-11-20",
            "code_version": "0.1.0",
        },
        "entries": [{"steps": n, "sigmas": uniform(n).tolist(), "evidence": evidence()} for n in steps],
        **changes,
    }


def evidence(**changes):
    return {
        "psnr_db": FIGURE,
        "latent_mse": {"mean": 0.1, "low": 0.09, "high": 0.12},
        "task_score": 0.9,
        "seeds": 128,
        "seed_offset": 100_000,
        "teacher_steps": 100,
        "baselines_psnr_db": {"uniform": FIGURE},
        **changes,
    }


def stored(table: Table):
    return json.loads(StoredTable.of(table).model_dump_json())


def with_value(document, place, value):
    """The document with the value at a dotted place, or without it when the value is `...`."""
    document = json.loads(json.dumps(document))  # unlike deepcopy, it parts what was shared
    *path, last = (int(part) if part.isdecimal() else part for part in place.split("."))
    inner = document
    for part in path:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document


BAD_VALUES = [
    ("format", "pacer-schedule/2", "format: Input should be 'pacer-schedule/1'"),
    ("model", ..., "model: Field required"),
    ("model", "", "model: String should match"),
    ("model", "../../etc", "model: String should match"),
    ("solver", "Euler Fast", "solver: String should match"),
    ("solver", "rk45", "entries.0.table: must be stored; 'rk45' has no compiler"),
    ("variant", "", "variant: String should match"),
    ("variant", "G3", "variant: String should match"),
    ("variant", "a/b", "variant: String should match"),
    ("variant", "g3\n", "variant: String should match"),
    ("variant", "x" * 25, "variant: String should match"),
    ("variant", 3, "variant: Input should be a valid string"),
    ("order", 2, "order: euler has order 1, is 2"),
    ("order", "1", "order: Input should be a valid integer"),
    ("prediction", "noise", "prediction: Input should be 'flow', 'epsilon', 'v_prediction' or 'sample'"),
    ("prediction", "epsilon", "entries.0.prediction: 'epsilon' does not go with the noise schedule 'flow'"),
    ("noise", {"kind": "linear", "beta_start": 0.1, "beta_end": 0.2}, "noise: a flow model has none"),
    ("noise", {"kind": "linear", "beta_start": 0.2, "beta_end": 0.1}, "noise: beta_start, beta_end: must be"),
    ("noise", {"kind": "cosine", "beta_start": 0.1, "beta_end": 0.2}, "noise.kind: Input should be 'linear'"),
    ("servable", "yes", "servable: Input should be a valid boolean"),
    ("weights_sha256", "abc", "weights_sha256: String should match"),
    ("surprise", 1, "surprise: Extra inputs are not permitted"),
    ("valid_for.width", [64, 32], "valid_for.width: must be 0 < least <= most, is 64, 32"),
    ("valid_for.width", [64], "valid_for.width.1: Field required"),
    ("valid_for.guidance_scale", [0.0, 4.0], "valid_for.guidance_scale: must be 0 < least"),
    ("provenance.date", "yesterday", "provenance.date: String should match"),
    ("provenance.parameters", {"a": [1]}, "provenance.parameters.a"),
    ("entries", [], "entries: Tuple should have at least 1 item"),
    ("entries.1.steps", 1, "entries.1: sigmas: 1 steps need 2 sigmas, there are 3"),
    ("entries.1.steps", 0, "entries.1.steps: Input should be greater than or equal to 1"),
    ("entries.1.steps", 2.5, "entries.1.steps: Input should be a valid integer"),
    ("entries.1.sigmas", [1.0, 0.5, 0.6], "entries.1.sigmas: must not increase"),
    ("entries.1.sigmas", [1.0, 0.5, -0.1], "entries.1.sigmas: the last must be >= 0, is -0.1"),
    ("entries.1.sigmas", [1.0, 0.5, 0.5], "entries.1.sigmas: must fall strictly"),
    ("entries.1.sigmas", [1.5, 0.5, 0.0], "entries.1.sigmas: must be from 0 to 1, has 1.5"),
    ("entries.1.sigmas", [1.0, "0.5", 0.0], "entries.1.sigmas.1: Input should be a valid number"),
    ("entries.1.sigmas", [1.0, float("nan"), 0.0], "entries.1.sigmas.1: Input should be a finite number"),
    ("entries.1.evidence.psnr_db.low", 31.5, "entries.1.evidence.psnr_db: must be low <= mean <= high"),
    ("entries.1.evidence.task_score", 1.5, "entries.1.evidence.task_score: Input should be less than or equal to 1"),
    ("entries.1.evidence.seeds", 0, "entries.1.evidence.seeds: Input should be greater"),
]


@pytest.mark.parametrize(("place", "value", "message"), BAD_VALUES)
def test_bad_value_is_refused_with_the_fields_name(place, value, message):
    with pytest.raises(ArtefactError) as refused:
        parse(json.dumps(with_value(document(), place, value)), source="it.json")
    assert str(refused.value).startswith(f"it.json: {message}")


def test_variant_is_part_of_the_id_and_of_the_file_alone_where_there_is_one():
    plain, variant = (parse(json.dumps(document(**more))) for more in ({}, {"variant": "g3-a"}))
    assert (plain.solver_id, plain.entry_id(4)) == ("euler", "acme/flow-1/euler/4")
    assert (variant.solver_id, variant.entry_id(4)) == ("euler@g3-a", "acme/flow-1/euler@g3-a/4")
    assert "variant" not in json.loads(plain.model_dump_json())
    assert parse(variant.model_dump_json()) == variant
    assert parse(json.dumps(document(variant=None))) == plain


@pytest.mark.parametrize("name", ["", "G3", "a b", "x" * 25, "g3\n", "ü"])
def test_what_is_no_name_of_a_variant_is_refused(name):
    with pytest.raises(ValueError, match="variant: must be 1 to 24 of a-z, 0-9 and -, such as g3"):
        check_variant(name)
    assert check_variant("x" * 24) == "x" * 24


@given(modes=st.lists(st.sampled_from(["fresh", "reused", "skipped"]), max_size=5), scale=st.sampled_from([1.0, 1.5]))
def test_evaluations_are_those_of_the_table(modes, scale):
    uncond = ("fresh", *modes)
    weights = [0.0 if mode == "skipped" else 1.0 for mode in uncond]
    compiled = compile_table("ab2", uniform(len(uncond)), "flow")
    table = Table(compiled.t, compiled.c, np.array(weights), uncond, compiled.X)
    given_table = document("ab2", steps=(len(uncond),))
    bare = parse(json.dumps(given_table))
    assert bare.network_evaluations(bare.entries[0], scale) == compiled.network_evaluations(scale)
    given_table["entries"][0]["table"] = stored(table)
    placed = parse(json.dumps(given_table))
    assert placed.network_evaluations(placed.entries[0], scale) == table.network_evaluations(scale)


def places(value, prefix=""):
    """Every dotted place of a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{prefix}{key}"
            if key not in {"parameters", "baselines_psnr_db"}:
                yield from places(inner, f"{prefix}{key}.")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield f"{prefix}{index}"
            yield from places(inner, f"{prefix}{index}.")


@given(
    place=st.sampled_from(sorted(places(document()))),
    value=st.sampled_from([{"odd": 1}, [None], "\x00", [[[]]], float("nan")]),
)
def test_nonsense_anywhere_is_refused_with_the_fields_name(place, value):
    free_text = {"code_version", "dtype", "method", "quantization", "revision"}
    if value == "\x00" and place.split(".")[-1] in free_text:
        return
    if value == {"odd": 1} and place == "provenance.parameters":  # those are the method's own
        return
    with pytest.raises(ArtefactError) as refused:
        parse(json.dumps(with_value(document(), place, value)), source="it.json")
    assert str(refused.value).startswith(f"it.json: {place}")


@given(place=st.sampled_from(sorted(places(document()))))
def test_a_missing_field_is_named_or_has_a_default(place):
    optional = {"revision", "quantization", "evidence", "task_score", "baselines_psnr_db", "parameters"}
    changed = with_value(document(), place, ...)
    last = place.split(".")[-1]
    if last in optional - {"revision", "quantization"}:
        parse(json.dumps(changed))
    elif last.isdecimal():
        if "entries." not in place or place.count(".") > 1:
            with pytest.raises(ArtefactError):
                parse(json.dumps(changed))
    else:
        with pytest.raises(ArtefactError, match=f"{place}: Field required"):
            parse(json.dumps(changed), source="it.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_what_is_no_document_is_refused(text):
    with pytest.raises(ArtefactError, match=r"it\.json: "):
        parse(text, source="it.json")


def test_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ArtefactError, match=r"absent\.json: No such file"):
        read(tmp_path / "absent.json")


@given(
    solver=st.sampled_from(sorted(SOLVERS)),
    grid=st.sampled_from(sorted(GRIDS)),
    budgets=st.sets(st.integers(1, 20), min_size=1, max_size=4),
    servable=st.booleans(),
)
def test_round_trip(solver, grid, budgets, servable, tmp_path_factory):
    entries = [{"steps": n, "sigmas": GRIDS[grid](n).tolist()} for n in sorted(budgets)]
    schedule = parse(json.dumps(document(solver, entries=entries, servable=servable)))
    path = tmp_path_factory.mktemp("artefacts") / "new" / "it.json"
    write(schedule, path)
    assert read(path) == schedule.with_tables()
    assert [entry.name for entry in path.parent.iterdir()] == ["it.json"]
    for entry in schedule.entries:
        np.testing.assert_array_equal(entry.sigma_array(), GRIDS[grid](entry.steps))
        assert schedule.entry(entry.steps) is entry
        compiled = compile_table(solver, GRIDS[grid](entry.steps), "flow")
        assert schedule.table(entry).difference(compiled) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entries": document(steps=(2, 1))["entries"]}, r"entries: steps must rise without repeats, are \[2, 1\]"),
        ({"entries": document(steps=(2, 2))["entries"]}, r"entries: steps must rise without repeats, are \[2, 2\]"),
        ({"solver": "learned"}, "entries.0.table: must be stored; 'learned' has no compiler"),
    ],
)
def test_fields_that_do_not_agree_are_refused(changes, message):
    with pytest.raises(ArtefactError, match=message):
        parse(json.dumps({**document(), **changes}))


def with_table(table, solver="euler"):
    entry = {"steps": 2, "sigmas": [1.0, 0.5, 0.0], "table": table}
    return json.dumps(document(solver, entries=[entry]))


def test_formula_table_equal_to_its_recompilation_is_kept():
    table = compile_table("euler", uniform(2), "flow")
    schedule = parse(with_table(stored(table)))
    assert schedule.table(schedule.entries[0]).difference(table) is None


def test_formula_table_may_have_its_own_guidance_weights():
    table = {**stored(compile_table("euler", uniform(2), "flow")), "w": [1.0, 0.5], "uncond": ["fresh", "reused"]}
    schedule = parse(with_table(table))
    assert schedule.table(schedule.entries[0]).network_evaluations(4.0) == 3


def test_smaller_networks_are_declared_with_their_cost():
    table = {**stored(compile_table("euler", uniform(2), "flow")), "networks": ["half", ""]}
    with pytest.raises(ArtefactError, match=r"entries.0.table.networks: 'half' is not among the schedule's networks"):
        parse(with_table(table))
    half = {"weights_sha256": "1" * 64, "cost": 0.25}
    declared = json.loads(with_table(table)) | {"networks": {"half": half}}
    schedule = parse(json.dumps(declared))
    assert schedule.network_evaluations(schedule.entries[0], 4.0) == 3  # 2.5, rounded up
    assert schedule.table(schedule.entries[0]).networks == ("half", "")
    assert parse(schedule.model_dump_json()) == schedule
    for place, value in (("networks.half.cost", 0.0), ("networks.Half!", half), ("networks.half.weights_sha256", "x")):
        with pytest.raises(ArtefactError, match="networks"):
            parse(json.dumps(with_value(declared, place, value)))


def test_files_of_schedules_without_smaller_networks_do_not_mention_any():
    assert "networks" not in parse(with_table(stored(compile_table("euler", uniform(2), "flow")))).model_dump_json()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("X.2.2", -0.4, r"entries.0.table.X\[2, 2\]: -0.4 against -0.5 when compiled from the sigmas"),
        ("t.1", 499.0, r"entries.0.table.t\[1\]: 499.0 against 500.0 when compiled from the sigmas"),
        ("X.1", [1.0, -0.5], r"entries.0.table.X: rows must be equally long, are \[3, 2, 3\]"),
        ("X.0.2", 1.0, "entries.0.table: X: a row uses an output that is not there yet"),
        ("w.0", -1.0, "entries.0.table: w: must not be negative"),
        ("uncond.0", "stale", "entries.0.table.uncond.0: Input should be 'fresh', 'reused' or 'skipped'"),
        ("base", ["image"], "entries.0.table: base: must begin with 'noise'"),
    ],
)
def test_bad_stored_table_is_refused(place, value, message):
    table = with_value(stored(compile_table("euler", uniform(2), "flow")), place, value)
    with pytest.raises(ArtefactError, match=message):
        parse(with_table(table))


def test_stored_table_of_a_stochastic_sampler_keeps_its_draws():
    rows = np.array([[1.0, 0, 0, 0], [0.5, 0.2, -0.5, 0], [0.2, 0.3, -0.2, -0.5]])
    table = Table(np.array([1000.0, 500]), np.ones(2), np.ones(2), all_fresh(2), rows, ("noise", "draw"))
    schedule = parse(with_table(stored(table), solver="lcm"))
    assert schedule.table(schedule.entries[0]).difference(table) is None


def test_latent_diffusion_schedule_names_its_betas():
    betas = {"kind": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    entry = {"steps": 2, "sigmas": [14.6, 1.0, 0.0]}
    schedule = parse(json.dumps(document(prediction="epsilon", noise=betas, entries=[entry])))
    table = schedule.table(schedule.entries[0])
    assert table.X[0, 0] == 14.6
    assert table.c[1] == pytest.approx(0.5**0.5)


def test_valid_for_covers_its_bounds():
    valid_for = Schedule.model_validate_json(json.dumps(document())).valid_for
    assert valid_for.covers(width=64, height=64, guidance_scale=8.0)
    assert not valid_for.covers(width=128, height=64, guidance_scale=4.0)
    assert not valid_for.covers(width=64, height=64, guidance_scale=9.0)


def test_entry_id_is_what_a_caller_asks_by():
    assert parse(json.dumps(document())).entry_id(4) == "acme/flow-1/euler/4"


def spliced(begun=4, done=1, steps=2, **changes):
    """A splice of the document's entries: on the sigmas of both."""
    sigmas = np.concatenate([uniform(begun)[:done], uniform(steps)[done:]])
    table = compile_table("euler", sigmas, "flow")
    return {"begun": begun, "done": done, "steps": steps, "sigmas": sigmas.tolist(), "table": stored(table),
            "evidence": evidence(), **changes}  # fmt: skip


def test_splices_are_kept():
    splices = [spliced(), spliced(2, 1, 4)]
    schedule = parse(json.dumps(document(splices=splices)))
    assert [splice.name for splice in schedule.splices] == ["4 steps, after 1 to 2", "2 steps, after 1 to 4"]
    assert parse(schedule.model_dump_json()) == schedule
    assert "splices" not in json.loads(parse(json.dumps(document())).model_dump_json())


@pytest.mark.parametrize(
    ("splice", "reason"),
    [
        (spliced(begun=3), "there is no entry of 3 steps"),
        (spliced(done=2, sigmas=uniform(2).tolist()), "done: must be less than"),
        (spliced(2, 1, 2), "must not be the 2 that were begun"),
        (spliced(sigmas=uniform(3).tolist()), "2 steps need 3 sigmas"),
        (spliced(table=stored(compile_table("euler", uniform(3), "flow"))), "2 steps need as many rows"),
        (spliced(table=stored(compile_table("euler", 0.9 * uniform(2), "flow"))), "must begin with the 1 rows"),
    ],
)
def test_splices_of_nothing_are_refused(splice, reason):
    with pytest.raises(ArtefactError, match=reason):
        parse(json.dumps(document(splices=[splice])))
