"""What is exported is run as its target runs it: stock diffusers, ComfyUI's number reader, A1111's list."""

import json
import re
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.artefact import Schedule, parse
from schedules.compile import compile_table
from schedules.export import ExportError, export
from schedules.export.parts import decimals
from schedules.noise import vp_of_betas
from schedules.probe import probe

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers

FLOW_SIGMAS = [1.0, 0.93, 0.71, 0.4321, 0.0871, 0.0]
VP_SIGMAS = [14.6, 5.2, 1.9, 0.66, 0.12, 0.0]
NOISE = {"kind": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "train_times": 1000}
NUMBERS_OF_MANUAL_SIGMAS = re.compile(r"[-+]?(?:\d*\.*\d+)")
"""How ComfyUI's ManualSigmas reads its line."""


def schedule_of(solver: str, sigmas: list[float], prediction: str = "flow", **entry: object) -> Schedule:
    noise = None if prediction == "flow" else NOISE
    found = {
        "format": "pacer-schedule/1", "model": "lab/toy", "revision": None, "weights_sha256": "0" * 64,
        "dtype": "float32", "quantization": None, "prediction": prediction, "noise": noise, "solver": solver,
        "order": {"euler": 1, "ddim": 1, "learned": 3}.get(solver, 2),
        "valid_for": {"width": [64, 64], "height": [64, 64], "guidance_scale": [1.5, 3.0]},
        "provenance": {
            "method": "by hand", "teacher_steps": 100, "calibration_seeds": 1, "calibration_seed_offset": 0,
            "prompts_sha256": "0" * 64, "date": "2026-01-01", "code_version": "0",
        },
        "entries": [{"steps": len(sigmas) - 1, "sigmas": sigmas, **entry}],
    }  # fmt: skip
    return parse(json.dumps(found))


def stored(solver: str, **changes: object) -> dict[str, object]:
    """A stored table: a solver's, with changes."""
    table = compile_table(solver, np.array(FLOW_SIGMAS), "flow")
    fields = {name: getattr(table, name).tolist() for name in ("t", "c", "w", "X")}
    return {**fields, "uncond": list(table.uncond), "base": ["noise"], **changes}


def learned() -> Schedule:
    return schedule_of("learned", FLOW_SIGMAS, table=stored("ab3"))


def small_rows() -> Schedule:
    found = json.loads(schedule_of("euler", FLOW_SIGMAS).model_dump_json())
    found["networks"] = {"half": {"weights_sha256": "1" * 64, "cost": 0.3}}
    found["entries"][0]["table"] = stored("euler", networks=["half", "", "", "", "half"])
    return parse(json.dumps(found))


def exported(schedule: Schedule, target: str) -> str:
    return export(schedule, schedule.entries[0], target).text


class Pipe:
    """What a snippet needs of a pipeline: a place for the scheduler, and its own keyword for the grid."""

    scheduler: object

    def __call__(self, prompt: str, **grid: object) -> object:
        self.grid = grid
        return types.SimpleNamespace(images=[])


def run_snippet(text: str) -> Pipe:
    pipe = Pipe()
    exec(text, {"pipe": pipe, "prompt": ""})
    return pipe


def network_view(table):
    """What the network is fed and the result at sigma 0: the same in all coordinates."""
    return np.vstack([table.c[:, None] * table.X[:-1], table.X[-1:]])


@pytest.mark.parametrize("solver", ["euler", "ddim", "unipc-2"])
def test_a_flows_snippet_runs_the_table_in_stock_diffusers(solver):
    schedule = schedule_of(solver, FLOW_SIGMAS)
    pipe = run_snippet(exported(schedule, "diffusers"))
    assert pipe.grid["sigmas"] == FLOW_SIGMAS[:-1]
    table = probe(pipe.scheduler, 5, sigmas=FLOW_SIGMAS)
    own = schedule.table(schedule.entries[0])
    np.testing.assert_allclose(table.X, own.X, atol=5e-5)  # its sigmas are float32, 1 - 1e-6 among them
    np.testing.assert_allclose(table.t, own.t, atol=1.0 if solver == "unipc-2" else 1e-3)


def test_unipc_states_what_cutting_its_times_loses():
    text = exported(schedule_of("unipc-2", FLOW_SIGMAS), "diffusers")
    assert "by up to 0.10 of 1000" in text  # 432.1 and 87.1
    with pytest.raises(ExportError, match="two noise levels fall on 997"):
        exported(schedule_of("unipc-2", [1.0, 0.9978, 0.9971, 0.5, 0.0]), "diffusers")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_of_an_epsilon_model_keeps_its_last_zero(prediction):
    schedule = schedule_of("euler", VP_SIGMAS, prediction)
    pipe = run_snippet(exported(schedule, "diffusers"))
    assert pipe.grid["sigmas"] == VP_SIGMAS
    table = probe(pipe.scheduler, 5, sigmas=VP_SIGMAS)
    own = schedule.table(schedule.entries[0])
    assert own.difference(table, tolerance=1e-5) is None


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_dpm_solver_is_rounded_and_the_loss_stated(prediction):
    schedule = schedule_of("dpmpp-2m", VP_SIGMAS, prediction)
    text = exported(schedule, "diffusers")
    pipe = run_snippet(text)
    table = probe(pipe.scheduler, 5, set_options={"timesteps": pipe.grid["timesteps"], "num_inference_steps": None})
    noise = vp_of_betas("scaled_linear", 0.00085, 0.012)
    times = noise.time(np.array(VP_SIGMAS[:-1]))
    assert np.abs(table.t - times).max() <= 0.5
    levels = np.exp(noise.log_sigmas)[table.t.astype(int)]
    rounded = compile_table("dpmpp-2m", np.append(levels, 0.0), prediction, noise)
    np.testing.assert_allclose(network_view(rounded), network_view(table), atol=1e-4)
    assert f"by up to {np.abs(levels / VP_SIGMAS[:-1] - 1).max():.2%}" in text


