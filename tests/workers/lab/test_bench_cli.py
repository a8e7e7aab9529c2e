"""`pacer schedules bench` on the exact mixture and on digits-8, as a person would call it."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pacer.settings import Settings
from schedules.artefact import Entry, Schedule, StoredTable, write
from schedules.compile import SOLVERS, compile_table
from schedules.evidence import Provenance, ValidFor
from schedules.grids import shifted, uniform
from schedules.registry import Registry, artefact_path
from schedules.search.analytic import gaussian_mixture, reference, trajectory
from schedules.search.pacer_options import PacerOptions
from schedules.search.rollout import roll_out
from workers.lab.cli import main
from workers.lab.comparing.methods import Catalogue
from workers.lab.mixture import exact_teacher, mixture_model
from workers.lab.seeds import seed_set

QUICK = ("--seeds=8", "--calibration-seeds=6", "--teacher-steps=20", "--grid=10")
META = {"model", "guidance", "teacher", "seeds", "seed_offset", "commit", "hardware"}
ROW = (
    "method", "kind", "solver", "steps", "evaluations", "psnr_db", "psnr_db_lo", "psnr_db_hi", "latent_mse",
    "latent_mse_median", "latent_mse_p90", "task_score", "search_evaluations", "search_seconds",
    "task_score_of_teacher", "task_score_of_teacher_lo", "task_score_of_teacher_hi", "servable",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    meta: dict[str, Any]
    rows: list[Row]
    printed: str

    @property
    def evaluations(self) -> int:
        found = re.search(r"(\d+)\s+network\s+evaluations", self.printed)
        assert found
        return int(found[1])

    def row(self, method: str, steps: int) -> Row:
        return next(row for row in self.rows if (row["method"], row["steps"]) == (method, steps))


class Command:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, methods: str, *more: str, model: str = "mixture-32", budgets: str = "3,4") -> Result:
        out = self.folder / "out" / "bench.json"
        places = (f"--json={out}", f"--data={self.folder / 'lab'}")
        given = ("bench", f"--model={model}", f"--methods={methods}", f"--budgets={budgets}", *QUICK, *places, *more)
        assert main(Settings(torch_threads=1), given) == 0
        written = json.loads(out.read_text())
        assert set(written) == {"meta", "rows"}
        return Result(written["meta"], written["rows"], self._capsys.readouterr().out)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


def artefact(
    solver: str,
    *,
    guidance: tuple[float, float] = (1.0, 1.0),
    weights: str | None = None,
    variant: str | None = None,
) -> Schedule:
    """Shifted grids under the solver; "learned" stores UniPC's coefficients."""
    compiled = {steps: compile_table("unipc-2" if solver == "learned" else solver, shifted(steps, 1.5), "flow")
                for steps in (3, 5)}  # fmt: skip
    entries = tuple(
        Entry(steps=steps, sigmas=tuple(shifted(steps, 1.5).tolist()), table=StoredTable.of(table))
        for steps, table in compiled.items()
    )
    provenance = Provenance(
        method="by hand", teacher_steps=20, calibration_seeds=1, calibration_seed_offset=0, prompts_sha256="0" * 64,
        date="2026-01-01", code_version="0", parameters={"search_evaluations": 77} if solver == "learned" else {},
    )  # fmt: skip
    return Schedule(
        format="pacer-schedule/1", model="mixture-32", revision=None,
        weights_sha256=weights or mixture_model().weights_sha256, dtype="float64", quantization=None,
        prediction="flow", solver=solver, variant=variant, order=SOLVERS.get(solver, 2), provenance=provenance,
        entries=entries, valid_for=ValidFor(width=(8, 8), height=(4, 4), guidance_scale=guidance),
    )  # fmt: skip


