"""Smaller networks: each row runs its own, whoever is in the batch; the same model with another network loaded."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from diffusers import SD3Transformer2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pacer.errors import ErrorKind
from pacer.jobs.messages import Claim, Lora, TableMessage
from pacer.models import CARD_NAME
from pacer.models import load as load_card
from schedules.table import TableError
from tests.workers.conftest import load_stock
from tests.workers.test_engine import GOOD, claim_of, run
from tests.workers.test_runner import Field, spec
from workers.engine import Engine
from workers.families.base import Conditioning
from workers.families.sd3 import Sd3Family
from workers.lab.loading import lab_model
from workers.lab.prompts import ShapesPrompts
from workers.lab.seeds import seed_set
from workers.models import ModelError, load, weights_sha256
from workers.networks import Networks
from workers.runner import Runner, Spec
from workers.shapes.architecture import build_transformer
from workers.turn import Drawn, Failed


class Half(Field):
    """Another formula."""

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Conditioning]) -> Tensor:
        return 0.5 * super().denoise(x, t, conditioning) + 0.1


def with_networks(asked: Spec, networks: Sequence[str]) -> Spec:
    return replace(asked, table=replace(asked.table, networks=tuple(networks)))


def draw(networks: Networks, *asked: Spec) -> list[Tensor]:
    """All together, one more joining at each turn."""
    runner = Runner(networks, slots=len(asked))
    waiting, left, results = list(enumerate(asked)), dict[str, int](), dict[int, Tensor]()
    while waiting or left:
        if waiting:
            number, one = waiting.pop(0)
            runner.admit(str(number), one)
            left[str(number)] = one.table.evaluations_count
        assert not runner.step(list(left))
        left = {name: count - 1 for name, count in left.items()}
        for name in [name for name, count in left.items() if not count]:
            results[int(name)] = runner.results([name])[0]
            runner.release(name)
            del left[name]
    return [results[number] for number in range(len(asked))]


def by_hand(asked: Spec) -> Tensor:
    """The definition of a table with networks, one request alone."""
    families, table = {"": Field(), "half": Half()}, asked.table
    noise = torch.randn((1, *asked.shape), generator=torch.Generator().manual_seed(asked.seed))
    history, last = [noise], torch.zeros_like(noise)
    for k in range(table.evaluations_count):
        x = sum((float(a) * h for a, h in zip(table.X[k], history, strict=False)), torch.zeros_like(noise))
        family, t = families[table.network(k)], torch.tensor([float(table.t[k])])
        y = family.denoise(x, t, [asked.positive])
        if asked.guidance_scale != 1 and table.uncond[k] != "skipped":
            last = family.denoise(x, t, [asked.negative]) if table.uncond[k] == "fresh" else last
            y = last + float(table.guidance(asked.guidance_scale)[k]) * (y - last)
        history.append(y)
    return sum((float(a) * h for a, h in zip(table.X[-1], history, strict=True)), torch.zeros_like(noise))[0]


rows = st.lists(st.tuples(st.sampled_from(["", "half"]), st.sampled_from(["fresh", "reused"])), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.booleans())
def test_each_row_runs_its_own_network_whoever_is_in_the_batch(
    many: list[list[tuple[str, str]]], invariant: bool
) -> None:
    asked = []
    for seed, rows_ in enumerate(many):
        modes = ("fresh", *(mode for _, mode in rows_[1:]))
        plain = spec(len(rows_), seed=seed, guidance=2.0, modes=modes)
        asked.append(with_networks(plain, [network for network, _ in rows_]))
    networks = Networks(Field(), {"half": Half()}, max_rows=16, invariant=invariant)
    for one, drawn in zip(asked, draw(networks, *asked), strict=True):
        torch.testing.assert_close(drawn, by_hand(one), rtol=1e-4, atol=1e-4)


def test_a_batch_makes_one_call_of_each_network_that_it_needs() -> None:
    own, half = Field(), Half()
    networks = Networks(own, {"half": half}, max_rows=16)
    small = with_networks(spec(2), ["half", "half"])
    mixed = with_networks(spec(2, guidance=2.0), ["", "half"])
    runner = Runner(networks, slots=3)
    for name, one in (("a", small), ("b", mixed), ("c", spec(2))):
        runner.admit(name, one)
    runner.step(["a", "b", "c"])
    assert (own.rows, half.rows) == ([3], [1])  # b is guided: two rows
    runner.step(["a", "b", "c"])
    assert (own.rows, half.rows) == ([3, 1], [1, 3])


def test_a_table_for_a_network_that_is_not_here_is_refused_by_name() -> None:
    with pytest.raises(TableError, match="no 'half'; its smaller networks: none"):
        Runner(Networks(Field(), max_rows=4), slots=1).admit("a", with_networks(spec(2), ["half", ""]))


def claim_with(networks: Sequence[str], *, lora: bool = False) -> Claim:
    claim = claim_of(GOOD, steps=len(networks))
    table = TableMessage.of(replace(claim.job.table.table(), networks=tuple(networks)))
    plan = msgspec.structs.replace(claim.job.plan, lora=(Lora("style"),) if lora else ())
    return msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, table=table, plan=plan))


def test_jobs_with_and_without_smaller_networks_are_drawn_together() -> None:
    own, half = Field(), Half()
    engine = Engine(own, slots=4, max_rows=8, best_effort_slack_s=60.0, smaller={"half": half})
    engine.warm_up(64, 64)
    assert half.rows == [1, 2], "the smaller network is warmed up as well"
    for networks in (["half", "", "half"], ["", "", ""], ["half", "half"]):
        assert engine.admit(claim_with(networks)) is None
    assert [type(one) for one in run(engine)] == [Drawn] * 3
    assert sum(half.rows) == 3 + 4


def test_turns_with_a_smaller_network_teach_nothing_of_the_models_own_speed() -> None:
    engine = Engine(Field(), slots=4, max_rows=8, best_effort_slack_s=60.0, smaller={"half": Half()})
    assert engine.admit(claim_with(["half", "half"])) is None
    run(engine)
    assert engine.speed.snapshot() is None
    assert engine.admit(claim_with(["", "half"])) is None
    run(engine)
    assert engine.speed.snapshot() is not None


def test_a_worker_without_the_network_says_so_and_draws_the_others() -> None:
    engine = Engine(Field(), slots=4, max_rows=8, best_effort_slack_s=60.0)
    failed = engine.admit(claim_with(["half"]))
    assert isinstance(failed, Failed)
    assert failed.kind is ErrorKind.invalid_request
    assert "no 'half'" in failed.detail
    assert engine.admit(claim_with([""])) is None
    assert [type(one) for one in run(engine)] == [Drawn]


def test_no_lora_fits_a_smaller_network() -> None:
    engine = Engine(Field(), slots=4, max_rows=8, best_effort_slack_s=60.0, smaller={"half": Half()})
    failed = engine.admit(claim_with(["half"], lora=True))
    assert isinstance(failed, Failed)
    assert "lora: fits the model's own network alone" in failed.detail


@pytest.fixture(scope="module")
def two_networks(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / CARD_NAME).unlink(missing_ok=True)  # other tests may have given the tiny model one
    torch.manual_seed(5)
    build_transformer(width=32, layers=2).save_pretrained(folder / "smaller" / "half")
    return folder


def test_a_model_comes_with_its_smaller_networks(two_networks: Path, tiny_folder: Path) -> None:
    loaded = load(str(two_networks), torch.device("cpu"))
    assert set(loaded.smaller) == {"half"}
    assert load_card(str(two_networks)).networks == {"half": None}
    assert not load(str(tiny_folder), torch.device("cpu")).smaller
    assert weights_sha256(two_networks) == weights_sha256(tiny_folder), "schedules of the model stay its own"

    families = (loaded.family, loaded.smaller["half"])
    texts = families[0].encode(["a red circle", ""])
    for mine, other in zip(texts, families[1].encode(["a red circle", ""]), strict=True):
        torch.testing.assert_close(mine.tokens, other.tokens, rtol=0, atol=0)
    x, t = torch.randn(2, 4, 16, 16), torch.tensor([900.0, 300.0])
    outputs = [family.denoise(x, t, texts) for family in families]
    assert not torch.allclose(*outputs)
    other_model = load_stock(tiny_folder)
    other_model.transformer = SD3Transformer2DModel.from_pretrained(two_networks / "smaller" / "half")
    torch.testing.assert_close(outputs[1], Sd3Family(other_model).denoise(x, t, texts), rtol=1e-5, atol=1e-5)


def test_a_pickled_smaller_network_is_refused(two_networks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(two_networks, folder)
    weights = folder / "smaller" / "half" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(folder), torch.device("cpu"))


def test_the_lab_knows_what_a_smaller_network_costs(two_networks: Path) -> None:
    model = lab_model(load(str(two_networks), torch.device("cpu")), ShapesPrompts())
    half = model.smaller["half"]
    assert 0.2 < half.cost < 0.6
    assert half.weights_sha256 == weights_sha256(two_networks / "smaller" / "half")
    problem = model.problem(seed_set(model.prompts, "calibration", 2, 0), guidance_scale=1.5, batch=4)
    assert problem.costs == {"half": half.cost}
    x, t, rows = problem.noise, torch.full((2,), 700.0), torch.arange(2)
    assert not torch.allclose(problem.conditional(x, t, rows), problem.network("half").conditional(x, t, rows))