def test_dpm_solver_refuses_levels_that_fall_on_one_timestep():
    with pytest.raises(ExportError, match="two noise levels fall on"):
        exported(schedule_of("dpmpp-2m", [14.6, 14.59, 1.0, 0.0], "epsilon"), "diffusers")


@pytest.mark.parametrize("target", ["diffusers", "comfyui", "a1111"])
@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (learned(), "'learned' is a learned table"),
        (
            schedule_of("euler", FLOW_SIGMAS, table=stored("euler", w=[1, 1, 0.5, 1, 1])),
            "its guidance differs from row to row",
        ),
        (
            schedule_of("euler", FLOW_SIGMAS, table=stored("euler", uncond=["fresh", "reused"] + ["fresh"] * 3)),
            "its guidance differs from row to row",
        ),
        (small_rows(), "it has rows for a smaller network"),
        (schedule_of("ab2", FLOW_SIGMAS), "ab2"),
        (schedule_of("dpmpp-2m", FLOW_SIGMAS), "dpmpp-2m"),
    ],
)
def test_what_sigmas_do_not_carry_is_refused_with_the_reason(schedule, reason, target):
    with pytest.raises(ExportError, match=rf"lab/toy/[\w-]+/5 cannot be exported to {target}: .*{reason}.*PacerSched"):
        exported(schedule, target)


def test_a_grid_that_ends_above_zero_is_refused_where_zero_is_appended():
    with pytest.raises(ExportError, match=r"its last sigma is 0\.1"):
        exported(schedule_of("euler", [1.0, 0.1]), "diffusers")


def test_json_carries_the_whole_table_and_reads_back():
    for schedule in (learned(), schedule_of("dpmpp-2m", FLOW_SIGMAS), schedule_of("euler", VP_SIGMAS, "epsilon")):
        again = parse(exported(schedule, "json"))
        assert again == schedule.with_tables()
        assert again.entries[0].table is not None


def test_json_tells_how_a_pipeline_is_called_where_rows_have_weights_of_their_own():
    weighted = schedule_of("learned", FLOW_SIGMAS, table=stored("ab3", w=[1.2, 1, 0.5, 1, 1]))
    (note,) = export(weighted, weighted.entries[0], "json").notes
    assert "pipe(prompt, **pipe.scheduler.call_arguments(guidance_scale=G))" in note
    reused = schedule_of("learned", FLOW_SIGMAS, table=stored("ab3", uncond=["fresh", "reused"] + ["fresh"] * 3))
    for other in (learned(), reused, small_rows()):
        assert not export(other, other.entries[0], "json").notes


def test_a_refusal_names_what_can_run_the_table():
    for schedule, can in ((learned(), True), (small_rows(), False)):
        with pytest.raises(
            ExportError, match=r"for clients\.\w+\.PacerScheduler or the" if can else "for the engine; "
        ):
            exported(schedule, "comfyui")


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=9))
def test_comfyui_reads_the_very_numbers(values):
    line = decimals(np.array(values))
    assert "e" not in line
    assert [float(number) for number in NUMBERS_OF_MANUAL_SIGMAS.findall(line)] == values


def test_comfyui_takes_all_sigmas_and_is_told_the_sampler():
    schedule = schedule_of("dpmpp-2m", [*VP_SIGMAS[:-1], 1e-5, 0.0], "epsilon")
    done = export(schedule, schedule.entries[0], "comfyui")
    assert done.text == "14.6, 5.2, 1.9, 0.66, 0.12, 0.00001, 0\n"
    assert "dpmpp_2m" in done.notes[1]


@pytest.mark.parametrize("target", ["comfyui", "a1111"])
def test_other_noise_at_the_start_is_told(target):
    late = schedule_of("euler", [0.96, 0.5, 0.0])
    assert "scales the noise by 0.96 first" in export(late, late.entries[0], target).notes[-1]
    full = schedule_of("euler", FLOW_SIGMAS)
    assert not any("scales the noise" in note for note in export(full, full.entries[0], target).notes)


@dataclass
class Scheduler:
    """As modules/sd_schedulers.py has it."""

    name: str
    label: str
    function: object


def test_a1111_gets_one_more_sigma_than_steps_and_no_other_number_of_steps(monkeypatch):
    listed = types.ModuleType("modules.sd_schedulers")
    listed.Scheduler, listed.schedulers, listed.schedulers_map = Scheduler, [], {}
    modules = types.ModuleType("modules")
    modules.sd_schedulers = listed
    monkeypatch.setitem(sys.modules, "modules", modules)
    text = exported(schedule_of("ddim", FLOW_SIGMAS), "a1111")
    for _ in range(2):  # the interface reloads its scripts
        exec(text, {})
    (added,) = listed.schedulers
    assert listed.schedulers_map == {"Pacer lab/toy/ddim/5": added}
    sigmas = added.function(n=5, sigma_min=0.0, sigma_max=1.0, device="cpu")
    np.testing.assert_allclose(sigmas.numpy(), FLOW_SIGMAS, rtol=1e-6)
    with pytest.raises(ValueError, match="is for 5 steps, not 6"):
        added.function(n=6, sigma_min=0.0, sigma_max=1.0, device="cpu")