def test_the_file_has_the_agreed_form(command: Command) -> None:
    result = command("uniform,heun,gits-1.15,boss,s4s,gotta_go_fast,oss_per_seed,pacer", "--search-pacer")
    assert set(result.meta) >= META
    assert result.meta["teacher"] == {"kind": "exact", "steps": 20, "task_score": None}
    kinds = {row["method"]: row["kind"] for row in result.rows}
    assert kinds == {
        "uniform": "grid", "heun": "stock", "gits-1.15": "published", "boss": "search", "s4s": "search",
        "gotta_go_fast": "search", "oss_per_seed": "search", "pacer": "pacer",
    }  # fmt: skip
    for row in result.rows:
        assert tuple(row) == ROW
        assert row["psnr_db_lo"] <= row["psnr_db"] <= row["psnr_db_hi"]
        assert 0 < row["latent_mse_median"] <= row["latent_mse_p90"]
        assert row["evaluations"] == row["steps"] or row["method"] == "gotta_go_fast"
        assert row["servable"] == (row["method"] not in {"gotta_go_fast", "oss_per_seed"})
    assert [row["steps"] for row in result.rows if row["method"] == "heun"] == [3]
    assert result.row("pacer", 4)["psnr_db"] > result.row("uniform", 4)["psnr_db"]
    assert (result.row("s4s", 3)["solver"], result.row("gits-1.15", 3)["solver"]) == ("learned", "dpmpp-2m")
    for name in kinds:
        assert name in result.printed


def test_the_figures_are_those_of_the_true_solution(command: Command) -> None:
    row = command("uniform", "--seed-offset=5").row("uniform", 4)
    model = mixture_model()
    problem = model.problem(seed_set(model.prompts, "held-out", 8, 5), guidance_scale=1.0, batch=8)
    drawn = roll_out(problem, compile_table("euler", uniform(4), "flow")).final
    errors = (drawn.double() - reference(gaussian_mixture(), problem.noise)).square().mean(1).numpy()
    assert row["latent_mse"] == pytest.approx(errors.mean(), rel=1e-4)
    assert row["latent_mse_p90"] == pytest.approx(np.quantile(errors, 0.9), rel=1e-4)
    assert row["psnr_db"] == pytest.approx(10 * np.log10(8.0**2 / errors).mean(), abs=1e-3)
    assert row["search_evaluations"] == 0


def test_a_search_counts_its_evaluations_and_its_teachers(command: Command) -> None:
    result = command("boss,dmn,olss_student,unipc-2")
    teacher = 6 * 20
    assert result.row("boss", 3)["search_evaluations"] == teacher
    assert result.row("dmn", 3)["search_evaluations"] == 0
    assert result.row("olss_student", 3)["search_evaluations"] == teacher + 6 * (3 + 4)
    assert result.row("unipc-2", 3)["search_evaluations"] == teacher + 6 * (5 * 2 + 1 + 5 * 3 + 1)


def test_gradient_descent_over_the_whole_history_is_given_pacers_outlay(command: Command) -> None:
    result = command("s4s_alt_whole,ab2,s4s", "--calibration-seeds=64", budgets="6")
    outlay = PacerOptions().spend
    rounds = (outlay - 6 * 16 * 6) // ((3 * 48 + 16) * 6)
    spent = (6 * 16 + rounds * (3 * 48 + 16)) * 6
    found = result.row("s4s_alt_whole", 6)
    assert found["search_evaluations"] == 64 * 20 + spent
    assert 0.97 * outlay < spent <= outlay
    assert found["psnr_db"] > max(result.row(name, 6)["psnr_db"] for name in ("s4s", "ab2")) + 5


def test_an_oracle_is_searched_on_the_very_seeds_that_are_measured(command: Command) -> None:
    here = command("oss_per_seed,oss_released")
    teacher, nodes = 20, 10
    assert here.row("oss_per_seed", 4)["search_evaluations"] == 8 * (teacher + nodes * 4)
    for steps in (3, 4):
        assert here.row("oss_per_seed", steps)["psnr_db"] > here.row("oss_released", steps)["psnr_db"] + 1
    there = command("oss_per_seed", "--seed-offset=100")
    assert there.evaluations == 8 * (1 + teacher + nodes * 4 + 3 + 4)


def test_what_a_budget_loses_that_was_not_searched(command: Command) -> None:
    folder = command.folder / "registry"
    schedule = artefact("ab2")
    entries = tuple(
        Entry(steps=steps, sigmas=tuple(shifted(steps, shift).tolist()))
        for steps, shift in ((3, 1.0), (4, 6.0), (5, 1.0))
    )
    write(schedule.model_copy(update={"entries": entries}), artefact_path(folder, "mixture-32", "ab2"))
    result = command("uniform+ab2,registry-ab2,interpolated-ab2", f"--registry={folder}", budgets="3-6")
    between, beyond = (result.row("interpolated-ab2", steps) for steps in (4, 6))
    assert [row["steps"] for row in result.rows if row["method"] == "interpolated-ab2"] == [4, 6]
    assert beyond["psnr_db"] == pytest.approx(result.row("uniform+ab2", 6)["psnr_db"], abs=1e-3)
    assert between["psnr_db"] == pytest.approx(result.row("uniform+ab2", 4)["psnr_db"], abs=1e-3)
    assert between["psnr_db"] != pytest.approx(result.row("registry-ab2", 4)["psnr_db"], abs=0.1)


