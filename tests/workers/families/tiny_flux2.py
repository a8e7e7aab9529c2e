"""FLUX.2, dev and klein, tiny, with random weights."""

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)

from tests.workers.families import tiny_language, tiny_vae

KLEIN_TEXT_LAYERS, DEV_TEXT_LAYERS = 28, 31
"""The stock pipelines read the states behind layers 9, 18 and 27, or 10, 20 and 30."""


def transformer(*, width: int, guidance_embeds: bool) -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=width // 16,
        joint_attention_dim=3 * (width // 2), timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )  # fmt: skip


def build_klein(*, width: int = 32) -> Flux2KleinPipeline:
    """`width`: of the network's tokens, a multiple of 16; the text is half as wide."""
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=tiny_vae.flux2(4),
        text_encoder=tiny_language.qwen3(width // 2, layers=KLEIN_TEXT_LAYERS),
        tokenizer=tiny_language.tokenizer(1024, chat_template=tiny_language.CHAT),
        transformer=transformer(width=width, guidance_embeds=False),
    )


def build_dev(*, width: int = 32) -> Flux2Pipeline:
    """A plain tokenizer stands for the processor, whose other half prepares pictures for the language model."""
    return Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=tiny_vae.flux2(4),
        text_encoder=tiny_language.mistral(width // 2, layers=DEV_TEXT_LAYERS),
        tokenizer=tiny_language.tokenizer(1024, chat_template=tiny_language.PARTS),
        transformer=transformer(width=width, guidance_embeds=True),
    )
