"""PacerScheduler in the stock pipeline draws what the engine draws with that table; what it cannot run is refused."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from clients.diffusers_scheduler import PacerScheduler
from clients.schedule_file import find_sampler
from schedules.artefact import Schedule, parse, write
from schedules.export import export
from schedules.registry import Registry, artefact_path
from tests.clients.drawing import agree, by_engine, by_pipeline

REGISTRY = Registry.load()


def shipped(name: str) -> Schedule:
    found, entry = REGISTRY.find(name)
    return found.model_copy(update={"entries": (entry,)})


def changed(name: str, solver: str, **table: object) -> Schedule:
    """A shipped entry with another solver's name and changes of its table."""
    document = json.loads(shipped(name).model_dump_json())
    document["solver"] = solver
    document["entries"][0]["table"].update(table)
    document["networks"] = {"half": {"weights_sha256": "1" * 64, "cost": 0.3}} if "networks" in table else {}
    return parse(json.dumps(document))


def learned() -> Schedule:
    """A made-up table: lower-triangular, near that of DPM-Solver++ 2M, its times moved."""
    schedule = shipped("shapes-64/dpmpp-2m/5")
    table = schedule.table(schedule.entries[0])
    rng = np.random.default_rng(0)
    outputs = np.tril(rng.normal(0, 0.02, table.X.shape), k=0)
    outputs[:, 0] = 0
    return changed("shapes-64/dpmpp-2m/5", "made-up", X=(table.X + outputs).tolist(), t=(0.98 * table.t).tolist())


def in_file(schedule: Schedule, folder: Path) -> Path:
    path = folder / "schedule.json"
    path.write_text(export(schedule, schedule.entries[0], "json").text)
    return path


@pytest.mark.parametrize(
    ("schedule", "guidance"),
    [
        (shipped("shapes-64/euler/4"), 2.5),
        (shipped("shapes-64/dpmpp-2m/6"), 2.5),
        (shipped("shapes-64/dpmpp-2m/1"), 1.0),
        (learned(), 2.5),
        (learned(), 1.0),
    ],
    ids=["euler", "2m", "one step", "learned", "unguided"],
)
def test_the_stock_pipeline_draws_what_the_engine_draws(pipeline, family, schedule, guidance, tmp_path):
    entry = schedule.entries[0]
    pipeline.scheduler = PacerScheduler.from_file(in_file(schedule, tmp_path))
    expected = by_engine(family, schedule.table(entry), guidance, seed=3)
    for _ in range(2):  # a scheduler is used again
        assert agree(by_pipeline(pipeline, guidance, 3, num_inference_steps=entry.steps), expected)
    sigmas = list(entry.sigmas[:-1])
    assert agree(by_pipeline(pipeline, guidance, 3, sigmas=sigmas), expected)


def test_a_saved_pipelines_scheduler_holds_its_table(pipeline, family, tmp_path):
    PacerScheduler.from_registry("shapes-64/euler", 3).save_pretrained(tmp_path)
    pipeline.scheduler = PacerScheduler.from_pretrained(tmp_path)
    schedule = shipped("shapes-64/euler/3")
    expected = by_engine(family, schedule.table(schedule.entries[0]), 2.5, seed=1)
    assert agree(by_pipeline(pipeline, 2.5, 1, num_inference_steps=3), expected)


