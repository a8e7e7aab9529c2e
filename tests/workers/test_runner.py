"""The runner: one row per request and turn, slots that do not leak, guidance as the table says."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from schedules.compile import compile_table
from schedules.search.splicing import resumed
from schedules.table import UNCOND_MODES, Table, TableError, UncondMode
from workers.families.base import Conditioning, classifier_free
from workers.networks import Networks
from workers.runner import Runner, Spec

SHAPE = (2, 3, 3)


class Field:
    """A family whose network is a formula: its text is a prompt's first word, a number; nan overflows."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.rows: list[int] = []

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        return SHAPE

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Conditioning]:
        return [float((prompt.split() or [0])[0]) for prompt in prompts]

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Conditioning]) -> Tensor:
        self.rows.append(len(x))
        text = torch.tensor(conditioning).reshape(-1, 1, 1, 1)
        return torch.sin(2 * x) + text * x + t.reshape(-1, 1, 1, 1) / 1000

    def combine(self, conditional: Tensor, unconditional: Tensor, guidance: Tensor) -> Tensor:
        return classifier_free(conditional, unconditional, guidance)

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        return np.zeros((len(x), 64, 64, 3), dtype=np.uint8)


def table(steps: int, *, solver: str = "ab2", modes: Sequence[UncondMode] | None = None) -> Table:
    plain = compile_table(solver, np.linspace(1, 0, steps + 1), "flow")
    if modes is None:
        return plain
    weights = np.array([0.0 if mode == "skipped" else 1.0 for mode in modes])
    return Table(plain.t, plain.c, weights, tuple(modes), plain.X, plain.base)


def spec(steps: int = 4, *, seed: int = 0, guidance: float = 1.0, text: float = 0.5, **how: object) -> Spec:
    return Spec(table(steps, **how), guidance, seed, SHAPE, text, -0.25)  # type: ignore[arg-type]


def by_hand(asked: Spec) -> Tensor:
    """The definition of a table, in float64, one request alone."""
    field, sampler = Field(), asked.table
    noise = torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(asked.seed))[0].double()
    history, last = [noise], torch.zeros_like(noise)
    rows = torch.from_numpy(sampler.X.copy())
    guidance = sampler.guidance(asked.guidance_scale)
    for k in range(sampler.evaluations_count):
        x = sum(float(rows[k, i]) * past for i, past in enumerate(history))
        assert isinstance(x, Tensor)
        net = lambda text, x=x, k=k: field.denoise(  # noqa: E731
            float(sampler.c[k]) * x[None], torch.tensor([float(sampler.t[k])], dtype=torch.float64), [text]
        )[0]
        y = net(asked.positive)
        if asked.guidance_scale != 1.0 and sampler.uncond[k] != "skipped":
            last = net(asked.negative) if sampler.uncond[k] == "fresh" else last
            y = last + float(guidance[k]) * (y - last)
        history.append(y)
    result = sum(float(rows[-1, i]) * past for i, past in enumerate(history))
    assert isinstance(result, Tensor)
    return result


def run(asked: dict[str, Spec]) -> dict[str, Tensor]:
    runner = Runner(Networks(Field(), max_rows=64), slots=len(asked))
    for name, one in asked.items():
        runner.admit(name, one)
    results: dict[str, Tensor] = {}
    left = {name: one.table.evaluations_count for name, one in asked.items()}
    while left:
        assert not runner.step(list(left))
        left = {name: count - 1 for name, count in left.items()}
        for name in [name for name in left if not left[name]]:
            results[name] = runner.results([name])[0]
            del left[name]
    return results


def test_each_request_gets_what_the_definition_says() -> None:
    asked = {
        "euler": spec(5, solver="euler", seed=1),
        "guided": spec(7, seed=2, guidance=3.0),
        "reused": spec(4, seed=3, guidance=2.0, modes=("fresh", "reused", "fresh", "reused")),
        "skipped": spec(4, seed=4, guidance=2.0, modes=("skipped", "fresh", "reused", "skipped")),
        "one": spec(1, seed=5, guidance=1.5),
        "long": spec(60, seed=6, solver="dpmpp-2m"),
        "two evaluations a step": spec(5, seed=7, solver="heun", guidance=1.5),
    }
    for name, result in run(asked).items():
        expected = by_hand(asked[name])
        assert float((result - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max())), name


