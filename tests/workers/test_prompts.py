"""Encoded prompts: asked for once, kept within bytes."""

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.conditioning import signature, size_bytes
from workers.families.sd3 import Sd3Text
from workers.prompts import PromptCache

ENTRY = 256 + 4 * 10


class Encoder:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, prompts: Sequence[str]) -> list[Tensor]:
        self.asked += prompts
        return [torch.full((10,), float(prompt)) for prompt in prompts]


def test_a_prompt_is_encoded_once() -> None:
    cache, encoder = PromptCache(10 * ENTRY), Encoder()
    first = cache.encode(["1", "2", "1"], encoder)
    assert encoder.asked == ["1", "2"]
    assert first[0] is first[2]
    again = cache.encode(["2", "3"], encoder)
    assert encoder.asked == ["1", "2", "3"]
    assert again[0] is first[1]


def test_the_least_recently_used_goes_first() -> None:
    cache, encoder = PromptCache(2 * ENTRY), Encoder()
    for prompt in ("1", "2", "1", "3", "1", "2"):
        cache.encode([prompt], encoder)
    assert encoder.asked == ["1", "2", "3", "2"]


def test_with_no_room_everything_is_encoded_and_nothing_kept() -> None:
    cache, encoder = PromptCache(0), Encoder()
    found = cache.encode(["1", "2"], encoder)
    assert [float(one[0]) for one in found] == [1.0, 2.0]
    assert (len(cache), cache.bytes) == (0, 0)


@given(st.lists(st.lists(st.integers(0, 9).map(str), min_size=1, max_size=3), max_size=40), st.integers(0, 6))
def test_the_bytes_kept_are_bounded_and_counted(asked: list[list[str]], entries: int) -> None:
    cache, encoder = PromptCache(entries * ENTRY), Encoder()
    for prompts in asked:
        found = cache.encode(prompts, encoder)
        assert [float(one[0]) for one in found] == [float(prompt) for prompt in prompts]
        assert cache.bytes == len(cache) * ENTRY <= entries * ENTRY


def test_tensors_are_found_wherever_a_conditioning_has_them() -> None:
    text = Sd3Text(torch.zeros(3, 5), torch.zeros(7, dtype=torch.bfloat16))
    assert size_bytes(text) == 4 * 15 + 2 * 7
    assert size_bytes({"a": [text], "b": (torch.zeros(2), "words"), "c": None, "d": 1.5}) == 74 + 8
    assert signature(text) == ((3, 5), (7,))
