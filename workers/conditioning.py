"""What can be said of a prompt's conditioning without knowing its family: the tensors in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

from torch import Tensor

from workers.families.base import Conditioning

Signature = tuple[tuple[int, ...], ...]
"""Shapes of the tensors of a conditioning, in their order."""


def tensors_of(conditioning: Conditioning) -> Iterator[Tensor]:
    """The tensors in a conditioning, in dataclasses, mappings and sequences at any depth."""
    if isinstance(conditioning, Tensor):
        yield conditioning
    elif is_dataclass(conditioning):
        for field in fields(conditioning):
            yield from tensors_of(getattr(conditioning, field.name))
    elif isinstance(conditioning, Mapping):
        for value in conditioning.values():
            yield from tensors_of(value)
    elif isinstance(conditioning, Sequence) and not isinstance(conditioning, str | bytes):
        for value in conditioning:
            yield from tensors_of(value)


def size_bytes(conditioning: Conditioning) -> int:
    """Bytes that the tensors of a conditioning take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(conditioning))


def signature(conditioning: Conditioning) -> Signature:
    """What tells conditionings apart that a network would have to pad to each other's length."""
    return tuple(tuple(tensor.shape) for tensor in tensors_of(conditioning))
