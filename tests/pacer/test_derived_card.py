"""A model without a card gets one from its own configuration, or is told what is missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.planner import plan
from pacer.models import CARD_NAME, CardError, Distilled, ModelCard, load, require_teacher, served, source_of
from pacer.settings import Settings
from schedules.registry import Registry
from tests.pacer.test_hub import put_snapshot

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "epsilon"}
FOUR_LEVELS = {"block_out_channels": [128, 256, 512, 512]}
FLOW_SHIFT_3 = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}

Parts = dict[str, dict[str, Any]]

SD15: Parts = {
    "model_index": {"_class_name": "StableDiffusionPipeline"},
    "unet": {"sample_size": 64},
    "vae": FOUR_LEVELS,
    "scheduler": {"_class_name": "PNDMScheduler", **LATENT},
}
SDXL: Parts = {
    "model_index": {"_class_name": "StableDiffusionXLPipeline"},
    "unet": {"sample_size": 128},
    "vae": FOUR_LEVELS,
    "scheduler": {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", **LATENT},
}
PIXART: Parts = {
    "model_index": {"_class_name": "PixArtSigmaPipeline"},
    "transformer": {"sample_size": 128, "patch_size": 2},
    "vae": FOUR_LEVELS,
    "scheduler": {"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "linear"},
}
SANA: Parts = {
    "model_index": {"_class_name": "SanaPipeline"},
    "transformer": {"sample_size": 32, "patch_size": 1},
    "vae": {"encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024]},
    "scheduler": {"_class_name": "DPMSolverMultistepScheduler", **FLOW_SHIFT_3},
}
SD3: Parts = {
    "model_index": {"_class_name": "StableDiffusion3Pipeline"},
    "transformer": {"sample_size": 128, "patch_size": 2},
    "vae": FOUR_LEVELS,
    "scheduler": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
}
FLUX: Parts = {
    "model_index": {"_class_name": "FluxPipeline"},
    "transformer": {"patch_size": 1, "in_channels": 64},
    "vae": FOUR_LEVELS,
    "scheduler": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "use_dynamic_shifting": True,
        "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
    },
}  # fmt: skip
SCHNELL = {"shift": 1.0, "use_dynamic_shifting": False}
QWEN: Parts = {
    "model_index": {"_class_name": "QwenImagePipeline"},
    "transformer": {"patch_size": 2},
    "vae": {"temperal_downsample": [False, True, True]},
    "scheduler": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0, "use_dynamic_shifting": True,
        "base_shift": 0.5, "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192,
    },
}  # fmt: skip
Z_IMAGE: Parts = {
    "model_index": {"_class_name": "ZImagePipeline"},
    "transformer": {"all_patch_size": [2]},
    "vae": FOUR_LEVELS,
    "scheduler": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
}


def put(folder: Path, parts: Parts) -> str:
    """The parts' configurations in the stock layout; the folder's name."""
    folder.mkdir(exist_ok=True)
    names = {"model_index": "model_index.json", "scheduler": "scheduler/scheduler_config.json"}
    for part, config in parts.items():
        path = folder / names.get(part, f"{part}/config.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config))
    return str(folder)


def changed(parts: Parts, part: str, **config: object) -> Parts:
    return {**parts, part: {**parts[part], **config}}


@pytest.mark.parametrize("embedded", [True, False])
def test_a_network_that_takes_the_guidance_scale_needs_one_evaluation_a_step(tmp_path: Path, embedded: bool) -> None:
    card = load(put(tmp_path / "mine", changed(FLUX, "transformer", guidance_embeds=embedded)))
    assert card.embedded_guidance is embedded


@pytest.mark.parametrize(
    ("said", "quantization"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes-nf4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "bnb_4bit_quant_type": "fp4"}, "bitsandbytes-int8"),
        ({"quant_method": "quanto", "weights_dtype": "float8"}, "quanto-float8"),
        ({"quant_method": "torchao", "quant_type": "int8wo"}, "torchao-int8wo"),
        (
            {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_version": 1}}},
            "torchao-Int8WeightOnlyConfig",
        ),
        ({"quant_method": "torchao", "quant_type": {"default": {}}}, "torchao"),
        (None, None),
    ],
)
def test_a_quantised_network_is_another_model(
    tmp_path: Path, said: dict[str, object] | None, quantization: str | None
) -> None:
    card = load(put(tmp_path / "mine", changed(SD3, "transformer", quantization_config=said)))
    assert card.quantization == quantization


NF4 = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}
INT8 = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}


@pytest.mark.parametrize(
    ("network", "encoder", "stray", "quantization", "in_float8"),
    [
        ({}, INT8, {}, "text_encoder_3: bitsandbytes-int8", "float8, text_encoder_3: bitsandbytes-int8"),
        (NF4, INT8, {}, "bitsandbytes-nf4, text_encoder_3: bitsandbytes-int8", None),
        (NF4, {}, INT8, "bitsandbytes-nf4", None),
        ({}, {}, INT8, None, "float8"),
    ],
)
def test_so_is_one_with_a_quantised_text_encoder(
    tmp_path: Path,
    network: dict[str, object],
    encoder: dict[str, object],
    stray: dict[str, object],
    quantization: str | None,
    in_float8: str | None,
) -> None:
    """A folder that the model's index does not name is no part of it."""
    named = changed(
        changed(SD3, "model_index", text_encoder_3=["transformers", "T5EncoderModel"]), "transformer", **network
    )
    folder = put(tmp_path / "mine", {**named, "text_encoder_3": encoder, "stray": stray})
    assert load(folder).quantization == quantization
    float8 = Settings(models=(folder,), weights="float8")
    if in_float8 is None:
        with pytest.raises(CardError, match="quantised already"):
            served(float8)
    else:
        assert served(float8)["mine"].quantization == in_float8


