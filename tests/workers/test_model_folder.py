"""Models in folders and in the hub's cache: loaded by the real code, planned for and drawn; pickles are refused."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from pacer.control.budget_request import BudgetRequest
from pacer.control.planner import plan
from pacer.errors import PacerError
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, TableMessage
from pacer.models import CardError
from schedules.registry import Registry
from tests.pacer.test_hub import COMMIT, put_snapshot
from tests.workers.families import tiny, tiny_flux, tiny_flux2, tiny_qwen_image, tiny_z_image
from workers.engine import Engine
from workers.families.sd15 import Sd15Family
from workers.model_folder import ModelError, refuse_pickles, require_readers, variant_of
from workers.models import LoadedModel, load
from workers.turn import Drawn

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tiny.sd15, tmp_path_factory.mktemp("models") / "tiny-sd")


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to, dirs_exist_ok=True))


def test_a_plain_folder_is_loaded_with_a_card_of_its_own(folder: Path) -> None:
    loaded = load(str(folder), CPU)
    assert isinstance(loaded.family, Sd15Family)
    assert (loaded.id, loaded.dtype) == ("tiny-sd", torch.float32)
    assert (loaded.card.prediction, loaded.card.default_size) == ("epsilon", (16, 16))


@pytest.mark.parametrize("build", [tiny.sd15, tiny.lcm, tiny.sdxl, tiny.pixart_sigma, tiny.sana])
def test_every_family_draws_what_was_planned_for_its_derived_card(build: object, tmp_path: Path) -> None:
    loaded = load(str(tiny.saved(build, tmp_path / "tiny")), CPU)
    pixels = draw(loaded, steps=3)
    width, height = loaded.card.default_size
    assert pixels.shape == (height, width, 3)


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers
@pytest.mark.parametrize(
    "build",
    [
        tiny_flux.build,
        partial(tiny_flux.build, guidance_embeds=False),
        tiny_flux2.build_klein,
        tiny_flux2.build_dev,
        tiny_qwen_image.build,
        tiny_z_image.build,
    ],
)
def test_every_transformer_of_a_flow_does_so_too(build: Callable[[], DiffusionPipeline], tmp_path: Path) -> None:
    loaded = load(str(tiny.saved(lambda _width: build(), tmp_path / "tiny")), CPU)
    least = loaded.card.width[0], loaded.card.height[0]  # no part's configuration tells how small these are
    assert draw(loaded, 2, least).shape == (*least, 3)


def draw(loaded: LoadedModel, steps: int, size: tuple[int, int] | None = None) -> np.ndarray:
    card, (width, height) = loaded.card, size or loaded.card.default_size
    request = BudgetRequest(card=card, guidance_scale=card.guidance_scale, width=width, height=height, steps=steps)
    made, table = plan(request, Registry(()), None)
    job = Job(
        id=new_job_id(card.id), prompt="a red cat", negative_prompt="", seed=3, width=width, height=height,
        guidance_scale=card.guidance_scale, plan=made, table=TableMessage.of(table),
    )  # fmt: skip
    engine = Engine(loaded.family, slots=2, max_rows=4, best_effort_slack_s=60.0)
    assert engine.admit(Claim(job, 1, 1, 0, 0)) is None
    turns = [engine.turn() for _ in range(steps)]
    ((drawn,),) = [turn.ended for turn in turns if turn.ended]
    assert isinstance(drawn, Drawn), drawn.detail
    return drawn.pixels


def test_the_plan_is_on_the_models_own_noise(folder: Path) -> None:
    card = load(str(folder), CPU).card
    request = BudgetRequest(card=card, guidance_scale=2.0, width=16, height=16, steps=4, schedule="trailing")
    made, table = plan(request, Registry(()), None)
    np.testing.assert_allclose(table.t, [999, 749, 499, 249], atol=1e-9)
    assert made.sigmas[0] == pytest.approx(14.6146, abs=1e-3)
    with pytest.raises(PacerError, match="one of the grids karras, trailing, linspace, exponential"):
        plan(BudgetRequest(card=card, guidance_scale=2.0, width=16, height=16, schedule="shift3"), Registry(()), None)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("suffix", ["bin", "ckpt", "pt"])
def test_pickled_weights_are_refused_with_the_reason(folder: Path, tmp_path: Path, part: str, suffix: str) -> None:
    model = copied(folder, tmp_path / "pickled")
    (weights,) = (model / part).glob("*.safetensors")
    torch.save(load_file(weights), weights.with_suffix(f".{suffix}"))
    refuse_pickles(model)  # a pickle beside safetensors is never opened
    weights.unlink()
    with pytest.raises(ModelError, match=rf"{part}/.*\.{suffix} is a pickle, and loading one runs the code in it"):
        load(str(model), CPU)


def test_a_part_that_is_never_loaded_may_be_pickled(folder: Path, tmp_path: Path) -> None:
    model = copied(folder, tmp_path / "checked")
    index = json.loads((model / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (model / "model_index.json").write_text(json.dumps(index))
    (model / "safety_checker").mkdir()
    (model / "safety_checker" / "pytorch_model.bin").write_bytes(b"no weights")
    assert load(str(model), CPU).id == "checked"


def as_variant(model: Path, part: str, variant: str) -> None:
    """Rename a part's weights as `save_pretrained(..., variant=...)` would have."""
    (weights,) = (model / part).glob("*.safetensors")
    weights.rename(weights.with_suffix(f".{variant}.safetensors"))


