"""The language: every sentence reads back, the held-out share is fixed."""

import pytest

from workers.shapes.architecture import MAX_WORDS, build_tokenizer
from workers.shapes.language import all_prompts, is_held_out, parse, sample_prompts, vocabulary


def test_every_prompt_reads_back_and_fits_the_tokenizer() -> None:
    prompts = all_prompts()
    assert len({str(prompt) for prompt in prompts}) == len(prompts) == 96 + 11_904 + 192
    tokenizer = build_tokenizer()
    for prompt in prompts[::97]:
        assert parse(str(prompt)) == prompt
        ids = tokenizer(str(prompt)).input_ids
        assert len(ids) <= MAX_WORDS
        assert tokenizer.unk_token_id not in ids


def test_synonyms_mean_the_same_and_strangers_are_unknown() -> None:
    tokenizer = build_tokenizer()
    plain = tokenizer("a orange star left of a red circle on a gray background").input_ids
    assert tokenizer("An orange star, to the left of a red circle on a GREY background!").input_ids == plain
    assert tokenizer.unk_token_id in tokenizer("a dragon").input_ids


def test_a_tenth_of_every_kind_is_held_out() -> None:
    for kind in ("one", "pair", "count"):
        prompts = [prompt for prompt in all_prompts() if prompt.kind == kind]
        share = sum(is_held_out(prompt) for prompt in prompts) / len(prompts)
        assert 0.03 <= share <= 0.2


def test_samples_keep_the_split_and_depend_on_the_seed_alone() -> None:
    assert all(is_held_out(prompt) for prompt in sample_prompts(60, 1))
    assert not any(is_held_out(prompt) for prompt in sample_prompts(60, 1, held_out=False))
    assert sample_prompts(30, 5) == sample_prompts(30, 5) != sample_prompts(30, 6)


def test_other_sentences_are_refused_with_the_forms_allowed() -> None:
    with pytest.raises(ValueError, match="COLOUR SHAPE on a BACKGROUND background"):
        parse("a dragon on a white background")
    assert "star" in vocabulary()
