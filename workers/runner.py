"""Steps many requests at once: for each one row of its own table, for all of them one network call and one einsum.

Requests may differ in schedule, solver, number of steps, position, guidance and network. No scheduler object is ever
run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from schedules.table import Table, TableError, common_rows
from workers.families.base import Conditioning
from workers.networks import Networks
from workers.slots import SlotPool
from workers.table_rows import Rows, TableRows


@dataclass(frozen=True, slots=True)
class Picture:
    """What a request starts from, beside noise.

    Attributes:
        latent: of the image, on the family's device.
        generator: the request's, from which the autoencoder has drawn its part, as in stock pipelines.
        mask: how much of the latent is free to change, 0 to 1; None where all of it is.
    """

    latent: Float32[Tensor, "*latent"]
    generator: torch.Generator
    mask: Float32[Tensor, "1 rows columns"] | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """What the runner must know of a request.

    Attributes:
        table: its sampler.
        guidance_scale: the caller's G.
        seed: of the starting noise and of the sampler's draws.
        shape: of its latent.
        positive: its prompt's conditioning.
        negative: its negative prompt's; None where G is 1, as it is unused then.
        picture: what it starts from, where the table says so.
    """

    table: Table
    guidance_scale: float
    seed: int
    shape: tuple[int, ...]
    positive: Conditioning
    negative: Conditioning | None
    picture: Picture | None = None

    @property
    def texts(self) -> tuple[Conditioning, ...]:
        """What the network is given, the prompt first."""
        return (self.positive,) if self.negative is None else (self.positive, self.negative)


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
        networks: the model's.
        slots: most requests held at once, per latent shape.
        invariant: whether a request's bits must not depend on its company; the networks must see to their own part.
    """

    def __init__(self, networks: Networks, slots: int, *, invariant: bool = False) -> None:
        self._networks = networks
        self._family = networks.own
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
            ValueError: the id is taken, no slot is free, or the table needs an image or a mask and there is none.
            TableError: the table names a network that is not here.
        """
        if request_id in self._seats:
            raise ValueError(f"request {request_id!r} is admitted already")
        _check_picture(spec)
        networks = self._networks.places(spec.table)
        bases = _base_latents(spec, self._family.device)
        room = self._room(spec.shape)
        slot = room.pool.take(bases, columns=len(bases) + spec.table.evaluations_count)
        if spec.picture is not None and spec.picture.mask is not None:
            room.pool.keep_mask(slot, spec.picture.mask)
        room.tables.put(slot, spec.table, spec.guidance_scale, networks)
        self._seats[request_id] = _Seat(spec, slot)

    def replan(self, request_id: str, table: Table) -> None:
        """Go on with another table, which begins with what was evaluated already.

        Args:
            request_id: of a request that is here.
            table: over the same base latents, of the model's own network alone.

        Raises:
            KeyError: the request is not here.
            TableError: the table begins otherwise, has nothing left to evaluate, or names a smaller network.
        """
        seat = self._seats[request_id]
        room = self._rooms[seat.spec.shape]
        done = room.tables.step(seat.slot)
        if common_rows(seat.spec.table, table) < done:
            raise TableError(f"table: must begin with the {done} evaluations that were made already")
        if table.evaluations_count <= done:
            raise TableError(f"table: must have more than the {done} evaluations that were made already")
        if table.networks:
            raise TableError("table: must not name smaller networks, as these were not made ready")
        room.pool.reserve(len(table.base) + table.evaluations_count)
        room.tables.put(seat.slot, table, seat.spec.guidance_scale, step=done)
        self._seats[request_id] = replace(seat, spec=replace(seat.spec, table=table))

    def _room(self, shape: tuple[int, ...]) -> _Room:
        room = self._rooms.get(shape)
        if room is None or (room.pool.idle and room.pool.slots != self._slots):
            self._leave_idle_rooms()
            pool = SlotPool(self._slots, shape, self._family.device, invariant=self._invariant)
            self._rooms[shape] = _Room(pool, TableRows(self._slots))
        return self._rooms[shape]

    def make_way(self, shape: tuple[int, ...]) -> None:
        """Let go of empty pools where there is none for a latent shape, so that memory is measured without them."""
        if shape not in self._rooms:
            self._leave_idle_rooms()

    def _leave_idle_rooms(self) -> None:
        self._rooms = {shape: room for shape, room in self._rooms.items() if not room.pool.idle}

    def lower(self, slots: int) -> None:
        """Hold fewer requests per latent shape, in each pool from when it is next empty."""
        self._slots = slots
        self._leave_idle_rooms()

    @torch.inference_mode()
    def step(self, request_ids: Sequence[str]) -> frozenset[str]:
        """One evaluation of each request, all of one latent shape, in one call of each network that is needed.

        Returns:
            The ids whose output is not finite; their company is unharmed.
        """
        seats, room, slots, rows = self._at(request_ids)
        index = self._on_device(slots)
        samples = self._samples(room.pool, index, rows, keep=True)
        outputs = self._guide(room.pool, index, rows, *self._evaluate(seats, rows, samples))
        room.pool.write(index, self._on_device(rows.columns), outputs)
        room.tables.advance(slots)
        finite = torch.isfinite(outputs).flatten(1).all(dim=1).tolist()
        return frozenset(name for name, good in zip(request_ids, finite, strict=True) if not good)

    def scale(self, request_id: str) -> float:
        """The guidance scale that a request is stepped with.

        Raises:
            KeyError: it is not here.
        """
        return self._seats[request_id].spec.guidance_scale

    def mixes(self, request_ids: Sequence[str]) -> bool:
        """Whether any of these requests steps with another network than the model's own now."""
        named = [name for name in request_ids if self._seats[name].spec.table.networks]
        return bool(named) and bool(self._at(named)[3].networks.any())

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
        """The conditional output of each request, then the unconditional ones asked for afresh, all at once."""
        fresh = np.flatnonzero(rows.fresh)
        which = np.concatenate([np.arange(len(seats)), fresh])
        order = self._on_device(which)
        scale = self._on_device(rows.scale).reshape(-1, *(1,) * (samples.ndim - 1))
        texts = [seat.spec.positive for seat in seats] + [seats[int(i)].spec.negative for i in fresh]
        inputs, times = (samples * scale)[order], self._on_device(rows.time)[order]
        outputs = self._networks.denoise(inputs, times, texts, rows.networks[which])
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
        return self._samples(room.pool, self._on_device(slots), rows, keep=False)

    def _samples(
        self, pool: SlotPool, slots: Int64[Tensor, "n"], rows: Rows, *, keep: bool
    ) -> Float32[Tensor, "n *latent"]:
        """The states of slots, with what a mask keeps put back to how it was, at the noise level of the row.

        Args:
            pool: with the histories.
            slots: whose.
            rows: the row that each is at.
            keep: whether to write down what a mask has changed, which all later rows build on.
        """
        samples = pool.combine(slots, self._on_device(rows.weights))
        if not rows.blended.any():
            return samples
        places = self._on_device(np.flatnonzero(rows.blended))
        masked, free = slots[places], samples[places]
        originals = pool.combine(masked, self._on_device(rows.originals)[places])
        masks = pool.masks(masked)
        samples[places] = masks * free + (1 - masks) * originals
        if keep:
            pool.write(masked, self._on_device(rows.blends)[places], samples[places] - free)
        return samples

    def release(self, request_id: str) -> None:
        """Let a request go and free its slot.

        Raises:
            KeyError: it is not here.
        """
        seat = self._seats.pop(request_id)
        self._rooms[seat.spec.shape].pool.give_back(seat.slot)


def _check_picture(spec: Spec) -> None:
    picture = spec.picture
    if "image" in spec.table.base and picture is None:
        raise ValueError("tables that start from an image need one, and none was given")
    if spec.table.original is not None and (picture is None or picture.mask is None):
        raise ValueError("tables that keep a part of an image need a mask, and none was given")


def _base_latents(spec: Spec, device: torch.device) -> Float32[Tensor, "bases *latent"]:
    """Starting noise and draws, in this order from one generator as stock pipelines draw them; blends begin at 0."""
    picture = spec.picture
    generator = torch.Generator("cpu").manual_seed(spec.seed) if picture is None else picture.generator
    bases = torch.zeros((len(spec.table.base), *spec.shape), device=device)
    for place, kind in enumerate(spec.table.base):
        if kind in ("noise", "draw"):
            bases[place] = torch.randn((1, *spec.shape), generator=generator)[0]
        elif kind == "image" and picture is not None:
            bases[place] = picture.latent
    return bases