@pytest.mark.parametrize("parts", [("unet", "vae", "text_encoder"), ("unet",)])
def test_weights_that_are_there_in_one_variant_only_are_loaded(
    folder: Path, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    model = copied(folder, tmp_path / "halved")
    for part in parts:
        as_variant(model, part, "fp16")
    np.testing.assert_array_equal(draw(load(str(model), CPU), 2), draw(load(str(folder), CPU), 2))


def test_shards_of_a_variant_are_known(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tiny.sd15(16).save_pretrained(tmp_path, variant="fp16", max_shard_size="100KB")
    assert len(list((tmp_path / "unet").glob("*.fp16-0*.safetensors"))) > 1
    assert variant_of(tmp_path) == "fp16"
    assert load(str(tmp_path), CPU).dtype == torch.float32


def test_plain_weights_come_before_a_variant(folder: Path, tmp_path: Path) -> None:
    model = copied(folder, tmp_path / "both")
    for path in list(model.glob("*/*.safetensors")):
        path.with_suffix(".fp16.safetensors").write_bytes(b"never read")
    assert variant_of(model) is None
    assert load(str(model), CPU).id == "both"


def test_parts_in_different_variants_are_told(folder: Path, tmp_path: Path) -> None:
    model = copied(folder, tmp_path / "mixed")
    as_variant(model, "unet", "fp16")
    as_variant(model, "vae", "bf16")
    with pytest.raises(ModelError, match="no variant of their weights in common: unet in fp16, vae in bf16"):
        load(str(model), CPU)


def test_missing_weights_and_unfit_networks_are_told(folder: Path, tmp_path: Path) -> None:
    model = copied(folder, tmp_path / "lacking")
    (weights,) = (model / "unet").glob("*.safetensors")
    weights.unlink()
    with pytest.raises(ModelError, match=r"lacking cannot be loaded: .*safetensors"):
        load(str(model), CPU)
    inpainting = tiny.saved(tiny.sd15, tmp_path / "inpainting", in_channels=9)
    with pytest.raises(ModelError, match="takes 9 channels and a latent has 4: not text to image"):
        load(str(inpainting), CPU)
    distilled = tiny.saved(tiny.sdxl, tmp_path / "distilled", network={"time_cond_proj_dim": 8})
    with pytest.raises(ModelError, match="takes the guidance scale as an input"):
        load(str(distilled), CPU)


def test_a_model_of_the_hub_is_loaded_from_its_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    copied(folder, put_snapshot(tmp_path, "me/tiny-sd"))
    loaded = load(f"me/tiny-sd@{COMMIT}", CPU)
    assert (loaded.id, loaded.card.revision) == ("me/tiny-sd", COMMIT)
    assert loaded.folder.name == COMMIT
    as_variant(copied(folder, put_snapshot(tmp_path, "me/halved")), "unet", "fp16")
    assert load("me/halved", CPU).id == "me/halved"
    for name in ("me/other", "me/tiny-sd@v2"):
        with pytest.raises(ModelError, match=f"{name} is not cached, and HF_HUB_OFFLINE forbids a download"):
            load(name, CPU)


def test_a_name_that_is_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="neither a folder with a"):
        load(str(tmp_path / "nowhere"), CPU)


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model"])
def test_a_tokenizer_that_nothing_here_reads_is_told_with_what_does(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copied(folder, tmp_path / "pieces")
    tokenizer = model / "tokenizer"
    (tokenizer / name).write_bytes(b"pieces")
    (tokenizer / "tokenizer.json").touch()
    require_readers(model)  # which of the two is read is known
    (tokenizer / "tokenizer.json").unlink()
    require_readers(model, unused={"tokenizer"})
    for module in ("sentencepiece", "google.protobuf"):  # one of them is not enough
        monkeypatch.setattr("workers.model_folder.find_spec", lambda asked, lacking=module: asked != lacking or None)
        with pytest.raises(ModelError, match=rf"tokenizer/{name} has no .*: pip install sentencepiece protobuf"):
            load(str(model), CPU)
    monkeypatch.setattr("workers.model_folder.find_spec", lambda _: True)
    require_readers(model)
