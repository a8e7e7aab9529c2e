"""The network's time in float32, whatever dtype the network's weights have.

Some transformers cast the time to their own dtype before they embed it. Between 512 and 1024 the numbers of bfloat16
are 4 apart, so a time is off by up to 2 of 1000, and the clustered levels of an optimised grid fall together. Here the
sinusoids come from the float32 time; only they are cast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float32
from torch import Tensor, nn


class ExactTime:
    """Feeds a network's time embedding from outside.

    Args:
        embedding: the module that holds `time_proj` (time to sinusoids) and `timestep_embedder` (those to features).
    """

    def __init__(self, embedding: nn.Module) -> None:
        self._sinusoids: Any = embedding.time_proj
        self._time: Tensor | None = None
        embedder: Any = embedding.timestep_embedder
        embedder.register_forward_pre_hook(self._replace)

    @contextmanager
    def of(self, time: Float32[Tensor, "rows"]) -> Iterator[None]:
        """Inside, the network sees these times, in the unit that its `time_proj` takes."""
        self._time = time
        try:
            yield
        finally:
            self._time = None

    def _replace(self, _module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._time is None:
            return args
        return self._sinusoids(self._time).to(args[0].dtype), *args[1:]