def test_searches_that_others_made_are_not_made_again(command: Command, tmp_path: Path) -> None:
    methods = "boss,s4s,unipc-2"
    mine = command(methods)
    for kind in ("searches", "teacher-costs"):
        shutil.copytree(tmp_path / "lab" / kind, tmp_path / "theirs" / kind)
    shutil.rmtree(tmp_path / "lab")
    again = command(methods, f"--searches={tmp_path / 'theirs'}")
    assert again.rows == mine.rows
    assert not (tmp_path / "lab" / "searches").exists()
    command(methods, f"--searches={tmp_path / 'theirs'}", "--fresh")
    assert (tmp_path / "lab" / "searches").exists()


def test_what_is_on_disk_is_not_evaluated_again(command: Command) -> None:
    methods = "uniform,unipc-2,boss,s4s,gotta_go_fast,pacer"
    first = command(methods, "--search-pacer", budgets="3")
    again = command(methods, "--search-pacer", budgets="3")
    assert first.evaluations > 0
    assert again.evaluations == 0
    assert again.rows == first.rows
    fresh = command("uniform,s4s", "--fresh", budgets="3")
    assert fresh.evaluations == first.row("s4s", 3)["search_evaluations"] - 6 * 20 + 8 * (3 + 2)
    assert fresh.row("s4s", 3)["psnr_db"] == first.row("s4s", 3)["psnr_db"]


def test_an_interrupted_run_goes_on_where_it_was(command: Command) -> None:
    part, whole = command("uniform,boss"), command("uniform,boss,shift2")
    assert whole.evaluations == 8 * (3 + 3)  # the first output is common to all
    assert whole.rows[: len(part.rows)] == part.rows


def test_an_offset_takes_other_seeds_for_the_figures_alone(command: Command) -> None:
    here, there = command("boss", budgets="4"), command("boss", "--seed-offset=100", budgets="4")
    assert there.meta["seed_offset"] == 100
    assert there.evaluations == 8 * (1 + 4)
    assert here.row("boss", 4)["search_evaluations"] == there.row("boss", 4)["search_evaluations"]
    assert here.row("boss", 4)["psnr_db"] != there.row("boss", 4)["psnr_db"]


def test_a_stock_solver_has_the_best_shift_of_the_calibration_seeds(command: Command) -> None:
    result = command("euler,unipc-2")
    model = mixture_model()
    problem = model.problem(seed_set(model.prompts, "calibration", 6, 0), guidance_scale=1.0, batch=8)
    target = reference(gaussian_mixture(), problem.noise)
    for solver in ("euler", "unipc-2"):
        tables = {shift: compile_table(solver, shifted(4, shift), "flow") for shift in (1.0, 1.5, 2.0, 3.0, 5.0)}
        drawn = {shift: roll_out(problem, table).final.double() for shift, table in tables.items()}
        errors = {shift: (final - target).square().mean(1).log().mean() for shift, final in drawn.items()}
        assert result.meta["shifts"]["chosen"][solver]["4"] == min(errors, key=errors.__getitem__)


def test_the_registrys_entries_are_rows(command: Command) -> None:
    registry = command.folder / "registry"
    for solver in ("learned", "euler"):
        write(artefact(solver), artefact_path(registry, "mixture-32", solver))
    result = command("registry,shift2", f"--registry={registry}", budgets="3-5")
    names = {row["method"]: row["kind"] for row in result.rows}
    assert names == {"pacer": "pacer", "registry-euler": "search", "shift2": "grid", **dict.fromkeys(SOLVERS, "stock")}
    assert [row["steps"] for row in result.rows if row["method"] == "pacer"] == [3, 5]
    assert (result.row("pacer", 3)["solver"], result.row("pacer", 3)["search_evaluations"]) == ("learned", 77)
    assert result.row("registry-euler", 3)["search_seconds"] is None
    searched = command("pacer", "--search-pacer", f"--registry={registry}", budgets="3")
    assert searched.row("pacer", 3)["psnr_db"] > result.row("pacer", 3)["psnr_db"]


