"""Steps many requests at once: for each one row of its own table, for all of them one network call and one einsum.

Requests may differ in schedule, solver, number of steps, position and guidance. No scheduler object is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from schedules.table import Table
from workers.families.base import Conditioning, Family
from workers.slots import SlotPool


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


@dataclass(slots=True)
class _Seat:
    """A request in its slot. `step` counts the evaluations done; the runner alone sets it."""

    spec: Spec
    slot: int
    rows: Tensor  # X, shape (E + 1, B + E), float32
    guidance: Tensor  # g of each evaluation, shape (E,), float32
    step: int = 0

    @property
    def columns(self) -> int:
        """History columns filled: the base latents and the outputs so far."""
        return len(self.spec.table.base) + self.step

    @property
    def fresh(self) -> bool:
        """Whether this step evaluates the unconditional output."""
        return self.spec.guidance_scale != 1.0 and self.spec.table.uncond[self.step] == "fresh"

    @property
    def guided(self) -> bool:
        """Whether this step mixes in an unconditional output, fresh or reused."""
        return self.spec.guidance_scale != 1.0 and self.spec.table.uncond[self.step] != "skipped"


class Runner:
    """Holds the latents of the admitted requests.

    Args:
        family: the model.
        slots: most requests held at once, per latent shape.
    """

    def __init__(self, family: Family, slots: int) -> None:
        self._family = family
        self._slots = slots
        self._pools: dict[tuple[int, ...], SlotPool] = {}
        self._seats: dict[str, _Seat] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def admit(self, request_id: str, spec: Spec) -> None:
        """Take a request in: a zeroed slot, its base latents drawn from its seed.

        Raises:
            ValueError: the id is taken, no slot is free, or the table starts from an image.
        """
        if request_id in self._seats:
            raise ValueError(f"request {request_id!r} is admitted already")
        if "image" in spec.table.base:
            raise ValueError("tables that start from an image need one, and none was given")
        device = self._family.device
        bases = _base_latents(spec).to(device)
        rows = torch.from_numpy(spec.table.X.astype("float32")).to(device)
        guidance = torch.from_numpy(spec.table.guidance(spec.guidance_scale).astype("float32")).to(device)
        slot = self._pool(spec.shape).take(bases, columns=len(bases) + spec.table.evaluations_count)
        self._seats[request_id] = _Seat(spec, slot, rows, guidance)

    def _pool(self, shape: tuple[int, ...]) -> SlotPool:
        if shape not in self._pools:
            self._pools = {known: pool for known, pool in self._pools.items() if not pool.idle}
            self._pools[shape] = SlotPool(self._slots, shape, self._family.device)
        return self._pools[shape]

    @torch.inference_mode()
    def step(self, request_ids: Sequence[str]) -> frozenset[str]:
        """One evaluation of each request, all of one latent shape, in one network call.

        Returns:
            The ids whose output is not finite; their company is unharmed.
        """
        seats = [self._seats[request_id] for request_id in request_ids]
        pool, slots = self._pools[seats[0].spec.shape], self._slot_index(seats)
        outputs = self._evaluate(seats, pool, self._combine(seats, pool, slots))
        columns = torch.tensor([seat.columns for seat in seats], device=self._family.device)
        pool.write(slots, columns, outputs)
        for seat in seats:
            seat.step += 1
        finite = torch.isfinite(outputs).flatten(1).all(dim=1).tolist()
        return frozenset(name for name, good in zip(request_ids, finite, strict=True) if not good)

    def _slot_index(self, seats: Sequence[_Seat]) -> Int64[Tensor, "n"]:
        return torch.tensor([seat.slot for seat in seats], device=self._family.device)

    def _combine(
        self, seats: Sequence[_Seat], pool: SlotPool, slots: Int64[Tensor, "n"]
    ) -> Float32[Tensor, "n *latent"]:
        """The sample of each request at its step, X[k] @ H."""
        longest = max(seat.columns for seat in seats)
        rows = torch.zeros(len(seats), longest, device=self._family.device)
        for row, seat in zip(rows, seats, strict=True):
            row[: seat.columns] = seat.rows[seat.step, : seat.columns]
        return pool.combine(slots, rows)

    def _evaluate(
        self, seats: Sequence[_Seat], pool: SlotPool, samples: Float32[Tensor, "n *latent"]
    ) -> Float32[Tensor, "n *latent"]:
        """The guided output of each request: conditional rows first, then the fresh unconditional ones."""
        device = self._family.device
        tables = [seat.spec.table for seat in seats]
        scale = torch.tensor([float(table.c[seat.step]) for table, seat in zip(tables, seats, strict=True)])
        times = torch.tensor([float(table.t[seat.step]) for table, seat in zip(tables, seats, strict=True)])
        fresh = [i for i, seat in enumerate(seats) if seat.fresh]
        order = torch.tensor([*range(len(seats)), *fresh])
        inputs = samples * scale.to(device).reshape(-1, *(1,) * (samples.ndim - 1))
        texts = [seat.spec.positive for seat in seats] + [seats[i].spec.negative for i in fresh]
        outputs = self._family.denoise(inputs[order.to(device)], times[order].to(device), texts)
        if fresh:
            pool.keep_unconditional(self._slot_index([seats[i] for i in fresh]), outputs[len(seats) :])
        return self._guide(seats, pool, outputs[: len(seats)])

    def _guide(
        self, seats: Sequence[_Seat], pool: SlotPool, conditional: Float32[Tensor, "n *latent"]
    ) -> Float32[Tensor, "n *latent"]:
        guided = [i for i, seat in enumerate(seats) if seat.guided]
        if not guided:
            return conditional
        chosen = [seats[i] for i in guided]
        index = torch.tensor(guided, device=self._family.device)
        guidance = torch.stack([seat.guidance[seat.step] for seat in chosen])
        unconditional = pool.unconditional(self._slot_index(chosen))
        mixed = conditional.clone()
        mixed[index] = self._family.combine(conditional[index], unconditional, guidance)
        return mixed

    @torch.inference_mode()
    def results(self, request_ids: Sequence[str]) -> Float32[Tensor, "n *latent"]:
        """The samples of requests at their present step, the final latents once all are done."""
        seats = [self._seats[request_id] for request_id in request_ids]
        return self._combine(seats, self._pools[seats[0].spec.shape], self._slot_index(seats))

    def release(self, request_id: str) -> None:
        """Let a request go and free its slot.

        Raises:
            KeyError: it is not here.
        """
        seat = self._seats.pop(request_id)
        self._pools[seat.spec.shape].give_back(seat.slot)


def _base_latents(spec: Spec) -> Float32[Tensor, "bases *latent"]:
    """Starting noise and draws, in this order from one generator as stock pipelines draw them."""
    generator = torch.Generator("cpu").manual_seed(spec.seed)
    draws = [torch.randn((1, *spec.shape), generator=generator)[0] for _ in spec.table.base]
    return torch.stack(draws)
