"""LoRAs in the engine: no trace of them in requests without, bounded in number, and a bad file costs only its own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pacer.errors import ErrorKind
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Lora, Plan, TableMessage
from schedules.compile import compile_table
from tests.workers.conftest import load_stock
from tests.workers.families import lora_files, tiny, tiny_flux, tiny_sd3
from workers.engine import Engine
from workers.families.flux import FluxFamily
from workers.families.pixart_sigma import PixArtSigmaFamily
from workers.families.sd3 import Sd3Family
from workers.image_file import provenance
from workers.loras import LoraError, Loras
from workers.turn import Drawn, Failed

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),  # numpy, from inside diffusers
    lora_files.several,
]

TABLE = compile_table("euler", np.linspace(1.0, 0.0, 4), "flow")
KEPT = 4


def claim_of(*loras: Lora, seed: int = 1) -> Claim:
    plan = Plan("tiny", "custom", "euler", 3, 6, (1.0, 0.6, 0.3, 0.0), None, None, lora=loras)
    job = Job(
        id=new_job_id("tiny"), prompt="a red circle", negative_prompt="", seed=seed, width=64, height=64,
        guidance_scale=2.0, plan=plan, table=TableMessage.of(TABLE),
    )  # fmt: skip
    return Claim(job, 1, 1, 0, 0)


class Bench:
    """A model, a folder of LoRAs for it, and engines over them."""

    def __init__(self, pipeline: Any, family: Any, folder: Path) -> None:
        self.pipeline, self.family, self.folder = pipeline, family, folder
        self.loras = Loras(pipeline, "tiny", folder, KEPT)

    def engine(self, **options: Any) -> Engine:
        return Engine(
            self.family, **{"slots": 8, "max_rows": 8, "best_effort_slack_s": 60.0, "loras": self.loras, **options}
        )

    def draw(self, *claims: Claim, **options: Any) -> dict[str, Drawn | Failed]:
        """All at once; by job."""
        engine, ended = self.engine(**options), dict[str, Drawn | Failed]()
        for claim in claims:
            if failed := engine.admit(claim):
                ended[claim.job.id] = failed
        while len(engine):
            ended |= {one.claim.job.id: one for one in engine.turn().ended}
        engine.close()
        return ended

    def picture(self, *loras: Lora) -> np.ndarray:
        (one,) = self.draw(claim_of(*loras)).values()
        assert isinstance(one, Drawn), one
        return one.pixels

    def refusal(self, *loras: Lora) -> str:
        (one,) = self.draw(claim_of(*loras)).values()
        assert isinstance(one, Failed)
        assert one.kind is ErrorKind.invalid_request
        return one.detail

    def output(self) -> torch.Tensor:
        """Of the network as it is now, without LoRAs."""
        x = torch.randn(1, *self.family.latent_shape(64, 64), generator=torch.Generator().manual_seed(3))
        with self.loras.on(()):
            return self.family.denoise(x, torch.tensor([500.0]), self.family.encode(["a red circle"]))


@pytest.fixture
def bench(tiny_folder: Path, tmp_path: Path) -> Bench:
    pipeline, folder = load_stock(tiny_folder), tmp_path / "loras"
    made = load_stock(tiny_folder)
    for seed, name in enumerate(("a", "b", "c", "d", "e", "f")):
        lora_files.write(made, folder, name, seed=seed, text=name == "b")
    return Bench(pipeline, Sd3Family(pipeline), folder)


def test_a_request_without_has_the_bits_of_a_server_that_never_loaded_one(bench: Bench) -> None:
    picture, output = bench.picture(), bench.output()
    with_one = bench.picture(Lora("b"))
    assert np.abs(picture.astype(int) - with_one.astype(int)).max() > 20
    np.testing.assert_array_equal(bench.picture(), picture)
    assert torch.equal(bench.output(), output)
    np.testing.assert_array_equal(bench.picture(Lora("b")), with_one)


@pytest.mark.parametrize("overlap", [False, True])
def test_sets_in_one_queue_do_not_touch_each_other(bench: Bench, overlap: bool) -> None:
    sets = [(), (Lora("a"),), (Lora("b"),), (Lora("a", 0.5),), (Lora("a"), Lora("b")), (Lora("b"), Lora("a"))]
    alone = [bench.picture(*loras) for loras in sets]
    claims = [claim_of(*loras) for loras in sets]
    together = bench.draw(*claims, overlap=overlap)
    for claim, picture in zip(claims, alone, strict=True):
        one = together[claim.job.id]
        assert isinstance(one, Drawn), one
        assert np.abs(one.pixels.astype(int) - picture.astype(int)).max() <= 1
    # All differ, but for the last two: an order of LoRAs means nothing.
    assert len({picture.tobytes() for picture in alone}) == len(sets) - 1


def test_only_the_same_set_shares_a_batch(bench: Bench) -> None:
    engine = bench.engine()
    sets = [(Lora("a"),), (), (Lora("a"),), (Lora("a", 0.9),), ()]
    claims = {claim.job.id: claim.job.plan.lora for claim in (claim_of(*loras) for loras in sets)}
    for loras in sets:
        claim = claim_of(*loras)
        claims[claim.job.id] = loras
        assert engine.admit(claim) is None
    companies = []
    while len(engine):
        companies.append([claims[name] for name in engine.turn().stepped])
    assert all(len(set(company)) <= 1 for company in companies)
    assert sorted(len(company) for company in companies if company) == [1] * 3 + [2] * 6


def test_only_so_many_are_kept_and_the_others_come_back(bench: Bench) -> None:
    first = bench.picture(Lora("a"))
    for name in "bcdef":
        bench.picture(Lora(name))
    loaded = {name for names in bench.pipeline.get_list_adapters().values() for name in names}
    assert len(loaded) == KEPT
    np.testing.assert_array_equal(bench.picture(Lora("a")), first)
    bench.picture(Lora("c"), Lora("d"), Lora("e"), Lora("f"))


def broken(folder: Path) -> None:
    (folder / "bad.safetensors").write_bytes(b"these are no weights")


def pickled(folder: Path) -> None:
    torch.save({"transformer.x.lora_A.weight": torch.zeros(2, 2)}, folder / "bad.safetensors")


def wider(folder: Path) -> None:
    """Of a model of the same family with wider layers."""
    lora_files.write(tiny_sd3.build(width=48), folder, "bad", seed=0)


def of_another_family(folder: Path) -> None:
    lora_files.write(tiny.sdxl(16), folder, "bad", seed=0)


def no_lora_at_all(folder: Path) -> None:
    save_file({"weight": torch.zeros(2)}, folder / "bad.safetensors")


@pytest.mark.parametrize("spoil", [broken, pickled, wider, of_another_family, no_lora_at_all])
def test_a_bad_file_fails_the_jobs_that_name_it_and_no_other(bench: Bench, spoil: Callable[[Path], None]) -> None:
    plain, good = bench.picture(), bench.picture(Lora("a"))
    spoil(bench.folder)
    claims = [claim_of(), claim_of(Lora("bad")), claim_of(Lora("a")), claim_of(Lora("a"), Lora("bad"))]
    ended = [bench.draw(claim)[claim.job.id] for claim in claims]
    for one in (ended[1], ended[3]):
        assert isinstance(one, Failed)
        assert one.kind is ErrorKind.invalid_request
        assert one.detail.startswith("lora: bad.safetensors cannot be put on tiny: ")
        assert len(one.detail) > 60
    assert_pictures([ended[0], ended[2]], [plain, good])
    np.testing.assert_array_equal(bench.picture(), plain)


def assert_pictures(ended: Sequence[Drawn | Failed], pictures: Sequence[np.ndarray]) -> None:
    for one, picture in zip(ended, pictures, strict=True):
        assert isinstance(one, Drawn), one
        np.testing.assert_array_equal(one.pixels, picture)


def test_a_file_that_would_change_the_network_itself_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pipeline = tiny_flux.build()
    bench = Bench(pipeline, FluxFamily(pipeline), tmp_path)
    before = bench.output()
    path = lora_files.write(tiny_flux.build(), tmp_path, "good", seed=1)
    weights = load_file(path)
    name = next(name for name, _ in pipeline.transformer.named_parameters() if name.endswith("norm_added_k.weight"))
    norm = dict(pipeline.transformer.named_parameters())[name]
    save_file(weights | {f"transformer.{name}": torch.full_like(norm, 3.0)}, tmp_path / "norms.safetensors")
    wide = {"A": torch.randn(3, 32), "B": torch.randn(pipeline.transformer.x_embedder.out_features, 3)}
    doors = {f"transformer.x_embedder.lora_{side}.weight": value for side, value in wide.items()}
    save_file(weights | doors, tmp_path / "control.safetensors")
    for name in ("norms", "control"):
        with pytest.raises(LoraError, match="it replaces weights of the network"):
            put_on(bench, name)
        assert torch.equal(bench.output(), before)
    put_on(bench, "good")
    assert torch.equal(bench.output(), before)


def put_on(bench: Bench, name: str) -> None:
    with bench.loras.on(bench.loras.find([Lora(name)])):
        pass


def test_a_file_that_is_replaced_is_another(bench: Bench) -> None:
    first = bench.picture(Lora("a"))
    held = bench.loras.find([Lora("a")])
    (bench.folder / "c.safetensors").replace(bench.folder / "a.safetensors")
    assert np.abs(bench.picture(Lora("a")).astype(int) - first.astype(int)).max() > 20
    for name in "bdef":
        bench.picture(Lora(name))
    with pytest.raises(LoraError, match=r"a\.safetensors was replaced while it was in use"), bench.loras.on(held):
        pass


def test_what_is_not_offered_is_refused_by_name(bench: Bench) -> None:
    assert bench.refusal(Lora("z")) == "lora: tiny has no LoRA 'z'; it has a, b, c, d, e, f"
    (one,) = bench.draw(claim_of(Lora("a")), loras=None).values()
    assert isinstance(one, Failed)
    assert one.detail == "lora: this worker has no LoRA 'a'; it has none (PACER_LORA_DIR)"
    (one,) = bench.draw(claim_of(Lora("a")), batch_invariant=True).values()
    assert isinstance(one, Failed)
    assert "PACER_BATCH_INVARIANT" in one.detail


def test_a_family_whose_pipeline_has_no_loader_says_so_and_draws_on(bench: Bench) -> None:
    pipeline = tiny.pixart_sigma(16)
    pixart = Bench(pipeline, PixArtSigmaFamily(pipeline), bench.folder)
    plain = pixart.picture()
    assert pixart.refusal(Lora("a")) == "lora: tiny takes none; PixArtSigmaPipeline has no loader for them"
    np.testing.assert_array_equal(pixart.picture(), plain)


def test_a_picture_says_what_it_was_drawn_with() -> None:
    assert provenance(claim_of(Lora("a"), Lora("b", 0.5)).job)["lora"] == "a:1.0 b:0.5"
    assert "lora" not in provenance(claim_of().job)
