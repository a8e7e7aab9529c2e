"""FLUX.1, tiny, with random weights."""

from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

from tests.workers.families import tiny_language, tiny_vae


def build(*, width: int = 32, guidance_embeds: bool = True) -> FluxPipeline:
    """`width`: of the network's tokens, a multiple of 16; the text is half as wide."""
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=width // 16,
        joint_attention_dim=width // 2, pooled_projection_dim=width // 2, guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=tiny_vae.kl(4),
        text_encoder=tiny_language.clip(width // 2),
        tokenizer=tiny_language.tokenizer(16, end="</s>"),
        text_encoder_2=tiny_language.t5(width // 2),
        tokenizer_2=tiny_language.tokenizer(512, end="</s>"),
        transformer=transformer,
    )
