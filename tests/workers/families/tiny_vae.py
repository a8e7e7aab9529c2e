"""Autoencoders with random weights; four pixels for one latent column."""

import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage

BLOCKS = {
    "block_out_channels": (8, 8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
}


def kl(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        **BLOCKS, latent_channels=channels, use_quant_conv=False, use_post_quant_conv=False,
        scaling_factor=0.7, shift_factor=0.1,
    ).eval()  # fmt: skip


def flux2(channels: int) -> AutoencoderKLFlux2:
    vae = AutoencoderKLFlux2(**BLOCKS, latent_channels=channels).eval()
    vae.bn.running_mean = torch.linspace(-0.3, 0.2, 4 * channels)
    vae.bn.running_var = torch.linspace(0.5, 2.0, 4 * channels)
    return vae


def qwen(channels: int) -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=8, z_dim=channels, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.1 * place for place in range(channels)],
        latents_std=[1.0 + 0.2 * place for place in range(channels)],
    ).eval()  # fmt: skip
