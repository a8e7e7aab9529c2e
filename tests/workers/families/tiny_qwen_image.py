"""Qwen-Image, tiny, with random weights."""

from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline, QwenImageTransformer2DModel

from tests.workers.families import tiny_language, tiny_vae


def build(*, width: int = 32) -> QwenImagePipeline:
    """`width`: of the network's tokens, a multiple of 16; the text is half as wide, at least 16."""
    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=width // 16,
        joint_attention_dim=width // 2, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.02),
        vae=tiny_vae.qwen(4),
        text_encoder=tiny_language.qwen_vl(width // 2),
        tokenizer=tiny_language.tokenizer(2048),
        transformer=transformer,
    )
