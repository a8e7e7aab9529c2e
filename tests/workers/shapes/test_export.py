"""Export: what training left is a stock pipeline, with a card that says how it came about."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.workers.conftest import load_stock
from workers.shapes.export import assemble, judge, save
from workers.shapes.recipe import FlowRecipe
from workers.shapes.score import TASKS
from workers.shapes.train_flow import FlowModel


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    pipeline, facts = assemble(trained, round_trips=2)
    facts |= judge(pipeline, prompts=6, steps=1, guidance=1.5)
    assert set(facts["scores"]) == {*TASKS, "overall"}
    save(pipeline, folder, facts)
    return folder


def test_it_loads_in_stock_diffusers_and_draws(exported: Path) -> None:
    picture = load_stock(exported)(
        "a red circle on a white background",
        num_inference_steps=2,
        guidance_scale=1.5,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images[0]
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()
    assert picture.std() > 0


def test_its_weights_are_the_averaged_ones(exported: Path, trained: Path) -> None:
    state = torch.load(trained / "flow.pt", weights_only=True)
    stock = load_stock(exported)
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        for key, tensor in getattr(stock, name).state_dict().items():
            average = state["average"][f"module.{name}.{key}"]
            assert torch.equal(tensor, average.half().to(tensor.dtype)), key
    pool = torch.load(trained / "pool.pt", weights_only=True)
    assert stock.vae.config.scaling_factor == pool["scale"]


def test_its_card_prints_the_recipe(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    command = "--vae-steps 3 --flow-steps 4 --pictures 40 --count-share 0.3 --sigma-mean 0.3"
    assert f"- steps 1 to 4, 8 pictures each: `python -m workers.shapes.train {command}`\n" in card
    assert "guidance_scale=1.5)" in card


def test_a_checkpoint_without_a_recipe_still_loads(
    trained: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    for name in ("vae.pt", "pool.pt"):
        (tmp_path / name).symlink_to(trained / name)
    weights = FlowModel(FlowRecipe(), tokenizer).state_dict()
    torch.save({"step": 5, "average": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "flow.pt")
    _, facts = assemble(tmp_path, round_trips=2)
    assert facts["training"] == ["steps 1 to 5: settings not on record"]