def test_a_variant_is_a_row_of_its_own_where_it_holds(command: Command) -> None:
    registry = command.folder / "registry"
    for solver, variant, guidance in (
        ("learned", None, (1.0, 1.0)), ("learned", "g1", (1.0, 1.2)), ("learned", "g3", (2.0, 4.0)),
        ("euler", "g1", (1.0, 1.0)),
    ):  # fmt: skip
        one = artefact(solver, guidance=guidance, variant=variant)
        write(one, artefact_path(registry, "mixture-32", solver, variant))
    result = command("registry,pacer@g1", f"--registry={registry}", budgets="3")
    kinds = {row["method"]: row["kind"] for row in result.rows if row["kind"] != "stock"}
    assert kinds == {"pacer": "pacer", "pacer@g1": "pacer", "registry-euler@g1": "search"}
    assert any("mixture-32/learned@g3 left out: it holds for guidance 2 to 4, not 1" in n for n in result.meta["notes"])
    with pytest.raises(ValueError, match="no method 'pacer@g3'"):
        command("pacer@g3", f"--registry={registry}")


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (artefact("euler", weights="1" * 64), "other weights"),
        (artefact("euler", guidance=(2.0, 3.0)), "guidance 2 to 3, not 1"),
    ],
)
def test_entries_that_do_not_hold_are_left_out_and_said_so(command: Command, schedule: Schedule, reason: str) -> None:
    write(schedule, artefact_path(command.folder / "registry", "mixture-32", "euler"))
    result = command("uniform", f"--registry={command.folder / 'registry'}")
    assert reason in result.meta["notes"][0]
    assert reason in result.printed.replace("\n", " ")
    with pytest.raises(ValueError, match="no method 'registry-euler'"):
        command("registry-euler", f"--registry={command.folder / 'registry'}")


def test_digits_are_guided_judged_and_drawn(command: Command) -> None:
    picture = command.folder / "front.svg"
    result = command("shift2,unipc-2,gits", f"--plot={picture}", model="digits-8", budgets="4,6")
    assert result.meta["guidance"] == 1.5
    assert result.meta["teacher"]["kind"] == "euler"
    assert result.meta["teacher"]["task_score"] >= 0.75
    for row in result.rows:
        assert row["evaluations"] == 2 * row["steps"]
        assert 0 <= row["task_score"] <= 1
        ratio = row["task_score"] / result.meta["teacher"]["task_score"]
        assert row["task_score_of_teacher"] == pytest.approx(ratio)
        assert row["task_score_of_teacher_lo"] <= ratio <= row["task_score_of_teacher_hi"]
    assert result.row("unipc-2", 6)["psnr_db"] > result.row("unipc-2", 4)["psnr_db"]
    assert picture.read_text().startswith("<?xml")


def test_placed_guidance_is_a_row_with_its_own_evaluations(command: Command) -> None:
    result = command("pacer_placed,unipc-2", "--evaluations=4,5", model="digits-8", budgets="2,3")
    placed = [row for row in result.rows if row["method"] == "pacer_placed"]
    assert [row["evaluations"] for row in placed] == [4, 5]
    assert all(row["steps"] < row["evaluations"] for row in placed)
    assert all((row["kind"], row["solver"]) == ("pacer", "learned") for row in placed)
    first, _, second = result.printed.partition("by network evaluations")
    assert "pacer_placed" not in first
    assert f"{placed[1]['psnr_db']:.2f}" in next(line for line in second.splitlines() if "pacer_placed" in line)


