"""The seam between the search and a model: a network to call and a batch of starting noises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from schedules.table import OWN


class Field(Protocol):
    """One branch of a network (the prompt's, or the negative prompt's)."""

    def __call__(self, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        """The network's output.

        Args:
            x: network inputs, shape (B, *latent), float32.
            t: the network's own time of each input, shape (B,), float32.
            rows: which seed of the problem each input belongs to, shape (B,), int64; names its conditioning.

        Returns:
            The output, shape (B, *latent), float32.
        """
        ...


class Combine(Protocol):
    """How a family combines its two branches."""

    def __call__(self, conditional: Tensor, unconditional: Tensor, weight: float | Tensor) -> Tensor:
        """The guided output at guidance weight g."""
        ...


def classifier_free(conditional: Tensor, unconditional: Tensor, weight: float | Tensor) -> Tensor:
    """Classifier-free guidance, u + g (c - u) (Ho and Salimans, 2022)."""
    return unconditional + weight * (conditional - unconditional)


@dataclass(frozen=True, eq=False)
class Branches:
    """A network: its two branches, and what it costs.

    Attributes:
        conditional: with each seed's prompt.
        unconditional: with the negative prompt; needed where the guidance scale is not 1.
        cost: of a forward, in forwards of the model's own network.
    """

    conditional: Field
    unconditional: Field | None
    cost: float = 1.0

    def mapped(self, change: Callable[[Field], Field]) -> Branches:
        """The same with both branches changed."""
        negative = self.unconditional
        return replace(
            self, conditional=change(self.conditional), unconditional=None if negative is None else change(negative)
        )


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """M seeds of a flow model, to be drawn with as few evaluations as possible.

    Attributes:
        noise: the starting noises, shape (M, *latent), float32; at sigma 1 they are the sample.
        conditional: the network with each seed's prompt.
        unconditional: the network with the negative prompt; needed where the guidance scale is not 1.
        guidance_scale: the caller's scale G.
        combine: how the two branches become one output.
        time_scale: the network's time at sigma 1 (1000 for diffusers' flow models).
        batch: most rows in one call of the network; bounds memory.
        gradients: let gradients through the network. What a call keeps for them is its inputs and output alone: it is
            made again on the way back, so that memory stays that of one call, and counts as two evaluations.
        smaller: networks that rows of a table may be evaluated with instead, by name.

    Raises:
        ValueError: guidance without an unconditional branch, or an empty batch.
    """

    noise: Tensor
    conditional: Field
    unconditional: Field | None = None
    guidance_scale: float = 1.0
    combine: Combine = classifier_free
    time_scale: float = 1000.0
    batch: int = 128
    gradients: bool = False
    smaller: Mapping[str, Branches] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.noise.ndim < 2 or len(self.noise) == 0:
            raise ValueError(f"noise: must have shape (M, *latent) with M >= 1, has {tuple(self.noise.shape)}")
        if self.batch < 1:
            raise ValueError(f"batch: must be at least 1, is {self.batch}")
        if self.guidance_scale != 1.0 and self.unconditional is None:
            raise ValueError(f"unconditional: needed at guidance scale {self.guidance_scale}")
        for name, network in self.smaller.items():
            if self.guidance_scale != 1.0 and network.unconditional is None:
                raise ValueError(f"smaller: {name!r} needs an unconditional branch at scale {self.guidance_scale}")

    @property
    def seeds_count(self) -> int:
        """M."""
        return len(self.noise)

    @property
    def guided(self) -> bool:
        """Whether the guidance scale asks for both branches."""
        return self.guidance_scale != 1.0

    def network(self, name: str) -> Branches:
        """A network by the name that a table's row has for it.

        Raises:
            ValueError: there is none.
        """
        if name == OWN:
            return Branches(self.conditional, self.unconditional)
        if name not in self.smaller:
            raise ValueError(f"networks: there is no {name!r}; there are {', '.join(self.smaller) or 'none'}")
        return self.smaller[name]

    def with_branches(self, change: Callable[[Branches], Branches]) -> SearchProblem:
        """The same problem with every network changed."""
        own = change(self.network(OWN))
        smaller = {name: change(network) for name, network in self.smaller.items()}
        return replace(self, conditional=own.conditional, unconditional=own.unconditional, smaller=smaller)

    @property
    def costs(self) -> dict[str, float]:
        """What a forward of each smaller network costs, in forwards of the model's own."""
        return {name: network.cost for name, network in self.smaller.items()}

    def take(self, count: int) -> SearchProblem:
        """The same problem with its first `count` seeds only."""
        if not 1 <= count <= self.seeds_count:
            raise ValueError(f"count: must be in 1..{self.seeds_count}, is {count}")
        return replace(self, noise=self.noise[:count])

    def drop(self, count: int) -> SearchProblem:
        """The same problem without its first `count` seeds."""
        if not 0 <= count < self.seeds_count:
            raise ValueError(f"count: must be in 0..{self.seeds_count - 1}, is {count}")
        later = self.with_branches(lambda network: network.mapped(lambda branch: _later(branch, count)))
        return replace(later, noise=self.noise[count:])

    def differentiable(self) -> SearchProblem:
        """The same problem with gradients through its outputs, with respect to samples and times."""
        return replace(self, gradients=True)

    def velocity(self, x: Tensor, sigma: float | Sequence[float]) -> Tensor:
        """The guided velocity dx/dsigma, for all seeds at one noise level or at several.

        Args:
            x: samples, shape (M, *latent), or (n, M, *latent) for n noise levels at once.
            sigma: one noise level in 0..1, or n of them.

        Returns:
            The velocity, of x's shape, float32.
        """
        levels = [float(sigma)] if isinstance(sigma, int | float) else [float(level) for level in sigma]
        flat = x.reshape(-1, *self.noise.shape[1:])
        t = torch.tensor(levels, dtype=torch.float64).mul(self.time_scale).repeat_interleave(self.seeds_count)
        rows = torch.arange(self.seeds_count).repeat(len(levels))
        return self.output(flat, t.float(), rows, self.guidance_scale).reshape(x.shape)

    def output(self, x: Tensor, t: Tensor, rows: Tensor, weight: float) -> Tensor:
        """The guided output for any rows, at most `batch` of them in one call.

        Args:
            x: network inputs, shape (B, *latent).
            t: network times, shape (B,).
            rows: seeds, shape (B,), int64.
            weight: the guidance weight g; 1 leaves the unconditional branch out.
        """
        conditional = self.branch(self.conditional, x, t, rows)
        if weight == 1.0 or self.unconditional is None:
            return conditional
        return self.combine(conditional, self.branch(self.unconditional, x, t, rows), weight)

    def branch(self, field: Field, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        """One branch's output for any rows, chunk by chunk, shape (B, *latent), float32.

        Raises:
            ValueError: gradients are asked for and the network cuts them off.
        """
        t, rows = t.to(self.noise.device), rows.to(self.noise.device)
        starts = range(0, len(x), self.batch)
        wanted = self.gradients and torch.is_grad_enabled() and (x.requires_grad or t.requires_grad)
        call = _call_with_gradients if wanted else _call
        chunks = [call(field, *(part[i : i + self.batch] for part in (x, t, rows))) for i in starts]
        return torch.cat(chunks).to(self.noise.dtype)


def _call(field: Field, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return field(x, t, rows)


def _call_with_gradients(field: Field, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
    output = checkpoint(field, x, t, rows, use_reentrant=False)
    if not isinstance(output, Tensor) or not output.requires_grad:
        raise ValueError("conditional, unconditional: the network lets no gradients through, as under inference mode")
    return output


def _later(field: Field, count: int) -> Field:
    """A network whose first seed is another one's seed `count`."""
    return lambda x, t, rows: field(x, t, rows + count)
