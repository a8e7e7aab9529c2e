"""Tiny tokenizers and text encoders with random weights, from the stock classes."""

import string

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

CLIP_TOKENS = 77
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = (
    *("a", "an", "the", "red", "blue", "green", "cat", "dog", "house", "sits", "stands"),
    *("on", "under", "in", "of", "and", "with", "ugly", "blurry", "tree"),
)


def clip_tokenizer(pad: str = _END) -> CLIPTokenizer:
    """A letter is a token; SDXL's second tokenizer pads with "!"."""
    letters = [*string.ascii_lowercase, *string.digits, ",", ".", "-", "!"]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), _BEGIN, _END]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=CLIP_TOKENS, pad_token=pad)


def clip_encoder(tokenizer: CLIPTokenizer, width: int, projection: int | None = None) -> CLIPTextModel:
    """With a projected pooled vector where `projection` gives its width."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, projection_dim=projection or width,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=CLIP_TOKENS, hidden_act="quick_gelu",
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return CLIPTextModel(config) if projection is None else CLIPTextModelWithProjection(config)


def word_tokenizer(*, begin: bool) -> PreTrainedTokenizerFast:
    """A word is a token, then an end mark; Gemma's texts have a begin mark and no end mark."""
    ids = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", "<bos>", *_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    template, mark = ("<bos> $A", "<bos>") if begin else ("$A </s>", "</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[(mark, ids[mark])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="</s>"
    )


def t5_encoder(tokenizer: PreTrainedTokenizerFast, width: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=2 * width, num_layers=2, num_heads=2, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return T5EncoderModel(config)


def gemma_model(tokenizer: PreTrainedTokenizerFast, width: int) -> Gemma2Model:
    config = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=8, sliding_window=4096,
        pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    return Gemma2Model(config)
