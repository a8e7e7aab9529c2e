"""Z-Image, tiny, with random weights."""

from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from torch import nn

from tests.workers.families import tiny_language, tiny_vae


def build(*, width: int = 32) -> ZImagePipeline:
    """`width`: of the network's tokens, a multiple of 16; the text is half as wide."""
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=width, n_layers=2, n_refiner_layers=1, n_heads=width // 16, n_kv_heads=width // 16,
        cap_feat_dim=width // 2, axes_dims=[8, 4, 4], axes_lens=[256, 64, 64],
    )  # fmt: skip
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        nn.init.normal_(token)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_vae.kl(4),
        text_encoder=tiny_language.qwen3(width // 2),
        tokenizer=tiny_language.tokenizer(1024, chat_template=tiny_language.CHAT),
        transformer=transformer,
    )
