"""A sampler as one lower-triangular matrix.

Every sampler in common use is linear in the starting noise and in the network's outputs. With

    H   = [b_0, ..., b_{B-1}, y_0, ..., y_{E-1}]     base latents, then each network output so far
    x_k = X[k] @ H                                    the sample before evaluation k; x_E is the result
    y_k = combine(net(c[k] x_k, t[k], prompt), net(c[k] x_k, t[k], negative), g[k])

the sampler is the numbers (t, c, w, uncond, X), worked out once in float64. `w` is a relative guidance weight: at a
caller's guidance scale G, g[k] = 1 + w[k] (G - 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Prediction = Literal["flow", "epsilon", "v_prediction", "sample"]
UncondMode = Literal["fresh", "reused", "skipped"]
BaseKind = Literal["noise", "image", "draw", "blend"]

UNCOND_MODES: tuple[UncondMode, ...] = ("fresh", "reused", "skipped")
OWN = ""
"""In place of a network's name: the model's own."""

Costs = Mapping[str, float]
"""What a forward of each smaller network costs, in forwards of the model's own, by name."""

_NO_COSTS: Costs = MappingProxyType({})


def all_fresh(count: int) -> tuple[UncondMode, ...]:
    """The unconditional output evaluated afresh at each of `count` evaluations."""
    fresh: UncondMode = "fresh"
    return (fresh,) * count


