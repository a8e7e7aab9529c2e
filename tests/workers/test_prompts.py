"""Encoded prompts: asked for once, kept within bytes."""

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.workers.test_runner import Field
from workers.conditioning import signature, size_bytes
from workers.families.sd3 import Sd3Text
from workers.prompts import PromptCache

ENTRY = 256 + 4 * 10


class Encoder(Field):
    """Notes what it encodes; a negative prompt is not encoded as a prompt is."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Tensor]:
        self.asked += prompts
        return [torch.full((10,), -float(prompt) if negative else float(prompt)) for prompt in prompts]


def test_a_prompt_is_encoded_once() -> None:
    cache, family = PromptCache(10 * ENTRY), Encoder()
    first = [cache.encode(family, prompt, negative=False) for prompt in ("1", "2", "1")]
    assert family.asked == ["1", "2"]
    assert first[0] is first[2]
    assert [float(one[0]) for one in first] == [1.0, 2.0, 1.0]


def test_a_negative_prompt_is_another_than_the_same_words_asked_for() -> None:
    cache, family = PromptCache(10 * ENTRY), Encoder()
    found = [cache.encode(family, "1", negative=negative) for negative in (False, True, False, True)]
    assert [float(one[0]) for one in found] == [1.0, -1.0, 1.0, -1.0]
    assert family.asked == ["1", "1"]


def test_the_least_recently_used_goes_first() -> None:
    cache, family = PromptCache(2 * ENTRY), Encoder()
    for prompt in ("1", "2", "1", "3", "1", "2"):
        cache.encode(family, prompt, negative=False)
    assert family.asked == ["1", "2", "3", "2"]


def test_with_no_room_everything_is_encoded_and_nothing_kept() -> None:
    cache, family = PromptCache(0), Encoder()
    assert [float(cache.encode(family, "1", negative=False)[0]) for _ in range(2)] == [1.0, 1.0]
    assert (family.asked, len(cache), cache.bytes) == (["1", "1"], 0, 0)


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=60), st.integers(0, 6))
def test_the_bytes_kept_are_bounded_and_counted(asked: list[tuple[int, bool]], entries: int) -> None:
    cache, family = PromptCache(entries * ENTRY), Encoder()
    for number, negative in asked:
        assert float(cache.encode(family, str(number), negative=negative)[0]) == (-number if negative else number)
        assert cache.bytes == len(cache) * ENTRY <= entries * ENTRY


def test_tensors_are_found_wherever_a_conditioning_has_them() -> None:
    text = Sd3Text(torch.zeros(3, 5), torch.zeros(7, dtype=torch.bfloat16))
    assert size_bytes(text) == 4 * 15 + 2 * 7
    assert size_bytes({"a": [text], "b": (torch.zeros(2), "words"), "c": None, "d": 1.5}) == 74 + 8
    assert signature(text) == ((3, 5), (7,))
