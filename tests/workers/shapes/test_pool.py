"""The pool of latents: read back as it was drawn, normalised, with the asked share of counting."""

from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from transformers import PreTrainedTokenizerFast

from workers.shapes.architecture import build_vae
from workers.shapes.pool import Pool, load_or_build_pool

PICTURES = 40


def test_it_is_read_back_equal(trained: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    saved = torch.load(trained / "pool.pt", weights_only=True)
    vae = build_vae()
    # Another size: what lies on disk is taken as it is.
    again = load_or_build_pool(trained / "pool.pt", vae, tokenizer, 10 * PICTURES, Progress(disable=True))
    assert torch.equal(again.latents, saved["latents"])
    assert torch.equal(again.tokens, saved["tokens"])
    assert (vae.config.scaling_factor, vae.config.shift_factor) == (saved["scale"], saved["shift"])


def test_latents_are_normalised_with_the_autoencoders_own_factors(
    trained: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    saved = torch.load(trained / "pool.pt", weights_only=True)
    latents = saved["latents"].float()
    assert latents.shape == (PICTURES, 4, 16, 16)
    assert saved["tokens"].shape == (PICTURES, 16)
    assert float(latents.mean()) == pytest.approx(0, abs=1e-3)
    assert float(latents.std()) == pytest.approx(1, abs=1e-2)


def test_examples_are_sorted_by_their_sentences(pool: Pool, tokenizer: PreTrainedTokenizerFast) -> None:
    assert sorted([*pool.counting.tolist(), *pool.others.tolist()]) == list(range(len(pool.tokens)))
    words = [tokenizer.decode(row, skip_special_tokens=True).split()[0] for row in pool.tokens]
    assert {words[i] for i in pool.counting} == {"two", "three"}
    assert {words[i] for i in pool.others} == {"a"}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_counting_share_is_kept(pool: Pool, share: float) -> None:
    size = 4000
    chosen = pool.choose(size, share, torch.Generator().manual_seed(1))
    assert chosen.shape == (size,)
    counted = float(torch.isin(chosen, pool.counting).float().mean())
    # Four standard errors of a share.
    assert counted == pytest.approx(share, abs=4 * (share * (1 - share) / size) ** 0.5)
    assert torch.equal(chosen, pool.choose(size, share, torch.Generator().manual_seed(1)))
