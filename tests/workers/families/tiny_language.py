"""Tokenizers and text encoders with random weights, a few thousand parameters each."""

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
)

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
WORDS = (
    *("a", "an", "the", "on", "of", "in", "and", "with", "left", "right", "above", "two", "three", "small", "wide"),
    *("red", "green", "blue", "orange", "pink", "white", "gray", "circle", "square", "star", "background", "foggy"),
    *("morning", "harbour", "painted", "brush", "strokes", "dragon", "dog"),
)
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PARTS = CHAT.replace("{{ message['content'] }}", "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}")
"""The same for messages made of parts."""


def tokenizer(length: int, end: str | None = None, **options: str) -> PreTrainedTokenizerFast:
    """Whole words, marks and ends of lines, so that chat templates have as many tokens as real ones.

    Where `end` is given it closes every prompt, as CLIP's and T5's do.
    """
    ids = {word: place for place, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]|\n"), behavior="removed", invert=True)
    if end is not None:
        words.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, ids[end])])
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=length,
        padding_side="right",
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        **options,
    )


def clip(width: int, kind: type[CLIPTextModel | CLIPTextModelWithProjection] = CLIPTextModel, length: int = 16):
    config = CLIPTextConfig(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=width, intermediate_size=2 * width, projection_dim=width,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=length,
        pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    return kind(config).eval()


def t5(width: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(SPECIAL) + len(WORDS), d_model=width, d_kv=8, d_ff=2 * width, num_layers=2, num_heads=2,
        pad_token_id=0, eos_token_id=3, is_encoder_decoder=False, use_cache=False,
    )  # fmt: skip
    return T5EncoderModel(config).eval()


def qwen3(width: int, layers: int = 2) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=1024,
        pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


def qwen_vl(width: int) -> Qwen2_5_VLForConditionalGeneration:
    """The eye of the model is as small as can be: nothing looks through it."""
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(SPECIAL) + len(WORDS), "hidden_size": width, "intermediate_size": 2 * width,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
            "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        },
        vision_config={
            "depth": 1, "hidden_size": width, "intermediate_size": 2 * width, "num_heads": 2, "out_hidden_size": width,
            "fullatt_block_indexes": [0],
        },
        vision_start_token_id=2, vision_end_token_id=3, image_token_id=4, video_token_id=5,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def mistral(width: int, layers: int) -> Mistral3ForConditionalGeneration:
    config = Mistral3Config(
        text_config={
            "model_type": "mistral", "vocab_size": len(SPECIAL) + len(WORDS), "hidden_size": width,
            "intermediate_size": 2 * width, "num_hidden_layers": layers, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 1024,
            "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        },
        vision_config={
            "model_type": "pixtral", "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
        },
        image_token_index=4,
    )  # fmt: skip
    return Mistral3ForConditionalGeneration(config).eval()