@pytest.mark.parametrize(
    ("methods", "more", "message"),
    [
        ("bosss", (), "no method 'bosss'; there are all, registry, grid"),
        ("pacer", (), "no entries of pacer for this model; --search-pacer"),
        ("pacer_placed", (), "--evaluations 8,10,15 names them"),
        ("pacer_placed", ("--evaluations=8",), "evaluations: without guidance"),
        ("s4s+euler", (), "the solver of s4s cannot be chosen, is 'euler'"),
        ("kbest+heun", (), "must be one of euler, ab2, dpmpp-2m, is 'heun'"),
        ("gotta_go_fast+euler", (), "has Heun's method built in"),
        ("oss_per_seed+ab2", (), "has Euler's method built in"),
        ("karras+rk45", (), "solver: must be one of euler"),
        ("uniform", ("--guidance=2",), "has no prompts, so only 1 is possible"),
        ("uniform", ("--guidance=0.5",), "guidance: must be at least 1, is 0.5"),
        ("uniform", ("--grid=7",), "divide 20 teacher steps, is 7"),
        ("uniform", ("--grid=2",), "must not exceed the grid's 2 intervals"),
        ("uniform", ("--calibration-seeds=2",), "calibration_seeds: must be at least 3"),
        ("uniform", ("--plot=front.pdf",), r"plot: must end in \.png or \.svg"),
    ],
)
def test_what_cannot_be_is_refused(command: Command, methods: str, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command(methods, *more)


def test_every_method_has_a_name_of_its_own() -> None:
    catalogue = Catalogue(search_pacer=True)
    chosen = catalogue.choose("all")
    assert len({method.name for method in chosen}) == len(chosen) > 50
    assert all(catalogue.method(name).name == name for name in catalogue.names())
    assert {method.kind for method in chosen} == {"grid", "stock", "published", "search", "pacer"}


def test_the_exact_teacher_lies_on_the_true_path() -> None:
    model = mixture_model()
    problem = model.problem(seed_set(model.prompts, "calibration", 4, 0), guidance_scale=1.0, batch=8)
    teacher = exact_teacher(problem, 100, 10)
    flow = gaussian_mixture()
    end = reference(flow, problem.noise).float()
    torch.testing.assert_close(teacher.final, end, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(exact_teacher(problem, 100, 1).final, end, atol=1e-6, rtol=1e-5)
    levels = np.array([1.0, 0.5 + 1e-3, 0.5, 0.5 - 1e-3])
    before, here, after = trajectory(flow, problem.noise, levels, substeps=400)[1:]
    torch.testing.assert_close(teacher.states[5], here.float(), atol=1e-5, rtol=1e-5)
    slope = ((before - after) / 2e-3).float()
    torch.testing.assert_close(teacher.velocities[5], slope, atol=2e-3, rtol=1e-2)


def test_what_methods_find_is_kept_as_schedules_like_any_other(command: Command) -> None:
    """Grids, stock solvers, published tables, searches and learned coefficients; not what no table can hold."""
    keep = command.folder / "kept"
    methods = (
        "uniform,karras+dpmpp-2m,unipc-2,ays-sd1,boss,gits+dpmpp-2m,olss,gotta_go_fast,oss_per_seed,registry-euler"
    )
    registry = command.folder / "registry"
    write(artefact("euler"), artefact_path(registry, "mixture-32", "euler"))
    result = command(methods, f"--keep={keep}", f"--registry={registry}")
    schedules = {each.solver_id: each for each in Registry.load(keep).schedules("mixture-32")}
    assert schedules.keys() == {
        "euler@uniform", "dpmpp-2m@karras", "unipc-2@stock", "dpmpp-2m@ays-sd1", "euler@boss", "dpmpp-2m@gits",
        "learned@olss",
    }  # fmt: skip
    model = mixture_model()
    problem = model.problem(seed_set(model.prompts, "held-out", 8, 0), guidance_scale=1.0, batch=8)
    target = exact_teacher(problem, 20, 1).final
    for solver_id, schedule in schedules.items():
        entry = schedule.entry(4)
        assert entry is not None
        assert entry.evidence is not None
        said = next(row for row in result.rows if row["steps"] == 4 and variant_row(row) == solver_id)
        assert entry.evidence.psnr_db.mean == said["psnr_db"]
        assert schedule.provenance.parameters["search_evaluations"] == said["search_evaluations"]
        drawn = roll_out(problem, schedule.table(entry)).final
        assert float((drawn - target).square().mean()) == pytest.approx(said["latent_mse"], rel=1e-4)


def variant_row(row: Row) -> str:
    """What the artefact of a row is called."""
    name = "stock" if row["kind"] == "stock" else row["method"].partition("+")[0]
    return f"{row['solver']}@{name}"