def test_a_card_says_whether_loras_can_be_put_on(tmp_path: Path) -> None:
    assert not load(put(tmp_path / "pixart", PIXART)).loras
    assert load(put(tmp_path / "sd3", SD3)).loras


def test_smaller_networks_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    put(folder, SD3)
    assert load(str(folder)).networks == {}
    for name in ("half", "quarter"):
        (folder / "smaller" / name).mkdir(parents=True)
        (folder / "smaller" / name / "config.json").write_text("{}")
    assert load(str(folder)).networks == {"half": None, "quarter": None}


@pytest.mark.parametrize(
    ("parts", "native", "multiple", "guidance", "prediction", "sigma_max", "grid"),
    [
        (SD15, 512, 8, 7.5, "epsilon", 14.6146, "karras"),
        (SDXL, 1024, 8, 5.0, "epsilon", 14.6146, "karras"),
        (changed(SDXL, "scheduler", prediction_type="v_prediction"), 1024, 8, 5.0, "v_prediction", 14.6146, "karras"),
        (PIXART, 1024, 16, 4.5, "epsilon", 157.4, "karras"),
        (SANA, 1024, 32, 4.5, "flow", 1.0, "shift3"),
        (SD3, 1024, 16, 7.0, "flow", 1.0, "shift3"),
        (FLUX, 1024, 16, 3.5, "flow", 1.0, "shift3.158"),  # exp(1.15)
        (QWEN, 1024, 16, 4.0, "flow", 1.0, "shift2.001"),  # exp(0.694)
        (Z_IMAGE, 1024, 16, 6.0, "flow", 1.0, "shift3"),
        (changed(FLUX, "model_index", _class_name="Flux2Pipeline"), 1024, 16, 4.0, "flow", 1.0, "shift9.55"),
        (changed(FLUX, "model_index", _class_name="Flux2KleinPipeline"), 1024, 16, 4.0, "flow", 1.0, "shift9.55"),
    ],
)
def test_known_pipelines(
    tmp_path: Path, parts: Parts, native: int, multiple: int, guidance: float, prediction: str, sigma_max: float,
    grid: str,
) -> None:  # fmt: skip
    card = load(put(tmp_path / "mine", parts))
    assert (card.id, card.default_size, card.width) == ("mine", (native,) * 2, (native // 4, 2 * native, multiple))
    assert (card.guidance_scale, card.prediction, card.grid) == (guidance, prediction, grid)
    assert card.sigma_max == pytest.approx(sigma_max, rel=1e-3)
    assert card.weights_sha256 is None


def test_sizes_are_whole_tokens_and_no_more_than_the_network_has_places_for(tmp_path: Path) -> None:
    odd = load(put(tmp_path / "odd", changed(PIXART, "transformer", sample_size=101)))
    assert (odd.default_size, odd.width) == ((800, 800), (192, 1600, 16))
    narrow = load(put(tmp_path / "narrow", changed(SD3, "transformer", pos_embed_max_size=96)))
    assert (narrow.default_size, narrow.height) == ((1024, 1024), (256, 1536, 16))
    wide = load(put(tmp_path / "wide", changed(SD3, "transformer", pos_embed_max_size=192)))
    assert wide.width == (256, 2048, 16)


LCM = changed(SD15, "scheduler", _class_name="LCMScheduler", original_inference_steps=50, clip_sample=False)
KLEIN = changed(FLUX, "model_index", _class_name="Flux2KleinPipeline")
SDXL_TURBO = changed(changed(SDXL, "scheduler", timestep_spacing="trailing"), "unet", sample_size=64)


@pytest.mark.parametrize(
    ("parts", "grid"),
    [
        (changed(changed(FLUX, "transformer", guidance_embeds=False), "scheduler", **SCHNELL), "uniform"),
        (changed(KLEIN, "model_index", is_distilled=True), "shift9.887"),
    ],
)
def test_a_model_that_says_that_it_was_distilled_gets_its_few_steps_and_no_guidance(
    tmp_path: Path, parts: Parts, grid: str
) -> None:
    card = load(put(tmp_path / "mine", parts))
    assert (card.guidance_scale, card.default_steps(10), card.grid) == (1.0, 4, grid)
    with pytest.raises(CardError, match="distilled to 4 steps"):
        require_teacher(card)


@pytest.mark.parametrize(
    ("name", "width", "guidance"),
    [
        ("LatentConsistencyModelPipeline", 256, 8.5),
        ("StableDiffusionPipeline", 256, 7.5),
        ("StableDiffusionPipeline", None, 1.0),
        ("StableDiffusionXLPipeline", None, 1.0),
    ],
)
def test_a_latent_consistency_model_is_known_by_its_scheduler(
    tmp_path: Path, name: str, width: int | None, guidance: float
) -> None:
    parts = changed(changed(LCM, "model_index", _class_name=name), "unet", time_cond_proj_dim=width)
    card = load(put(tmp_path / "mine", parts))
    assert (card.solver, card.grid, card.default_steps(10)) == ("lcm", "lcm", 4)
    assert (card.guidance_scale, card.embedded_guidance) == (guidance, width is not None)


@pytest.mark.parametrize("parts", [changed(FLUX, "transformer", guidance_embeds=True), KLEIN, SDXL_TURBO])
def test_a_model_that_does_not_say_so_was_not_distilled(tmp_path: Path, parts: Parts) -> None:
    card = load(put(tmp_path / "mine", parts))
    assert card.distilled is None
    assert card.guidance_scale > 1


@pytest.mark.parametrize(
    ("repo", "parts", "size", "steps", "solver", "grid"),
    [
        ("stabilityai/sdxl-turbo", SDXL_TURBO, 512, 4, "euler", "trailing"),
        ("stabilityai/sd-turbo", changed(SD15, "scheduler", timestep_spacing="trailing"), 512, 4, "euler", "trailing"),
        ("Tongyi-MAI/Z-Image-Turbo", Z_IMAGE, 1024, 8, "euler", "shift3"),
    ],
)
def test_a_few_step_model_whose_configuration_does_not_tell_is_known_by_its_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo: str, parts: Parts, size: int, steps: int, solver: str,
    grid: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(put_snapshot(tmp_path, repo), parts)
    card = load(f"{repo}@main")
    assert (card.guidance_scale, card.default_steps(10)) == (1.0, steps)
    assert (card.default_size, card.solver, card.grid) == ((size, size), solver, grid)


def test_turbo_is_evaluated_at_the_times_that_it_was_distilled_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(put_snapshot(tmp_path, "stabilityai/sdxl-turbo"), SDXL_TURBO)
    card = load("stabilityai/sdxl-turbo")
    request = BudgetRequest(card=card, guidance_scale=card.guidance_scale, width=512, height=512)
    made, table = plan(request, Registry(()), None)
    assert (made.steps, made.evaluations) == (4, 4)
    assert table.t == pytest.approx([999, 749, 499, 249])


def test_an_operators_own_card_of_a_hub_model_comes_first_and_leaves_the_cache_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    snapshot = put_snapshot(tmp_path / "cache", "me/mine")
    put(snapshot, SDXL)
    derived = load("me/mine")
    own = derived.model_copy(update={"guidance_scale": 1.0, "distilled": Distilled(native_steps=2)})
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "me--mine.json").write_text(own.model_dump_json())
    settings = Settings(models=("me/mine@main",), cards_dir=cards)
    assert load("me/mine", cards) == own
    (served_as,) = served(settings).values()
    assert served_as == own.model_copy(update={"revision": "main"})
    assert source_of("me/mine", settings) == "me/mine@main"
    (snapshot / CARD_NAME).write_text(derived.model_dump_json())
    assert load("me/mine", cards) == own
    (cards / "me--mine.json").unlink()
    assert load("me/mine", cards) == derived
    with pytest.raises(CardError, match="PACER_CARDS_DIR: there is no folder"):
        load("me/mine", tmp_path / "nowhere")


def test_a_rescaled_noise_and_a_shift_that_grows_with_the_size(tmp_path: Path) -> None:
    rescaled = changed(SDXL, "scheduler", rescale_betas_zero_snr=True)
    assert load(put(tmp_path / "zero-snr", rescaled)).sigma_max == pytest.approx(4096, rel=1e-4)
    growing = changed(SD3, "scheduler", use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    assert load(put(tmp_path / "growing", growing)).grid == "shift3.158"  # exp(1.15), 64 x 64 tokens


def test_a_folders_own_card_comes_first(tmp_path: Path) -> None:
    folder = put(tmp_path / "mine", SD15)
    own = load(folder).model_copy(update={"guidance_scale": 3.0})
    (tmp_path / "mine" / CARD_NAME).write_text(own.model_dump_json())
    assert load(folder) == own


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (changed(SD15, "model_index", _class_name="MagicPipeline"), "'MagicPipeline' say too little"),
        (changed(SD15, "scheduler", prediction_type="sample"), "prediction_type is 'sample'"),
        (changed(SD15, "scheduler", beta_schedule="squaredcos_cap_v2"), "beta_schedule is 'squaredcos_cap_v2'"),
        (changed(SD15, "scheduler", trained_betas=[0.1]), "trained_betas given"),
        (changed(SD15, "scheduler", beta_start=0.5), "derived one is wrong: noise"),
        (changed(SDXL, "scheduler", _class_name="EDMEulerScheduler"), "EDMEulerScheduler is not served"),
        (changed(LCM, "scheduler", clip_sample=True), "clip_sample is True; only False is served"),
        (changed(LCM, "scheduler", original_inference_steps=40), "original_inference_steps is 40; only 50 is served"),
        (changed(SD15, "unet", sample_size=[64, 96]), "sample_size is no whole number"),
        ({**SD15, "vae": {}}, "vae/config.json: has no block_out_channels"),
        ({name: part for name, part in SD15.items() if name != "scheduler"}, r"scheduler_config\.json: No such file"),
    ],
)
def test_what_cannot_be_derived_is_told(tmp_path: Path, parts: Parts, said: str) -> None:
    with pytest.raises(CardError, match=said):
        load(put(tmp_path / "mine", parts))


def test_a_folders_name_must_be_able_to_be_an_id(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"derived one is wrong: id: .*two--dashes"):
        load(put(tmp_path / "two--dashes", SD15))


def test_a_model_of_the_hub_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(put_snapshot(tmp_path, "me/mine"), SD15)
    main, pinned = load("me/mine"), load("me/mine@main")
    assert (main.id, main.revision, main.default_size) == ("me/mine", None, (512, 512))
    assert pinned == main.model_copy(update={"revision": "main"})
    with pytest.raises(CardError, match="pacer download me/mine@v2"):
        load("me/mine@v2")


def test_another_revision_of_a_carded_model_is_not_known_by_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = put_snapshot(tmp_path, "me/mine")
    put(snapshot, SD15)
    card: ModelCard = load(str(snapshot)).model_copy(update={"id": "me/mine", "weights_sha256": "0" * 64})
    (snapshot / CARD_NAME).write_text(card.model_dump_json())
    assert load("me/mine").weights_sha256 == "0" * 64
    assert load("me/mine@main").weights_sha256 is None
