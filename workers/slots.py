"""The pool of histories: one slot per request, float32, zeroed on admission."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

_SMALLEST_HISTORY = 32
_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Histories:
    """What the histories of a full pool take, at the most.

    Attributes:
        slots: of the pool.
        columns: of the longest history that memory is set aside for.
    """

    slots: int
    columns: int

    def pool_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of the pool, for latents of this shape; while it grows, what it had is there beside what it gets."""
        length = _length(self.columns)
        had = length // 2 if length > _SMALLEST_HISTORY else 0
        unconditional_and_mask = 2
        return self.slots * (had + length + unconditional_and_mask) * self._latent_bytes(shape)

    def row_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes that a combination takes for each request in it, which is at least a row of a network call."""
        return self.columns * self._latent_bytes(shape)

    def _latent_bytes(self, shape: tuple[int, ...]) -> int:
        return _FLOAT32_BYTES * math.prod(shape)


NO_HISTORIES = Histories(0, 0)
"""Where no pool stands beside the network."""


def _length(columns: int) -> int:
    """Columns of histories that have room for so many: doubled, so that growth stays rare; always whole blocks."""
    length = _SMALLEST_HISTORY
    while length < columns:
        length *= 2
    return length


class SlotPool:
    """Histories of requests with one latent shape, in one preallocated tensor.

    A slot is zeroed when it is taken: 0 x NaN is NaN, so what one request left behind must never meet another's zeros.

    Args:
        slots: most requests held at once.
        shape: of one latent.
        device: where the histories live.
        invariant: whether a combination's bits must not depend on which others are computed with it.
    """

    def __init__(self, slots: int, shape: tuple[int, ...], device: torch.device, *, invariant: bool = False) -> None:
        self._invariant = invariant
        self._history = torch.zeros((slots, _SMALLEST_HISTORY, *shape), device=device)
        self._unconditional = torch.zeros((slots, *shape), device=device)
        self._masks: Tensor | None = None  # there is none before the first request that has one
        self._free = list(range(slots))[::-1]

    @property
    def slots(self) -> int:
        """Slots there are."""
        return len(self._history)

    @property
    def idle(self) -> bool:
        """Whether every slot is free."""
        return len(self._free) == len(self._history)

    def take(self, bases: Float32[Tensor, "bases ..."], *, columns: int) -> int:
        """A slot that holds the base latents and zeros, with room for this many columns.

        The pool's histories grow where they are too short.

        Raises:
            ValueError: no slot is free.
        """
        if not self._free:
            raise ValueError("no slot is free")
        self.reserve(columns)
        slot = self._free[-1]
        self._history[slot] = 0
        self._unconditional[slot] = 0
        self._history[slot, : len(bases)] = bases
        return self._free.pop()

    def reserve(self, columns: int) -> None:
        """Make room for this many columns in every slot; what they hold stays."""
        slots, have, *shape = self._history.shape
        if columns > have:
            longer = self._history.new_zeros((slots, _length(columns), *shape))
            longer[:, :have] = self._history
            self._history = longer

    def give_back(self, slot: int) -> None:
        """Free a slot."""
        self._free.append(slot)

    def write(self, slots: Int64[Tensor, "n"], columns: Int64[Tensor, "n"], values: Float32[Tensor, "n ..."]) -> None:
        """Set one column of each slot."""
        self._history[slots, columns] = values

    def combine(self, slots: Int64[Tensor, "n"], rows: Float32[Tensor, "n columns"]) -> Float32[Tensor, "n ..."]:
        """One linear combination of each slot's history.

        Args:
            slots: whose histories.
            rows: coefficients, zero where a slot has no column yet.
        """
        if self._invariant:
            return self._combine_in_blocks(slots, rows)
        return torch.einsum("nl,nl...->n...", rows, self._history[slots, : rows.shape[1]])

    def _combine_in_blocks(
        self, slots: Int64[Tensor, "n"], rows: Float32[Tensor, "n columns"]
    ) -> Float32[Tensor, "n ..."]:
        """The same for all slots at once, over one block of columns after the other.

        Every product has the same shape whoever is in the batch. What the longest history adds to the others is blocks
        of zeros, which change no bit of a sum.
        """
        everyone = len(self._history)
        blocks = -(-rows.shape[1] // _SMALLEST_HISTORY)
        weights = rows.new_zeros((everyone, blocks * _SMALLEST_HISTORY))
        weights[slots, : rows.shape[1]] = rows
        total = torch.zeros_like(self._history[:, 0])
        for weight, history in zip(
            weights.split(_SMALLEST_HISTORY, dim=1), self._history.split(_SMALLEST_HISTORY, dim=1), strict=False
        ):
            total += torch.einsum("nl,nl...->n...", weight, history)
        return total[slots]

    def keep_mask(self, slot: int, mask: Float32[Tensor, "1 rows columns"]) -> None:
        """Remember how much of a slot's latent is free to change, 0 to 1."""
        if self._masks is None:
            slots, _, _, *sides = self._history.shape
            self._masks = self._history.new_ones((slots, 1, *sides))
        self._masks[slot] = mask

    def masks(self, slots: Int64[Tensor, "n"]) -> Float32[Tensor, "n 1 rows columns"]:
        """The masks of slots, each of which was given one."""
        if self._masks is None:
            raise ValueError("no slot was given a mask")
        return self._masks[slots]

    def keep_unconditional(self, slots: Int64[Tensor, "n"], values: Float32[Tensor, "n ..."]) -> None:
        """Remember the latest unconditional outputs of slots."""
        self._unconditional[slots] = values

    def unconditional(self, slots: Int64[Tensor, "n"]) -> Float32[Tensor, "n ..."]:
        """The latest unconditional outputs of slots."""
        return self._unconditional[slots]
