"""Each family tiny: its own stock classes with random weights, saved in the stock layout.

`width` is the channels of the network's first block, a multiple of 16.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from tests.workers.families.tiny_text import (
    clip_encoder,
    clip_tokenizer,
    gemma_model,
    t5_encoder,
    word_tokenizer,
)

LATENT_BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
CHANNEL_STATISTICS = {"latents_mean": (-0.3, 0.1, 0.2, 0.0), "latents_std": (0.8, 1.2, 0.5, 1.0)}
SAMPLE_SIZE = 8
"""Rows and columns of a latent."""


def vae(**options: object) -> AutoencoderKL:
    """Four latent channels, a factor of two, unless told otherwise."""
    defaults: dict[str, object] = {
        "block_out_channels": (8, 16), "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2, "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 4,
        "mid_block_add_attention": False, "scaling_factor": 0.6, "sample_size": 2 * SAMPLE_SIZE,
    }  # fmt: skip
    return AutoencoderKL(**(defaults | options))


def unet(width: int, text_width: int, **options: object) -> UNet2DConditionModel:
    defaults: dict[str, object] = {
        "sample_size": SAMPLE_SIZE, "block_out_channels": (width, 2 * width), "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "attention_head_dim": 2, "norm_num_groups": 8,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "cross_attention_dim": text_width,
    }  # fmt: skip
    return UNet2DConditionModel(**(defaults | options))


def sd15(
    width: int, prediction: str = "epsilon", *, autoencoder: Mapping[str, object] | None = None, **network: object
) -> StableDiffusionPipeline:
    tokenizer = clip_tokenizer()
    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, prediction_type=prediction, **LATENT_BETAS)
    return StableDiffusionPipeline(
        vae=vae(**(autoencoder or {})), text_encoder=clip_encoder(tokenizer, 16), tokenizer=tokenizer,
        unet=unet(width, 16, **network),
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def lcm(width: int, **network: object) -> LatentConsistencyModelPipeline:
    """Stable Diffusion 1.5 whose network takes the guidance scale, with the sampler of such models."""
    parts = sd15(width, **{"time_cond_proj_dim": 16, **network}).components
    return LatentConsistencyModelPipeline(
        **{**parts, "scheduler": LCMScheduler(**LATENT_BETAS)}, requires_safety_checker=False
    )


def sdxl(
    width: int, prediction: str = "epsilon", *, normalised: bool = False, network: Mapping[str, object] | None = None,
    **options: object,
) -> StableDiffusionXLPipeline:  # fmt: skip
    tokenizers = clip_tokenizer(), clip_tokenizer(pad="!")
    scheduler = EulerDiscreteScheduler(
        timestep_spacing="leading", steps_offset=1, prediction_type=prediction, **LATENT_BETAS
    )
    made = unet(
        width, 16 + 24, addition_embed_type="text_time", addition_time_embed_dim=8, use_linear_projection=True,
        projection_class_embeddings_input_dim=6 * 8 + 24, transformer_layers_per_block=(1, 2), **(network or {}),
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=vae(shift_factor=0.4, **(CHANNEL_STATISTICS if normalised else {})),
        text_encoder=clip_encoder(tokenizers[0], 16), text_encoder_2=clip_encoder(tokenizers[1], 24, 24),
        tokenizer=tokenizers[0], tokenizer_2=tokenizers[1], unet=made, scheduler=scheduler, add_watermarker=False,
        **options,
    )  # fmt: skip


def pixart_sigma(width: int) -> PixArtSigmaPipeline:
    tokenizer = word_tokenizer(begin=False)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=width // 2, in_channels=4, out_channels=8, num_layers=2,
        norm_num_groups=8, cross_attention_dim=width, sample_size=SAMPLE_SIZE, caption_channels=16,
    )  # fmt: skip
    return PixArtSigmaPipeline(
        tokenizer=tokenizer, text_encoder=t5_encoder(tokenizer, 16), vae=vae(), transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(beta_schedule="linear"),
    )  # fmt: skip


def sana(width: int) -> SanaPipeline:
    tokenizer = word_tokenizer(begin=True)
    transformer = SanaTransformer2DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=width // 2, num_layers=2,
        num_cross_attention_heads=2, cross_attention_head_dim=width // 2, cross_attention_dim=width,
        caption_channels=16, sample_size=SAMPLE_SIZE,
    )  # fmt: skip
    blocks = {"block_out_channels": (8, 16, 16), "layers_per_block": (1, 1, 1), "qkv_multiscales": ((), (), ())}
    sides = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in blocks.items()}
    autoencoder = AutoencoderDC(latent_channels=8, attention_head_dim=8, scaling_factor=0.41, **sides)
    return SanaPipeline(
        tokenizer=tokenizer, text_encoder=gemma_model(tokenizer, 16), vae=autoencoder, transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )  # fmt: skip


def saved(build: Callable[..., DiffusionPipeline], folder: Path, width: int = 16, **options: object) -> Path:
    """Build a family with seeded weights and save it; the folder."""
    torch.manual_seed(0)
    pipeline = build(width, **options)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    return folder
