"""Encoded prompts, kept for those who ask for them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from workers.conditioning import size_bytes
from workers.families.base import Conditioning, Family

_Key = tuple[str, bool, Hashable]

_ENTRY_BYTES = 256
"""What an entry takes beside its tensors, about."""


class PromptCache:
    """The conditionings of one model's prompts, least recently used first out; for one thread at a time.

    Args:
        capacity_bytes: most bytes of tensors kept, on the model's device.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._kept: OrderedDict[_Key, Conditioning] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Bytes kept."""
        return self._bytes

    def encode(self, family: Family, prompt: str, *, negative: bool, loras: Hashable = ()) -> Conditioning:
        """The conditioning of a prompt, or of a negative prompt, encoded if it is not kept.

        Args:
            family: the model.
            prompt: what to encode.
            negative: whether it is a negative prompt.
            loras: which are on, since text encoders may have some too.
        """
        key = prompt, negative, loras
        if key not in self._kept:
            (conditioning,) = family.encode([prompt], negative=negative)
            self._keep(key, conditioning)
            return conditioning
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: _Key, conditioning: Conditioning) -> None:
        self._kept[key] = conditioning
        self._bytes += _size(conditioning)
        while self._bytes > self._capacity_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(conditioning: Conditioning) -> int:
    return _ENTRY_BYTES + size_bytes(conditioning)