@settings(deadline=None, max_examples=30)
@given(
    asked=st.lists(
        st.tuples(
            st.lists(st.sampled_from(UNCOND_MODES), min_size=1, max_size=6).filter(
                lambda modes: "reused" not in modes or "fresh" in modes[: modes.index("reused")]
            ),
            st.sampled_from([1.0, 1.5, 4.0]),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_whatever_is_reused_or_skipped_around_it_each_request_gets_its_own(
    asked: list[tuple[list[UncondMode], float]],
) -> None:
    specs = {
        f"r{place}": spec(len(modes), seed=place, guidance=guidance, modes=tuple(modes))
        for place, (modes, guidance) in enumerate(asked)
    }
    for name, result in run(specs).items():
        expected = by_hand(specs[name])
        assert float((result - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max())), name


def test_only_fresh_unconditional_outputs_cost_a_row() -> None:
    field = Field()
    runner = Runner(Networks(field, max_rows=64), slots=2)
    runner.admit("guided", spec(3, guidance=2.0, modes=("fresh", "reused", "skipped")))
    runner.admit("plain", spec(3))
    for _ in range(3):
        runner.step(["guided", "plain"])
    assert field.rows == [3, 2, 2]


def test_a_poisoned_request_fails_alone() -> None:
    asked = {f"r{i}": spec(5, seed=i, guidance=2.0) for i in range(8)}
    asked["r3"] = spec(5, seed=3, guidance=2.0, text=float("inf"))
    runner = Runner(Networks(Field(), max_rows=64), slots=8)
    for name, one in asked.items():
        runner.admit(name, one)
    assert runner.step(list(asked)) == {"r3"}
    for _ in range(4):
        runner.step(list(asked))
    for name in asked.keys() - {"r3"}:
        expected = by_hand(asked[name])
        assert torch.allclose(runner.results([name])[0].double(), expected, rtol=1e-4, atol=1e-4), name


def test_a_slot_is_clean_for_its_next_request() -> None:
    runner = Runner(Networks(Field(), max_rows=64), slots=1)
    runner.admit("poisoned", spec(6, text=float("nan")))
    assert runner.step(["poisoned"]) == {"poisoned"}
    runner.release("poisoned")
    runner.admit("next", spec(3, seed=9))
    for _ in range(3):
        assert not runner.step(["next"])
    assert torch.allclose(runner.results(["next"])[0].double(), by_hand(spec(3, seed=9)), rtol=1e-4, atol=1e-4)


def test_draws_follow_the_starting_noise_from_the_same_seed() -> None:
    plain = table(2, solver="euler")
    rows = np.insert(plain.X, 1, [0.0, 0.3, 0.7], axis=1)
    drawing = Table(plain.t, plain.c, plain.w, plain.uncond, rows, ("noise", "draw"))
    runner = Runner(Networks(Field(), max_rows=64), slots=1)
    runner.admit("a", Spec(drawing, 1.0, 11, SHAPE, 0.0, 0.0))
    generator = torch.Generator().manual_seed(11)
    noise, draw = (torch.randn((1, *SHAPE), generator=generator)[0] for _ in range(2))
    assert torch.equal(runner.results(["a"])[0], noise)
    runner.step(["a"])
    first = torch.sin(2 * noise) + 1.0
    assert torch.allclose(runner.results(["a"])[0], noise + 0.3 * draw - 0.5 * first, atol=1e-5)


def test_misuse_is_refused() -> None:
    runner = Runner(Networks(Field(), max_rows=64), slots=1)
    runner.admit("a", spec())
    with pytest.raises(ValueError, match="admitted already"):
        runner.admit("a", spec())
    with pytest.raises(ValueError, match="no slot is free"):
        runner.admit("b", spec())


def test_tensors_of_the_wrong_shape_are_caught_while_testing() -> None:
    with pytest.raises(TypeError, match="guidance"):
        classifier_free(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 9), st.integers(2, 40), st.data())
def test_a_request_goes_on_with_another_table(begun: int, other: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(1, min(begun, other) - 1))
    first, company = spec(begun, seed=3, guidance=1.5), spec(50, seed=4)
    spliced = replace(first, table=resumed(first.table, done, table(other)))
    runner = Runner(Networks(Field(), max_rows=64), slots=2)
    runner.admit("first", first)
    runner.admit("company", company)
    for _ in range(done):
        runner.step(["first", "company"])
    runner.replan("first", spliced.table)
    for _ in range(other - done):
        runner.step(["company", "first"])
    result = runner.results(["first"])[0].double()
    torch.testing.assert_close(result, by_hand(spliced), rtol=0, atol=1e-5 * max(1.0, float(result.abs().max())))


def test_what_was_evaluated_cannot_be_planned_anew() -> None:
    runner = Runner(Networks(Field(), max_rows=64), slots=1)
    runner.admit("first", spec(4))
    runner.replan("first", table(3))  # nothing was evaluated yet
    for _ in range(2):
        runner.step(["first"])
    with pytest.raises(TableError, match="begin with the 2 evaluations"):
        runner.replan("first", table(5))
    with pytest.raises(TableError, match="more than the 2"):
        runner.replan("first", begun_only(table(3), 2))
    with pytest.raises(TableError, match="smaller networks"):
        runner.replan("first", replace(table(3), networks=("", "", "half")))
    with pytest.raises(KeyError):
        runner.replan("second", table(3))


def begun_only(whole: Table, done: int) -> Table:
    """A table of the first evaluations alone."""
    rows = whole.X[: done + 1, : done + 1]
    return Table(whole.t[:done], whole.c[:done], whole.w[:done], whole.uncond[:done], rows)
