"""A recipe, a pool and a training folder of the size that a test can afford."""

from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from transformers import PreTrainedTokenizerFast

from workers.shapes import pool as pools
from workers.shapes.architecture import build_tokenizer, build_vae
from workers.shapes.checkpoint import save_checkpoint
from workers.shapes.language import sample_prompts
from workers.shapes.pool import Pool, load_or_build_pool, tokenize
from workers.shapes.recipe import FlowRecipe
from workers.shapes.train_flow import train_flow

TINY = FlowRecipe(steps=4, batch_size=8, warmup_steps=2, width=32, layers=1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def pool(tokenizer: PreTrainedTokenizerFast) -> Pool:
    sentences = [str(prompt) for prompt in sample_prompts(60, 0, held_out=False)]
    latents = torch.randn(len(sentences), 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return Pool.of(latents.half(), tokenize(tokenizer, sentences), tokenizer)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder as `python -m workers.shapes.train` leaves it, save that the autoencoder has learned nothing."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    vae = build_vae().eval()
    save_checkpoint(folder / "vae.pt", {"vae": vae}, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "_CHUNK", 16)
        drawn = load_or_build_pool(folder / "pool.pt", vae, tokenizer, 40, Progress(disable=True))
    train_flow(folder, drawn, tokenizer, TINY, device=torch.device("cpu"), progress=Progress(disable=True))
    return folder
