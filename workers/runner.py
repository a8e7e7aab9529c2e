"""Steps many requests at once: for each one row of its own table, for all of them one network call and one einsum.

Requests may differ in schedule, solver, number of steps, position and guidance. No scheduler object is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from schedules.table import Table
from workers.families.base import Conditioning, Family
from workers.slots import SlotPool
from workers.table_rows import Rows, TableRows


@dataclass(frozen=True, slots=True)
class Spec:
    """What the runner must know of a request.

    Attributes:
        table: its sampler.
        guidance_scale: the caller's G.
        seed: of the starting noise and of the sampler's draws.
        shape: of its latent.
        positive: its prompt's conditioning.
        negative: its negative prompt's; unused when G is 1.
    """

    table: Table
    guidance_scale: float
    seed: int
    shape: tuple[int, ...]
    positive: Conditioning
    negative: Conditioning


@dataclass(frozen=True, slots=True)
class _Seat:
    """A request in its slot."""

    spec: Spec
    slot: int


@dataclass(frozen=True, slots=True)
class _Room:
    """What requests of one latent shape have in common: the pool of their histories, and their tables by slot."""

    pool: SlotPool
    tables: TableRows


class Runner:
    """Holds the latents of the admitted requests.

    Args:
        family: the model.
        slots: most requests held at once, per latent shape.
        invariant: whether a request's bits must not depend on its company; the family must see to its own part.
    """

    def __init__(self, family: Family, slots: int, *, invariant: bool = False) -> None:
        self._family = family
        self._slots = slots
        self._invariant = invariant
        self._rooms: dict[tuple[int, ...], _Room] = {}
        self._seats: dict[str, _Seat] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._seats

    def admit(self, request_id: str, spec: Spec) -> None:
        """Take a request in: a zeroed slot, its base latents drawn from its seed.

        Raises:
            ValueError: the id is taken, no slot is free, or the table starts from an image.
        """
        if request_id in self._seats:
            raise ValueError(f"request {request_id!r} is admitted already")
        if "image" in spec.table.base:
            raise ValueError("tables that start from an image need one, and none was given")
        bases = _base_latents(spec).to(self._family.device)
        room = self._room(spec.shape)
        slot = room.pool.take(bases, columns=len(bases) + spec.table.evaluations_count)
        room.tables.put(slot, spec.table, spec.guidance_scale)
        self._seats[request_id] = _Seat(spec, slot)

    def _room(self, shape: tuple[int, ...]) -> _Room:
        if shape not in self._rooms:
            self._rooms = {known: room for known, room in self._rooms.items() if not room.pool.idle}
            pool = SlotPool(self._slots, shape, self._family.device, invariant=self._invariant)
            self._rooms[shape] = _Room(pool, TableRows(self._slots))
        return self._rooms[shape]

    @torch.inference_mode()
    def step(self, request_ids: Sequence[str]) -> frozenset[str]:
        """One evaluation of each request, all of one latent shape, in one network call.

        Returns:
            The ids whose output is not finite; their company is unharmed.
        """
        seats, room, slots, rows = self._at(request_ids)
        index = self._on_device(slots)
        samples = room.pool.combine(index, self._on_device(rows.weights))
        outputs = self._guide(room.pool, index, rows, *self._evaluate(seats, rows, samples))
        room.pool.write(index, self._on_device(rows.columns), outputs)
        room.tables.advance(slots)
        finite = torch.isfinite(outputs).flatten(1).all(dim=1).tolist()
        return frozenset(name for name, good in zip(request_ids, finite, strict=True) if not good)

    def _at(self, request_ids: Sequence[str]) -> tuple[list[_Seat], _Room, NDArray[np.int64], Rows]:
        seats = [self._seats[request_id] for request_id in request_ids]
        room = self._rooms[seats[0].spec.shape]
        slots = np.array([seat.slot for seat in seats])
        return seats, room, slots, room.tables.at(slots)

    def _on_device(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._family.device)

    def _evaluate(
        self, seats: Sequence[_Seat], rows: Rows, samples: Float32[Tensor, "n *latent"]
    ) -> tuple[Float32[Tensor, "n *latent"], Float32[Tensor, "fresh *latent"]]:
        """One network call: the conditional output of each request, then the unconditional ones asked for afresh."""
        fresh = np.flatnonzero(rows.fresh)
        order = self._on_device(np.concatenate([np.arange(len(seats)), fresh]))
        scale = self._on_device(rows.scale).reshape(-1, *(1,) * (samples.ndim - 1))
        texts = [seat.spec.positive for seat in seats] + [seats[int(i)].spec.negative for i in fresh]
        outputs = self._family.denoise((samples * scale)[order], self._on_device(rows.time)[order], texts)
        return outputs[: len(seats)], outputs[len(seats) :]

    def _guide(
        self,
        pool: SlotPool,
        slots: Int64[Tensor, "n"],
        rows: Rows,
        conditional: Float32[Tensor, "n *latent"],
        fresh: Float32[Tensor, "fresh *latent"],
    ) -> Float32[Tensor, "n *latent"]:
        """The guided outputs, with an unconditional one of now or of before as each row says."""
        if not rows.guided.any():
            return conditional
        if len(fresh):
            pool.keep_unconditional(slots[self._on_device(np.flatnonzero(rows.fresh))], fresh)
        guided = self._on_device(np.flatnonzero(rows.guided))
        guidance = self._on_device(rows.guidance)[guided]
        mixed = conditional.clone()
        mixed[guided] = self._family.combine(conditional[guided], pool.unconditional(slots[guided]), guidance)
        return mixed

    @torch.inference_mode()
    def results(self, request_ids: Sequence[str]) -> Float32[Tensor, "n *latent"]:
        """The samples of requests at their present step, the final latents once all are done."""
        _, room, slots, rows = self._at(request_ids)
        return room.pool.combine(self._on_device(slots), self._on_device(rows.weights))

    def release(self, request_id: str) -> None:
        """Let a request go and free its slot.

        Raises:
            KeyError: it is not here.
        """
        seat = self._seats.pop(request_id)
        self._rooms[seat.spec.shape].pool.give_back(seat.slot)


def _base_latents(spec: Spec) -> Float32[Tensor, "bases *latent"]:
    """Starting noise and draws, in this order from one generator as stock pipelines draw them."""
    generator = torch.Generator("cpu").manual_seed(spec.seed)
    draws = [torch.randn((1, *spec.shape), generator=generator)[0] for _ in spec.table.base]
    return torch.stack(draws)
