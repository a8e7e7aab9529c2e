"""Models that predict noise or v: searched as flows, stored and served over their own outputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pacer.control.budget_request import BudgetRequest
from pacer.control.planner import plan
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, TableMessage
from pacer.settings import Settings
from schedules.artefact import BetaSchedule, read
from schedules.compile import SOLVERS
from schedules.grids import shifted
from schedules.registry import Registry
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.table import Prediction
from tests.workers.families import tiny
from workers.digits.network import load_network
from workers.engine import Engine
from workers.lab.cli import main
from workers.lab.digits import DigitPrompts, digits_model, epsilon_field
from workers.lab.loading import lab_model
from workers.lab.native import Native, artefact_sampler
from workers.lab.prompts import FilePrompts
from workers.lab.searching.spliced import begun_as
from workers.lab.seeds import SeedSet
from workers.models import load
from workers.turn import Drawn

CPU = torch.device("cpu")
BETAS = BetaSchedule(kind="scaled_linear", beta_start=0.00085, beta_end=0.012)
QUICK = (
    "--method=pacer", "--budgets=2,3", "--seeds=8", "--validation=8", "--held-out=8", "--teacher-steps=20", "--grid=10",
    "--path-budget=3",
)  # fmt: skip


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", ["euler", "ab3", "unipc-2", "heun"])
def test_what_is_stored_comes_back(prediction: Prediction, solver: str) -> None:
    native = Native(prediction, BETAS)
    sigmas = native.grid("karras")(5)
    sampler = native.compiled(solver, sigmas)
    own_sigmas, own = native.stored(sampler)
    np.testing.assert_allclose(own_sigmas, sigmas, rtol=1e-12)
    again = native.sampler(own_sigmas, own)
    np.testing.assert_allclose(again.table.X, sampler.table.X, atol=1e-9)
    np.testing.assert_allclose(again.table.t, sampler.table.t, rtol=1e-9)


def test_pure_noise_is_stored_as_the_most_that_the_network_knows() -> None:
    native = Native("epsilon", BETAS)
    sigmas, own = native.stored(Sampler.compiled("ab2", shifted(4, 3.0)))
    assert sigmas[0] == pytest.approx(14.6146, abs=1e-3)
    assert own.t[0] == pytest.approx(999)
    assert own.c[0] == pytest.approx(1 / np.hypot(1, sigmas[0]))


@pytest.mark.parametrize("solver", [each for each in SOLVERS if each != "heun"])
def test_a_stock_solver_draws_on_the_flow_what_it_draws_on_the_network(solver: str) -> None:
    model, prompts = digits_model(), tuple("0123456789")
    problem = model.problem(SeedSet(0, prompts), guidance_scale=1.5, batch=64)
    sigmas = model.native.grid("trailing")(6)
    seen = model.native.compiled(solver, sigmas)
    own_sigmas, own = model.native.stored(seen)
    drawn = roll_out(problem, seen.table).final
    torch.testing.assert_close(roll_out(_unwrapped(problem, prompts), own).final, drawn, atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(own_sigmas, sigmas, rtol=1e-12)


def _unwrapped(problem: SearchProblem, prompts: Sequence[str]) -> SearchProblem:
    """The seeds of digits-8 with its network as it is."""
    network = load_network()
    none = epsilon_field(network, [""] * len(prompts))
    return SearchProblem(problem.noise, epsilon_field(network, prompts), none, guidance_scale=problem.guidance_scale)


def test_the_velocity_can_be_derived_by_the_times() -> None:
    """What gradient searches of times need (LD3, S4S), against differences of the velocity itself."""
    problem = digits_model().problem(SeedSet(0, tuple("0123456789")), guidance_scale=1.0, batch=64)
    x, rows = problem.noise, torch.arange(10)
    t = torch.linspace(150.3, 900.3, 10, requires_grad=True)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((weights * problem.conditional(x, t, rows)).sum(), t)
    with torch.no_grad():
        low, high = (weights * problem.conditional(x, t + nudge, rows) for nudge in (-0.2, 0.2))
    wanted = (high - low).flatten(1).sum(1) / 0.4
    torch.testing.assert_close(gradient, wanted, rtol=0.05, atol=0.02 * float(wanted.abs().max()))


def test_a_splice_begins_as_what_it_goes_on_from_to_the_last_digit() -> None:
    begun = Sampler.compiled("ab2", shifted(4, 3.0)).table
    rounded = begun_as(Native("epsilon", BETAS).stored(Sampler.compiled("ab2", shifted(4, 3.0)))[1], begun, 2)
    np.testing.assert_array_equal(rounded.X[:2], begun.X[:2])
    np.testing.assert_array_equal(rounded.t[:2], begun.t[:2])
    assert (rounded.t[2:] != begun.t[2:]).all()


def test_digits_can_be_searched(tmp_path: Path) -> None:
    arguments = ["search", "--model=digits-8", *QUICK, f"--data={tmp_path}", f"--out={tmp_path}"]
    assert main(Settings(), [*arguments, f"--report={tmp_path / 'report.html'}"]) == 0
    schedule = read(tmp_path / "digits-8" / "learned.json")
    assert (schedule.prediction, schedule.noise) == ("epsilon", digits_model().native.noise)
    for entry in schedule.entries:
        assert entry.evidence is not None
        best = max(entry.evidence.baselines_psnr_db, key=lambda name: entry.evidence.baselines_psnr_db[name].mean)  # type: ignore[union-attr]
        assert best.startswith(("euler", "dpmpp-2m", "unipc-2"))
        assert entry.evidence.psnr_db.mean > entry.evidence.baselines_psnr_db[best].mean + 3
    prompts = DigitPrompts().draw("held-out", 8, 0)
    problem = digits_model().problem(SeedSet(0, prompts), guidance_scale=1.5, batch=64)
    wanted = roll_out(problem, artefact_sampler(schedule, schedule.entries[1]).table).final
    own = roll_out(_unwrapped(problem, prompts), schedule.table(schedule.entries[1])).final
    torch.testing.assert_close(own, wanted, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_searched_schedule_is_served_as_it_was_measured(prediction: Prediction, tmp_path: Path) -> None:
    folder = tiny.saved(tiny.sd15, tmp_path / "tiny", prediction=prediction)
    lines, registry = tmp_path / "prompts.txt", tmp_path / "registry"
    lines.write_text("\n".join(f"a red circle and {count} birds" for count in range(60)))
    where = (f"--prompts={lines}", f"--data={tmp_path}", f"--out={registry}", f"--report={tmp_path / 'report.html'}")
    assert main(Settings(), ["search", f"--model={folder}", *QUICK, "--budgets=3", *where]) == 0

    loaded = load(str(folder), CPU)
    width, height = loaded.card.default_size
    request = BudgetRequest(
        card=loaded.card, guidance_scale=loaded.card.guidance_scale, width=width, height=height, steps=3
    )
    made, table = plan(request, Registry.load(registry), None)
    assert made.schedule == "tiny/learned/3"
    job = Job(
        id=new_job_id(loaded.card.id), prompt="a red circle", negative_prompt="", seed=5, width=width, height=height,
        guidance_scale=loaded.card.guidance_scale, plan=made, table=TableMessage.of(table),
    )  # fmt: skip
    engine = Engine(loaded.family, slots=2, max_rows=4, best_effort_slack_s=60.0)
    assert engine.admit(Claim(job, 1, 1, 0, 0)) is None
    (served,) = [engine.turn() for _ in range(3)][-1].ended
    assert isinstance(served, Drawn)

    lab = lab_model(loaded, FilePrompts(lines))
    schedule = read(registry / "tiny" / "learned.json")
    problem = lab.problem(SeedSet(5, ("a red circle",)), guidance_scale=lab.guidance_scale, batch=4)
    entry = schedule.entry(3)
    assert entry is not None
    (pixels,) = lab.decode(roll_out(problem, artefact_sampler(schedule, entry).table).final)
    assert abs(served.pixels.astype(int) - pixels.astype(int)).max() <= 1
