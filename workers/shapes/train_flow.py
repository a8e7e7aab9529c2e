"""Training of the velocity network and its text encoders, together: rectified flow on latents."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerFast

from workers.families.folded_text import FoldedTextProcessor
from workers.shapes.architecture import build_text_encoder, build_transformer
from workers.shapes.checkpoint import load_checkpoint, save_checkpoint
from workers.shapes.pool import Pool, tokenize
from workers.shapes.recipe import FlowRecipe, History

_SAVE_EVERY = 100


class FlowModel(nn.Module):
    """The velocity network with its text encoders: tokens and noisy latents in, velocity out."""

    def __init__(self, recipe: FlowRecipe, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.transformer = build_transformer(recipe.width, recipe.layers)
        self.transformer.set_attn_processor(FoldedTextProcessor(attend=_plain_attention))
        self.text_encoder = build_text_encoder(0, tokenizer)
        self.text_encoder_2 = build_text_encoder(1, tokenizer)

    def forward(self, latents: Tensor, sigma: Tensor, tokens: Tensor) -> Tensor:
        """Velocity (batch, 4, 16, 16) of noisy latents at sigma (batch,) in 0..1 under token ids (batch, 16)."""
        words, pooled = zip(*(_encode(enc, tokens) for enc in (self.text_encoder, self.text_encoder_2)), strict=True)
        text = F.pad(torch.cat(words, dim=-1), (0, 0, 0, 1))
        velocity: Tensor = self.transformer(
            hidden_states=latents,
            timestep=1000 * sigma,
            encoder_hidden_states=text,
            pooled_projections=torch.cat(pooled, dim=-1),
            return_dict=False,
        )[0]
        return velocity


def _plain_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
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
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average_decay)
    )
    optimisers = build_optimisers(model)
    history = History()
    parts = {"model": model, "average": average, **{f"optimiser{i}": o for i, o in enumerate(optimisers)}}
    path = folder / "flow.pt"
    first = load_checkpoint(path, parts, device, optional={"history": history})
    if first < recipe.steps:
        history.go_on(first, len(pool.latents), recipe)
    parts["history"] = history
    if compiled:
        for block in model.transformer.transformer_blocks:
            block.compile()
    unconditional = tokenize(tokenizer, [""]).to(device)
    task, started, smooth = progress.add_task("flow", total=recipe.steps, completed=first), time.monotonic(), 0.0
    for step in range(first, recipe.steps):
        latents, tokens, sigma, noise = _batch(pool, recipe, step, unconditional, device)
        loss = _loss(model, latents, tokens, sigma, noise)
        _update(model, optimisers, loss, recipe.rate(step))
        average.update_parameters(model)
        smooth = loss.item() if step == first else 0.98 * smooth + 0.02 * loss.item()
        progress.update(task, advance=1, description=f"flow loss {smooth:.4f}")
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == recipe.steps:
            save_checkpoint(path, parts, step + 1)
            seen = (step + 1 - first) * recipe.batch_size / (time.monotonic() - started)
            progress.console.print(f"flow step {step + 1} loss {smooth:.4f} {seen:.0f} pictures/s")
    averaged = average.module
    assert isinstance(averaged, FlowModel)
    return averaged


def _batch(
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


def _update(model: nn.Module, optimisers: list[torch.optim.Optimizer], loss: Tensor, rate: float) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def build_optimisers(model: FlowModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, modulations, projections and vectors."""
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    for name, parameter in model.named_parameters():
        in_block = "transformer_blocks" in name and ("attn" in name or ".ff" in name)
        (inner if in_block and parameter.ndim == 2 else outer).append(parameter)
    muon = torch.optim.Muon([{"params": inner, "share": 1.0}], weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW([{"params": outer, "share": 0.5}], betas=(0.9, 0.98), weight_decay=0.0)
    return [muon, adamw]
