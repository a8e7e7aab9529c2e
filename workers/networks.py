"""The networks of a model: its own, and the smaller ones that rows of a schedule may name.

Each sees to its memory, and to its bits where these must not depend on the batch. Rows are grouped by network: a batch
makes one call for each that it needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from schedules.table import OWN, Table, TableError
from workers.buckets import BucketedFamily, require_one_length
from workers.caching_hooks import refuse_caching_hooks
from workers.conditioning import signature
from workers.families.base import Conditioning, Family
from workers.invariance import InvariantFamily
from workers.memory import BoundedFamily, Shape, Stage
from workers.slots import NO_HISTORIES, Histories

_LONG = " ".join("0" * 64)
"""A prompt of more tokens than one of nothing, whatever the tokenizer."""


class Networks:
    """All networks of a model, by name.

    Args:
        own: the model.
        smaller: the same model with another network in place of its own, by that network's name; its prompts are
            encoded as the model's are.
        max_rows: most rows of one call, where there is memory for them.
        invariant: whether a row's bits must not depend on what else is in the batch.
        on_out_of_memory: told the stage of each call that ran out of memory and is made again in parts.
        histories: what must fit into memory beside the calls; none by default.
        bucketed: whether calls are recorded by their number of rows, and batches are filled up to one of a few.

    Raises:
        CachingHookError: one of the networks reuses activations between calls.
    """

    def __init__(
        self,
        own: Family,
        smaller: Mapping[str, Family] | None = None,
        *,
        max_rows: int,
        invariant: bool = False,
        on_out_of_memory: Callable[[Stage], None] = lambda _stage: None,
        histories: Histories = NO_HISTORIES,
        bucketed: bool = False,
    ) -> None:
        families = {OWN: own, **(smaller or {})}
        for family in families.values():
            refuse_caching_hooks(family)
        kind = BucketedFamily if bucketed else BoundedFamily
        bounded = {name: kind(family, max_rows, on_out_of_memory, histories) for name, family in families.items()}
        self._bucketed = bucketed
        self._bounded = tuple(bounded.values())
        self._families = tuple(InvariantFamily(each) if invariant else each for each in self._bounded)
        self._places = {name: place for place, name in enumerate(bounded)}
        self.own = self._families[0]
        """The model, with its own network."""
        self._idle_input: tuple[Shape, Conditioning] | None = None  # latent shape and text, once warm

    @property
    def splits(self) -> int:
        """Calls that ran out of memory until now."""
        return sum(family.splits for family in self._bounded)

    def places(self, table: Table) -> NDArray[np.int64]:
        """Which network each row of a table is for, as `denoise` takes it, shape (E,).

        Raises:
            TableError: it names one that is not here.
        """
        self._require(table.networks)
        return np.array([self._places[table.network(row)] for row in range(table.evaluations_count)], dtype=np.int64)

    def _require(self, names: Iterable[str]) -> None:
        missing = sorted(set(names) - self._places.keys())
        if missing:
            known = ", ".join(name for name in self._places if name != OWN) or "none"
            raise TableError(f"networks: this worker has no {missing[0]!r}; its smaller networks: {known}")

    def prepare(self, shape: Shape, texts: Sequence[Conditioning], names: Iterable[str] = ()) -> None:
        """Make the model's own network and the named ones ready for a latent shape.

        Raises:
            TableError: one of them is not here.
        """
        self._require(names)
        for name in dict.fromkeys((OWN, *names)):
            self._families[self._places[name]].prepare(shape, texts)

    def warm_up(self, width: int, height: int) -> None:
        """Draw nothing, so that the first requests do not pay for what libraries set up on first use.

        A compiler looks at a single row apart from any other number of them, and at texts of different lengths apart
        from those of one; a recorder looks at each number, in the second call.

        Raises:
            ValueError: calls are recorded, and this model's texts are of different lengths.
        """
        texts = self.own.encode(["", _LONG])
        if self._bucketed:
            require_one_length(texts)
        shape = self.own.latent_shape(width, height)
        self.prepare(shape, texts[:1], self._places)
        for family in self._families:
            for call in self._first_calls(family, shape, texts):
                latents = torch.zeros(len(call), *shape, device=self.own.device)
                family.denoise(latents, torch.ones(len(call), device=latents.device), call)
        self.own.decode(torch.zeros(1, *shape, device=self.own.device))
        self._idle_input = (shape, texts[0])

    def _first_calls(
        self, family: Family, shape: Shape, texts: Sequence[Conditioning]
    ) -> Iterator[Sequence[Conditioning]]:
        short, long = texts
        recorded = family.sizes(shape) if isinstance(family, BucketedFamily) else (1,)
        for rows in (*recorded, *recorded) if self._bucketed else (1, 2):
            yield [short] * rows
        if signature(short) != signature(long):
            yield from ([long], [short, long])

    @property
    def is_warm(self) -> bool:
        """Whether `warm_up` was called, which all that tries something needs."""
        return self._idle_input is not None

    @property
    def idle_rows(self) -> int:
        """Most rows of a call at the size that was warmed up."""
        return self.own.rows(self._idle[0])

    @property
    def _idle(self) -> tuple[Shape, Conditioning]:
        if self._idle_input is None:
            raise RuntimeError("nothing can be tried before the networks are warm: this is a bug")
        return self._idle_input

    @torch.inference_mode()
    def try_turn(self, rows: int, *, untimed: int = 1) -> float:
        """Seconds of a call of the model's own network that draws nothing.

        Args:
            rows: of the call.
            untimed: calls before it, which wake what has gone to sleep.
        """
        shape, text = self._idle
        latents = torch.zeros(rows, *shape, device=self.own.device)
        times = torch.ones(rows, device=latents.device)
        started = 0.0
        for _ in range(untimed + 1):
            started = time.monotonic()
            outputs = self.own.denoise(latents, times, [text] * rows)
            float(outputs.sum())  # a device that can tell the sum has done it
        return time.monotonic() - started

    @torch.inference_mode()
    def try_prompt(self) -> float:
        """Seconds of a prompt that draws nothing."""
        started = time.monotonic()
        self.own.encode([""])
        if self.own.device.type == "cuda":
            torch.cuda.synchronize(self.own.device)
        return time.monotonic() - started

    @torch.inference_mode()
    def try_picture(self) -> float:
        """Seconds in which a latent of nothing becomes a picture."""
        latents = torch.zeros(1, *self._idle[0], device=self.own.device)
        started = time.monotonic()
        self.own.decode(latents)
        return time.monotonic() - started

    def denoise(
        self,
        x: Float32[Tensor, "rows *latent"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[Conditioning],
        places: NDArray[np.int64],
    ) -> Float32[Tensor, "rows *latent"]:
        """One evaluation of each row with its own network, in one call of each.

        Args:
            x: scaled latents.
            t: the network's own time of each row.
            conditioning: one for each row.
            places: which network each row is for.
        """
        needed = np.unique(places)
        if len(needed) == 1:
            return self._families[int(needed[0])].denoise(x, t, conditioning)
        outputs = torch.empty_like(x)
        for place in needed:
            rows = np.flatnonzero(places == place)
            index = torch.from_numpy(rows).to(x.device)
            texts = [conditioning[int(row)] for row in rows]
            outputs[index] = self._families[int(place)].denoise(x[index], t[index], texts)
        return outputs
