"""Models of real sizes with random weights: stock pipelines whose networks are built from published configurations.

The denoiser and the autoencoder are as large as the real ones. Text encoders have the real widths and lengths of
prompts, and next to no layers: no turn runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from workers.shapes.architecture import build_tokenizer

_Clip = TypeVar("_Clip", CLIPTextModel, CLIPTextModelWithProjection)

_CLIP_TOKENS, _T5_TOKENS, _T5_WIDTH = 77, 512, 4096


def sd35_medium() -> SD3Transformer2DModel:
    """The network of Stable Diffusion 3.5 medium, 2.5 billion numbers with its table of positions."""
    network = SD3Transformer2DModel(
        sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
        num_attention_heads=24, joint_attention_dim=_T5_WIDTH, caption_projection_dim=1536, pooled_projection_dim=2048,
        pos_embed_max_size=384, qk_norm="rms_norm", dual_attention_layers=tuple(range(13)),
    )  # fmt: skip
    network.pos_embed.to(torch.get_default_dtype())  # made in float32 whatever the default is
    return network


def flux1_dev() -> FluxTransformer2DModel:
    """The network of FLUX.1-dev, 11.9 billion parameters."""
    return FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=19, num_single_layers=38, attention_head_dim=128,
        num_attention_heads=24, joint_attention_dim=_T5_WIDTH, pooled_projection_dim=768, guidance_embeds=True,
        axes_dims_rope=(16, 56, 56),
    )  # fmt: skip


def _sd35_medium_pipeline() -> DiffusionPipeline:
    words = _tokenizer(_CLIP_TOKENS)
    return StableDiffusion3Pipeline(
        transformer=sd35_medium(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(scale=1.5305, shift=0.0609),
        text_encoder=_clip(CLIPTextModelWithProjection, 768, words),
        tokenizer=words,
        text_encoder_2=_clip(CLIPTextModelWithProjection, 1280, words),
        tokenizer_2=words,
        text_encoder_3=_t5(words),
        tokenizer_3=_tokenizer(_T5_TOKENS),
    )


def _flux1_dev_pipeline() -> DiffusionPipeline:
    words = _tokenizer(_CLIP_TOKENS)
    return FluxPipeline(
        transformer=flux1_dev(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_autoencoder(scale=0.3611, shift=0.1159),
        text_encoder=_clip(CLIPTextModel, 768, words),
        tokenizer=words,
        text_encoder_2=_t5(words),
        tokenizer_2=_tokenizer(_T5_TOKENS),
    )


REAL_SIZES: Mapping[str, Callable[[], DiffusionPipeline]] = MappingProxyType(
    {"sd3.5-medium": _sd35_medium_pipeline, "flux.1-dev": _flux1_dev_pipeline}
)
"""What can be built, by name."""

MULTIPLE = 16
"""Pixels a side that their pictures have a whole number of."""


def build(name: str, device: torch.device, dtype: torch.dtype) -> DiffusionPipeline:
    """A stock pipeline whose weights are made in place: they are never there twice, nor in another dtype."""
    torch.manual_seed(0)
    with _default_dtype(dtype), device:
        pipeline = REAL_SIZES[name]()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _autoencoder(*, scale: float, shift: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=16, norm_num_groups=32,
        use_quant_conv=False, use_post_quant_conv=False, sample_size=1024, scaling_factor=scale, shift_factor=shift,
    ).eval()  # fmt: skip


def _tokenizer(length: int) -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = length
    return tokenizer


def _clip(kind: type[_Clip], width: int, words: PreTrainedTokenizerFast) -> _Clip:
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=width, projection_dim=width, num_hidden_layers=2,
        num_attention_heads=width // 64, max_position_embeddings=_CLIP_TOKENS, pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    encoder = kind(config)
    encoder.eval()
    return encoder


def _t5(words: PreTrainedTokenizerFast) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(words), d_model=_T5_WIDTH, d_kv=64, d_ff=64, num_layers=1, num_heads=1,
        pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id, is_encoder_decoder=False, use_cache=False,
    )  # fmt: skip
    encoder = T5EncoderModel(config)
    encoder.eval()
    return encoder
