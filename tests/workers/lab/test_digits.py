"""digits-8 as the lab sees it: a flow whose tables are tables of an epsilon network."""

from pathlib import Path

import pytest
import torch

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import run_teacher
from workers.digits.data import load_digits
from workers.digits.export import recognised
from workers.digits.network import load_network
from workers.lab.digits import DigitPrompts, digits_model, epsilon_field
from workers.lab.meter import Meter
from workers.lab.model import LabModel
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.seeds import seed_set
from workers.lab.store import LabStore


@pytest.fixture(scope="module")
def model() -> LabModel:
    return digits_model()


def problem_of(model: LabModel, count: int, guidance_scale: float) -> tuple[tuple[str, ...], SearchProblem]:
    seeds = seed_set(model.prompts, "held-out", count, 0)
    return seeds.prompts, model.problem(seeds, guidance_scale=guidance_scale, batch=64)


def test_the_teacher_draws_the_digits_it_is_told(model: LabModel) -> None:
    prompts, problem = problem_of(model, 60, 2.0)
    drawn = run_teacher(problem, 40, nodes=1).final
    assert recognised(drawn, torch.tensor([int(prompt) for prompt in prompts]), load_digits()[0]).float().mean() > 0.9
    assert drawn.abs().amax((1, 2, 3)).median() < 1.5


@pytest.mark.parametrize("solver", ["euler", "ab3", "unipc-2", "heun"])
def test_a_table_found_on_the_flow_is_one_of_the_epsilon_network(model: LabModel, solver: str) -> None:
    prompts, problem = problem_of(model, 10, 1.5)
    network = load_network()
    own = SearchProblem(
        problem.noise, epsilon_field(network, prompts), epsilon_field(network, [""] * 10), guidance_scale=1.5
    )
    table = compile_table(solver, shifted(6, 2.0), "flow")
    _, stored = model.native.stored(Sampler(shifted(6, 2.0), table))
    wanted = roll_out(problem, table).final
    torch.testing.assert_close(roll_out(own, stored).final, wanted, atol=2e-3, rtol=2e-3)


def test_more_steps_come_nearer_to_the_teacher(model: LabModel) -> None:
    _, problem = problem_of(model, 20, 1.5)
    teacher = run_teacher(problem, 120, nodes=1).final

    def error(solver: str, steps: int) -> float:
        final = roll_out(problem, compile_table(solver, uniform(steps), "flow")).final
        return float((final - teacher).square().flatten(1).mean(1).median())

    assert error("euler", 40) < error("euler", 10) < error("euler", 4)
    assert error("ab2", 10) < error("euler", 10)


def test_a_bench_runs_on_it(model: LabModel, tmp_path: Path) -> None:
    request = SearchRequest(
        "euler", (4,), 1.5, seeds=4, held_out=4, grid=8, path_budget=4, path_seeds=4, teacher_steps=16, screen=4
    )
    bench = SearchRun(model, request, LabStore(tmp_path), Meter())
    assert bench.model.decode(bench.held_out.teacher.final).shape == (4, 8, 8, 3)
    assert bench.calibration.teacher.states.shape == (9, 4, 1, 8, 8)


def test_prompts_are_the_ten_digits_in_turn() -> None:
    drawn = DigitPrompts().draw("validation", 30, 5)
    assert drawn == DigitPrompts().draw("validation", 30, 5)
    assert sorted(drawn) == sorted("0123456789" * 3)


@pytest.mark.parametrize("prompt", ["a red circle", "10", "-1", "²"])
def test_other_prompts_are_refused(model: LabModel, prompt: str) -> None:
    with pytest.raises(ValueError, match="must be a digit"):
        model.field([prompt])


def test_paper_is_white_and_ink_black(model: LabModel) -> None:
    latents = torch.tensor([-2.0, -1.0, 0.0, 1.0]).repeat(16).reshape(1, 1, 8, 8)
    pixels = model.decode(latents)
    assert pixels[0, 0, :4].tolist() == [[255] * 3, [255] * 3, [128] * 3, [0] * 3]
