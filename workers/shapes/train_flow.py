"""Training of the velocity network and its text encoders, together: rectified flow on latents."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerFast

from workers.families.folded_text import FoldedTextProcessor
from workers.shapes.architecture import build_text_encoder, build_transformer
from workers.shapes.averaged import train_averaged
from workers.shapes.pool import Pool, tokenize
from workers.shapes.recipe import FlowRecipe


class FlowModel(nn.Module):
    """The velocity network with its text encoders: tokens and noisy latents in, velocity out."""

    def __init__(self, recipe: FlowRecipe, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.transformer = build_transformer(recipe.width, recipe.layers)
        self.transformer.set_attn_processor(FoldedTextProcessor(attend=plain_attention))
        self.text_encoder = build_text_encoder(0, tokenizer)
        self.text_encoder_2 = build_text_encoder(1, tokenizer)

    def forward(self, latents: Tensor, sigma: Tensor, tokens: Tensor) -> Tensor:
        """Velocity (batch, 4, 16, 16) of noisy latents at sigma (batch,) in 0..1 under token ids (batch, 16)."""
        return velocity(self.transformer, latents, sigma, self.read(tokens))

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What the text encoders say: words (batch, 17, 192) and a summary (batch, 192)."""
        words, pooled = zip(*(_encode(enc, tokens) for enc in (self.text_encoder, self.text_encoder_2)), strict=True)
        return F.pad(torch.cat(words, dim=-1), (0, 0, 0, 1)), torch.cat(pooled, dim=-1)


def velocity(transformer: SD3Transformer2DModel, latents: Tensor, sigma: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
    """Velocity (batch, 4, 16, 16) of noisy latents at sigma (batch,) in 0..1 under words and a summary."""
    words, pooled = text
    output: Tensor = transformer(
        hidden_states=latents,
        timestep=1000 * sigma,
        encoder_hidden_states=words,
        pooled_projections=pooled,
        return_dict=False,
    )[0]
    return output


def plain_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Attention by its formula: on the CPU its backward pass takes half the time of the fused kernel's."""
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    mixed: Tensor = (logits if bias is None else logits + bias).softmax(dim=-1) @ value
    return mixed


def _encode(encoder: CLIPTextModelWithProjection, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Word states before the last layer and the projected summary, as StableDiffusion3Pipeline takes them."""
    output = encoder(tokens, output_hidden_states=True)
    words: Tensor = output.hidden_states[-2]
    pooled: Tensor = output.text_embeds
    return words, pooled


def train_flow(
    folder: Path,
    pool: Pool,
    tokenizer: PreTrainedTokenizerFast,
    recipe: FlowRecipe,
    *,
    device: torch.device,
    progress: Progress,
    compiled: bool = False,
) -> FlowModel:
    """Train, or go on with the checkpoint in the folder; returns the averaged model.

    The batch and the noise of a step are functions of its number, so an interrupted run and a whole one agree.
    The checkpoint says with which recipes it was trained.
    """
    torch.manual_seed(0)
    model = FlowModel(recipe, tokenizer).to(device)
    if compiled:
        for block in model.transformer.transformer_blocks:
            block.compile()
    nothing = tokenize(tokenizer, [""]).to(device)

    def loss(step: int) -> Tensor:
        return _loss(model, *draw_batch(pool, recipe, step, nothing, device))

    return train_averaged(
        model, folder / "flow.pt", recipe, loss,
        pictures=len(pool.latents), device=device, progress=progress, name="flow",
    )  # fmt: skip


def draw_batch(
    pool: Pool, recipe: FlowRecipe, step: int, unconditional: Tensor, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, tokens, sigma and noise of a step, drawn on the CPU so that every device sees the same."""
    generator = torch.Generator().manual_seed(1_000_003 * step + 17)
    size = recipe.batch_size
    chosen = pool.choose(size, recipe.count_share, generator)
    sigma = torch.sigmoid(recipe.sigma_mean + torch.randn(size, generator=generator))
    uniform = torch.rand(size, generator=generator) < 0.2  # the ends of the path are too rare under the logit-normal
    sigma = torch.where(uniform, torch.rand(size, generator=generator), sigma)
    noise = torch.randn(size, *pool.latents.shape[1:], generator=generator)
    dropped = torch.rand(size, 1, generator=generator) < recipe.prompt_dropout
    tokens = torch.where(dropped, unconditional.cpu(), pool.tokens[chosen])
    return pool.latents[chosen].float().to(device), tokens.to(device), sigma.to(device), noise.to(device)


def _loss(velocity: nn.Module, latents: Tensor, tokens: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    blend = sigma[:, None, None, None]
    with torch.autocast(latents.device.type, dtype=torch.bfloat16):
        predicted = velocity((1 - blend) * latents + blend * noise, sigma, tokens)
    return F.mse_loss(predicted.float(), noise - latents)
