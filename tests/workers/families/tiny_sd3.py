"""Stable Diffusion 3 with its T5, tiny, with random weights."""

from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModelWithProjection

from tests.workers.families import tiny_language, tiny_vae

WORDS = 16
"""Where CLIP cuts a prompt."""


def build(*, width: int = 32, dual_layers: tuple[int, ...] = ()) -> StableDiffusion3Pipeline:
    """`width`: of the network's tokens, a multiple of 16; `dual_layers`: those with a second attention, as in 3.5."""
    clips = [tiny_language.clip(width // 2, CLIPTextModelWithProjection, WORDS) for _ in range(2)]
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=16,
        num_attention_heads=width // 16, joint_attention_dim=2 * width, caption_projection_dim=width,
        pooled_projection_dim=width, pos_embed_max_size=24, qk_norm="rms_norm", dual_attention_layers=dual_layers,
    )  # fmt: skip
    words = tiny_language.tokenizer(WORDS, end="</s>")
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_vae.kl(4),
        text_encoder=clips[0],
        tokenizer=words,
        text_encoder_2=clips[1],
        tokenizer_2=words,
        text_encoder_3=tiny_language.t5(2 * width),
        tokenizer_3=tiny_language.tokenizer(512, end="</s>"),
    )