class TableError(ValueError):
    """A table that is not one; the message names the field."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A sampler with E evaluations over B base latents.

    Attributes:
        t: the network's own time of each evaluation, shape (E,), float64.
        c: the scale of the network's input, shape (E,), float64.
        w: the relative guidance weight, shape (E,), float64, >= 0.
        uncond: what happens to the unconditional output at each evaluation: evaluated afresh, the last one reused,
            or skipped (then w is 0), length E.
        X: the rows, shape (E + 1, B + E), float64; row k is zero from column B + k on.
        base: what each base latent is, length B; the first is the starting noise. A blend is what a mask puts into the
            state: the first before evaluation 1, the second before evaluation 2, and so on.
        original: of a table with blends, the given picture at the noise level of each row, as weights of the starting
            noise and of the image, the first two base latents, shape (E + 1, 2), float64.
        networks: the name of the network that each row is evaluated with, OWN for the model's own, length E; empty
            where that is so for all.

    Raises:
        TableError: a field has the wrong shape, is not finite, or breaks the triangle.
    """

    t: FloatArray
    c: FloatArray
    w: FloatArray
    uncond: tuple[UncondMode, ...]
    X: FloatArray
    base: tuple[BaseKind, ...] = ("noise",)
    original: FloatArray | None = None
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not any(self.networks):
            object.__setattr__(self, "networks", ())
        for name in ("t", "c", "w", "X"):
            value = np.array(getattr(self, name), dtype=np.float64)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        self._check_shapes()
        self._check_values()
        self._check_blends()

    def _check_shapes(self) -> None:
        if self.t.ndim != 1 or self.t.size == 0:
            raise TableError(f"t: must have shape (E,) with E >= 1, has {self.t.shape}")
        count = self.t.size
        for name in ("c", "w"):
            if getattr(self, name).shape != (count,):
                raise TableError(f"{name}: must have shape ({count},) as t has, has {getattr(self, name).shape}")
        if len(self.uncond) != count:
            raise TableError(f"uncond: must have {count} entries as t has, has {len(self.uncond)}")
        if self.networks and len(self.networks) != count:
            raise TableError(f"networks: must have {count} entries as t has, or none, has {len(self.networks)}")
        if not self.base or self.base[0] != "noise":
            raise TableError(f"base: must begin with 'noise', is {self.base}")
        expected = (count + 1, len(self.base) + count)
        if self.X.shape != expected:
            raise TableError(f"X: must have shape {expected}, has {self.X.shape}")

    def _check_values(self) -> None:
        for name in ("t", "c", "w", "X"):
            if not np.isfinite(getattr(self, name)).all():
                raise TableError(f"{name}: must be finite")
        if (self.w < 0).any():
            raise TableError("w: must not be negative")
        for k, mode in enumerate(self.uncond):
            if mode not in UNCOND_MODES:
                raise TableError(f"uncond[{k}]: must be one of {', '.join(UNCOND_MODES)}, is {mode!r}")
            if mode == "skipped" and self.w[k] != 0:
                raise TableError(f"w[{k}]: must be 0 where the unconditional output is skipped, is {self.w[k]}")
        if "reused" in self.uncond and self.uncond.index("reused") < self._first_fresh():
            raise TableError("uncond: nothing to reuse before the first fresh unconditional output")
        if np.triu(self.X[:, len(self.base) :], k=0)[: self.evaluations_count].any():
            raise TableError("X: a row uses an output that is not there yet; it must be lower-triangular")

    def _check_blends(self) -> None:
        count, blends = self.evaluations_count, self.base.count("blend")
        if self.original is None:
            if blends:
                raise TableError("original: must be given where there are blends")
            return
        original = np.array(self.original, dtype=np.float64)
        original.setflags(write=False)
        object.__setattr__(self, "original", original)
        if original.shape != (count + 1, 2) or not np.isfinite(original).all():
            raise TableError(f"original: must be finite and of shape ({count + 1}, 2), has {original.shape}")
        if self.base != ("noise", "image", *("blend",) * (count - 1)):
            raise TableError(f"base: with an original it must be noise, image and {count - 1} blends, is {self.base}")
        if np.triu(self.X[:, 2 : 1 + count], k=-1).any():
            raise TableError("X: a row uses a blend that is not there yet; it must be lower-triangular")

    def _first_fresh(self) -> int:
        return self.uncond.index("fresh") if "fresh" in self.uncond else len(self.uncond)

    @property
    def evaluations_count(self) -> int:
        """E, the number of rows that call the network."""
        return int(self.t.size)

    @property
    def draws_count(self) -> int:
        """How many seeded noises the sampler draws beside the starting one."""
        return self.base.count("draw")

    def uncond_sources(self) -> tuple[int | None, ...]:
        """The evaluation whose unconditional output each row combines with, length E.

        Row k itself where it is fresh, the last fresh one before k where it is reused, None where it is skipped.
        """
        sources: list[int | None] = []
        latest: int | None = None
        for k, mode in enumerate(self.uncond):
            latest = k if mode == "fresh" else latest
            sources.append(None if mode == "skipped" else latest)
        return tuple(sources)

    def forwards(self, guidance_scale: float) -> IntArray:
        """Forwards of the network for one image at each row: 1, or 2 where guided and fresh, shape (E,), int64."""
        guided = guidance_scale != 1.0
        return np.array([1 + (guided and mode == "fresh") for mode in self.uncond], dtype=np.int64)

    def network(self, row: int) -> str:
        """The name of the network that a row is evaluated with, OWN for the model's own."""
        return self.networks[row] if self.networks else OWN

    def cost(self, guidance_scale: float, costs: Costs = _NO_COSTS) -> float:
        """What one image costs, in forwards of the model's own network.

        Args:
            guidance_scale: the caller's.
            costs: of the smaller networks that rows name.

        Raises:
            TableError: a network without a cost.
        """
        if not self.networks:
            return float(len(self.uncond) + (guidance_scale != 1.0) * self.uncond.count("fresh"))
        missing = {name for name in self.networks if name != OWN} - costs.keys()
        if missing:
            raise TableError(f"networks: nothing says what a forward of {', '.join(sorted(missing))} costs")
        shares = [1.0 if name == OWN else costs[name] for name in self.networks]
        return float(self.forwards(guidance_scale) @ shares)

    def network_evaluations(self, guidance_scale: float, costs: Costs = _NO_COSTS) -> int:
        """Forwards of the network for one image: E, and one more per fresh unconditional output when guided.

        Those of smaller networks count as what they cost; the sum is rounded up. Raises as `cost`.
        """
        return math.ceil(round(self.cost(guidance_scale, costs), 9))

    def guidance(self, guidance_scale: float) -> FloatArray:
        """The guidance weight of each evaluation, g = 1 + w (G - 1), shape (E,), float64."""
        return 1.0 + self.w * (guidance_scale - 1.0)

    def x0_rows(self, sigmas: FloatArray, prediction: Prediction) -> FloatArray:
        """The preview of the clean image after each evaluation, as rows over the same history.

        The network's input c x is alpha x0 + beta n, with (alpha, beta) = (1 - sigma, sigma) for a flow and
        (1, sigma) / sqrt(1 + sigma^2) for the others, whatever coordinates the rows themselves are in.

        Args:
            sigmas: the noise level of each evaluation, shape (E,), >= 0; of a stock VP model sqrt((1 - abar) / abar).
            prediction: what the network's output stands for.

        Returns:
            Rows of shape (E, B + E), float64: x0_k = rows[k] @ H, using the outputs y_0 to y_k.

        Raises:
            TableError: there is not one sigma for each evaluation.
        """
        sigmas = np.asarray(sigmas, dtype=np.float64)
        if sigmas.shape != self.t.shape:
            raise TableError(f"sigmas: must have shape {self.t.shape}, one for each evaluation, has {sigmas.shape}")
        of_input, of_output = _clean_weights(sigmas, prediction)
        rows = (of_input * self.c)[:, None] * self.X[:-1]
        rows[np.arange(sigmas.size), len(self.base) + np.arange(sigmas.size)] += of_output
        return rows

    def difference(self, other: Table, *, tolerance: float = 0.0) -> str | None:
        """Say where two tables part, or None where they are the same sampler.

        Args:
            other: the table to compare with.
            tolerance: the largest difference allowed, relative to max(1, largest magnitude of the field), >= 0.
        """
        for name in ("uncond", "base", "networks"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"{name}: {mine} against {theirs}"
        for name in ("t", "c", "w", "X", "original"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is None or theirs is None:
                if mine is theirs:
                    continue
                return f"{name}: one table has none"
            if mine.shape != theirs.shape:
                return f"{name}: shape {mine.shape} against {theirs.shape}"
            gap = np.abs(mine - theirs)
            if gap.max() > tolerance * max(1.0, float(np.abs(mine).max())):
                place = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
                return f"{name}{list(place)}: {float(mine[place])!r} against {float(theirs[place])!r}"
        return None


def common_rows(table: Table, other: Table) -> int:
    """The number of leading evaluations that two tables have in common; none over different base latents."""
    if table.base != other.base:
        return 0
    shared = 0
    for k in range(min(table.evaluations_count, other.evaluations_count)):
        width = len(table.base) + k
        if _numbers(table, k) != _numbers(other, k) or (table.X[k, :width] != other.X[k, :width]).any():
            break
        shared = k + 1
    return shared


def _numbers(table: Table, k: int) -> tuple[float | str, ...]:
    return (table.t[k], table.c[k], table.w[k], table.uncond[k], table.network(k))


def _clean_weights(sigmas: FloatArray, prediction: Prediction) -> tuple[FloatArray, FloatArray]:
    """The weights (a, b) of x0 = a (c x) + b y."""
    one = np.ones_like(sigmas)
    scale = np.sqrt(1.0 + sigmas**2)
    weights: dict[Prediction, tuple[FloatArray, FloatArray]] = {
        "flow": (one, -sigmas),
        "epsilon": (scale, -sigmas),
        "v_prediction": (1.0 / scale, -sigmas / scale),
        "sample": (0.0 * one, one),
    }
    return weights[prediction]
