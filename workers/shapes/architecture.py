"""The networks of shapes-64, built from stock diffusers and transformers classes.

Sixty-four image tokens (patch 2 on 16x16x4 latents) and sixteen words keep an evaluation near ten milliseconds on one
CPU core; joint text attention, rather than pooled text alone, is what binds a colour to its shape.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, PreTrainedTokenizerFast

from workers.shapes.language import vocabulary

MAX_WORDS = 16
"""Tokens of a prompt, begin and end marks included."""

LATENT_SHAPE = (4, 16, 16)
"""Channels, height and width of a latent."""

_SPECIAL = ("<pad>", "<unk>", "<begin>", "<end>")
_SYNONYMS = (
    (r"[^\w\s]", " "),
    (r"\ban\b", "a"),
    (r"\bgrey\b", "gray"),
    (r"\bto the (left|right) of\b", "$1 of"),
)
_TEXT_WIDTHS = (128, 64)
_TEXT_LAYERS = (3, 2)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the vocabulary; it knows a few synonyms, other words become <unk>."""
    ids = {word: i for i, word in enumerate((*_SPECIAL[:3], *vocabulary(), _SPECIAL[3]))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    rules = [normalizers.Replace(Regex(pattern), text) for pattern, text in _expanded_synonyms()]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rules])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<begin> $A <end>", special_tokens=[("<begin>", ids["<begin>"]), ("<end>", ids["<end>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_WORDS,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<begin>",
        eos_token="<end>",
    )


def _expanded_synonyms() -> list[tuple[str, str]]:
    """The synonym rules without back-references, which the tokenizers library does not replace."""
    rules: list[tuple[str, str]] = []
    for pattern, text in _SYNONYMS:
        if "$1" in text:
            rules += [(pattern.replace("(left|right)", side), text.replace("$1", side)) for side in ("left", "right")]
        else:
            rules.append((pattern, text))
    return rules


def build_text_encoder(index: int, tokenizer: PreTrainedTokenizerFast) -> CLIPTextModelWithProjection:
    """One of the two tiny CLIP text encoders (index 0 or 1), randomly initialised."""
    width = _TEXT_WIDTHS[index]
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=_TEXT_LAYERS[index],
        num_attention_heads=width // 32,
        max_position_embeddings=MAX_WORDS,
        hidden_act="quick_gelu",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return CLIPTextModelWithProjection(config)


def build_vae() -> AutoencoderKL:
    """The autoencoder, 64x64x3 pixels to 16x16x4 latents, randomly initialised (0.65 M parameters)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=LATENT_SHAPE[0],
        norm_num_groups=8,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=64,
    )


def build_transformer(width: int = 128, layers: int = 7) -> SD3Transformer2DModel:
    """The velocity network, randomly initialised.

    Args:
        width: channels of a token, a multiple of 32.
        layers: joint attention blocks.
    """
    channels, size, _ = LATENT_SHAPE
    return SD3Transformer2DModel(
        sample_size=size,
        patch_size=2,
        in_channels=channels,
        out_channels=channels,
        num_layers=layers,
        attention_head_dim=32,
        num_attention_heads=width // 32,
        joint_attention_dim=sum(_TEXT_WIDTHS),
        caption_projection_dim=width,
        pooled_projection_dim=sum(_TEXT_WIDTHS),
        pos_embed_max_size=size,
        qk_norm="rms_norm",
    )


def build_pipeline(**parts: Any) -> StableDiffusion3Pipeline:
    """The whole model as the stock pipeline; parts that are not given are randomly initialised."""
    tokenizer = parts.pop("tokenizer", None) or build_tokenizer()
    defaults: dict[str, Any] = {
        "transformer": build_transformer,
        "vae": build_vae,
        "text_encoder": lambda: build_text_encoder(0, tokenizer),
        "text_encoder_2": lambda: build_text_encoder(1, tokenizer),
    }
    built = {name: parts.pop(name, None) or build() for name, build in defaults.items()}
    return StableDiffusion3Pipeline(
        **built,
        **parts,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
    )