def run(scheduler: PacerScheduler, output, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """As a stock pipeline runs it."""
    scheduler.set_timesteps(scheduler.num_inference_steps)
    x = (torch.linspace(-1, 1, 8, dtype=torch.float64) * scheduler.init_noise_sigma).to(dtype)
    for t in scheduler.timesteps:
        x = scheduler.step(output(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    return x


@pytest.mark.parametrize("steps", range(1, 21))
def test_every_shipped_entry_can_be_had_by_its_id(steps):
    for solver in ("euler", "dpmpp-2m"):
        scheduler = PacerScheduler.from_registry(f"shapes-64/{solver}/{steps}")
        assert (len(scheduler.timesteps), len(scheduler.sigmas)) == (steps, steps + 1)
        assert scheduler.config.weights_sha256 == shipped(f"shapes-64/{solver}/{steps}").weights_sha256


def test_an_epsilon_models_scales_are_kept(tmp_path):
    """Euler in variance-exploding coordinates, by hand."""
    document = json.loads(shipped("shapes-64/euler/2").model_dump_json())
    noise = {"kind": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "train_times": 1000}
    sigmas = [14.0, 1.0, 0.0]
    document |= {"prediction": "epsilon", "noise": noise, "entries": [{"steps": 2, "sigmas": sigmas}]}
    schedule = parse(json.dumps(document))
    scheduler = PacerScheduler.from_file(in_file(schedule, tmp_path))
    assert scheduler.init_noise_sigma == 14.0
    x = 14.0 * torch.linspace(-1, 1, 8)
    for now, after in pairwise(sigmas):
        x = x + (after - now) * torch.tanh(x / (1 + now**2) ** 0.5)
    torch.testing.assert_close(run(scheduler, lambda x, _t: torch.tanh(x)), x, rtol=1e-5, atol=1e-5)


def test_history_is_float32_below_a_half_precision_network():
    scheduler = PacerScheduler.from_registry("shapes-64/dpmpp-2m", 20)
    exact = run(scheduler, lambda x, _t: torch.sin(3 * x).to(torch.bfloat16).float())
    half = run(scheduler, lambda x, _t: torch.sin(3 * x.float()).to(torch.bfloat16), torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert float((half.float() - exact).abs().max()) < 0.02


def test_what_pipelines_send_unasked_is_not_taken_for_a_wish():
    scheduler = PacerScheduler.from_registry("shapes-64/euler", 6)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 6, 6), mu=1.15)
    np.testing.assert_allclose(scheduler.sigmas, shipped("shapes-64/euler/6").entries[0].sigmas, rtol=1e-6)
    assert scheduler.config.use_flow_sigmas


def test_another_grid_or_number_of_steps_is_refused():
    scheduler = PacerScheduler.from_registry("shapes-64/euler", 6)
    with pytest.raises(ValueError, match=r"shapes-64/euler/6 has 6 steps, not 28; pass num_inference_steps=6"):
        scheduler.set_timesteps(28)
    with pytest.raises(ValueError, match="has sigmas of its own"):
        scheduler.set_timesteps(sigmas=[1.0, 0.9, 0.8, 0.7, 0.6, 0.5])


def test_what_is_no_run_over_the_table_is_refused():
    scheduler = PacerScheduler.from_registry("shapes-64/euler", 3)
    x = torch.ones(4)
    with pytest.raises(ValueError, match="begins at time 1000, not"):
        scheduler.step(x, scheduler.timesteps[1], x)
    with pytest.raises(ValueError, match="cannot begin at step 1"):
        scheduler.set_begin_index(1)
    scheduler.set_begin_index(0)
    following = scheduler.step(x, scheduler.timesteps[0], x).prev_sample
    with pytest.raises(ValueError, match="sample was changed before evaluation 1"):
        scheduler.step(x, scheduler.timesteps[1], following + 1)
    for t in scheduler.timesteps[1:]:
        (following,) = scheduler.step(x, t, following.clone(), return_dict=False)
    with pytest.raises(ValueError, match="all 3 evaluations are done"):
        scheduler.step(x, scheduler.timesteps[2], following)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"uncond": ["fresh", "reused", "fresh"]}, "rows reuse or skip the unconditional output"),
        ({"uncond": ["skipped", "fresh", "fresh"], "w": [0.0, 1.0, 1.0]}, "rows reuse or skip the unconditional"),
        ({"networks": ["half", "", ""]}, "has rows for a smaller network"),
    ],
)
def test_what_a_stock_pipeline_does_not_do_is_refused(table, message, tmp_path):
    path = in_file(changed("shapes-64/euler/3", "euler", **table), tmp_path)
    with pytest.raises(ValueError, match=message):
        PacerScheduler.from_file(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": [[1.0, 0.5], [1.0, -1.0]]}, "X: a row uses an output"),
        ({"X": [[1.0], [1.0, -1.0]]}, "X: must have 2 rows of 2 numbers"),
        ({"X": [[0.0, 0.0], [1.0, -1.0]]}, r"X\[0\]\[0\]: the scale"),
        ({"t": [float("nan")]}, "must be finite"),
        ({"c": []}, "t, c: must be equally long"),
        ({"sigmas": [1.0]}, "sigmas: must be at least 2"),
        ({"w": [1.0, 1.0]}, "w: must be 1 finite numbers >= 0"),
        ({"w": [-0.5]}, "w: must be 1 finite numbers >= 0"),
    ],
)
def test_numbers_that_are_no_table_are_refused_by_name(change, message):
    good = {"sigmas": [1.0, 0.0], "t": [1000.0], "c": [1.0], "X": [[1.0, 0.0], [1.0, -1.0]]}
    PacerScheduler(**good)
    with pytest.raises(ValueError, match=message):
        PacerScheduler(**{**good, **change})


