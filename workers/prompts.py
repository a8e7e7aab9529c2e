"""Encoded prompts, kept for those who ask for them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from workers.conditioning import size_bytes
from workers.families.base import Conditioning

_ENTRY_BYTES = 256
"""What an entry takes beside its tensors, about."""


class PromptCache:
    """The conditionings of one model's prompts, least recently used first out; for one thread at a time.

    Args:
        capacity_bytes: most bytes of tensors kept, on the model's device.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._kept: OrderedDict[str, Conditioning] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Bytes kept."""
        return self._bytes

    def encode(
        self, prompts: Sequence[str], encode: Callable[[Sequence[str]], Sequence[Conditioning]]
    ) -> list[Conditioning]:
        """One conditioning for each prompt; `encode` is called once with those that are not kept, if any."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]
        found = {prompt: self._kept[prompt] for prompt in prompts if prompt in self._kept}
        if new:
            found |= zip(new, encode(new), strict=True)
        for prompt, conditioning in found.items():
            self._keep(prompt, conditioning)
        return [found[prompt] for prompt in prompts]

    def _keep(self, prompt: str, conditioning: Conditioning) -> None:
        if prompt not in self._kept:
            self._bytes += _size(conditioning)
        self._kept[prompt] = conditioning
        self._kept.move_to_end(prompt)
        while self._bytes > self._capacity_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(conditioning: Conditioning) -> int:
    return _ENTRY_BYTES + size_bytes(conditioning)