@pytest.mark.parametrize(
    ("schedule", "steps", "message"),
    [
        ("shapes-64/euler/6", 5, "is for 6 steps, and steps=5 was given"),
        ("shapes-64/euler", None, "name a schedule as MODEL/SOLVER with steps=N"),
        ("euler/6", None, "name a schedule as"),
        ("shapes-64/heun", 6, "no schedule of shapes-64 for solver 'heun'"),
        ("shapes-64/euler", 999, r"no entry of 999 steps; there are 1, 2, 3"),
        ("absent.json", 6, "absent.json: No such file"),
    ],
)
def test_what_is_not_there_is_refused_by_name(schedule, steps, message):
    with pytest.raises(ValueError, match=message):
        PacerScheduler.from_registry(schedule, steps)


def test_a_variant_is_found_by_its_id_in_its_own_file(tmp_path):
    variant = shipped("shapes-64/euler/3").model_copy(update={"variant": "g3"})
    write(variant, artefact_path(tmp_path, "shapes-64", "euler", "g3"))
    for name, steps in (("shapes-64/euler@g3", 3), ("shapes-64/euler@g3/3", None)):
        found = find_sampler(name, steps, [tmp_path])
        assert (found.solver, found.variant, found.name) == ("euler", "g3", "shapes-64/euler@g3/3")
    assert find_sampler("shapes-64/euler/3", folders=[tmp_path]).variant is None
    with pytest.raises(ValueError, match="no schedule of shapes-64 for solver 'euler@g4'"):
        find_sampler("shapes-64/euler@g4/3", folders=[tmp_path])
    exported = tmp_path / "out.json"
    exported.write_text(export(variant, variant.entries[0], "json").text)
    assert find_sampler(str(exported)).variant == "g3"


def test_files_without_a_table_or_of_another_kind_are_refused(tmp_path, monkeypatch):
    bare = json.loads(shipped("shapes-64/euler/3").model_dump_json())
    bare["entries"][0]["table"] = None
    place = tmp_path / "shapes-64" / "euler.json"
    place.parent.mkdir()
    place.write_text(json.dumps(bare))
    monkeypatch.setenv("PACER_REGISTRY_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=re.escape("`pacer schedules export shapes-64/euler/3 --to json")):
        PacerScheduler.from_registry("shapes-64/euler", 3)
    place.write_text('{"format": "other/1"}')
    with pytest.raises(ValueError, match="format must be 'pacer-schedule/1', is 'other/1'"):
        PacerScheduler.from_file(place)
    place.write_text("not json")
    with pytest.raises(ValueError, match="is not JSON"):
        PacerScheduler.from_file(place)
