"""Intercepting the noise that a stock scheduler draws."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from types import ModuleType

import torch

_NAME = "randn_tensor"  # the one function by which diffusers' schedulers draw noise
_lock = Lock()


@dataclass(slots=True)
class Drawn:
    """How many draws there were."""

    count: int = 0


@contextmanager
def intercepted_draws(
    scheduler: object, draw: Callable[[int], torch.Tensor], refuse: Callable[[str], Exception]
) -> Iterator[Drawn]:
    """Let the k-th noise that the scheduler draws be draw(k).

    The scheduler's modules are changed for as long as the context lasts; one context at a time.

    Args:
        scheduler: whose class and bases are looked at.
        draw: the noise to give, of the sample's shape.
        refuse: makes the error to raise when noise of another shape is drawn.
    """
    drawn = Drawn()

    def randn_tensor(shape: tuple[int, ...], *_: object, **options: object) -> torch.Tensor:
        noise = draw(drawn.count)
        drawn.count += 1
        if tuple(shape) != tuple(noise.shape):
            raise refuse(f"draw {drawn.count - 1} has shape {tuple(shape)}, the sample {tuple(noise.shape)}")
        dtype = options.get("dtype")
        return noise.to(dtype) if isinstance(dtype, torch.dtype) else noise

    with _lock:
        originals = [(module, getattr(module, _NAME)) for module in _modules(scheduler)]
        try:
            for module, _ in originals:
                setattr(module, _NAME, randn_tensor)
            yield drawn
        finally:
            for module, original in originals:
                setattr(module, _NAME, original)


def _modules(scheduler: object) -> list[ModuleType]:
    names = {cls.__module__ for cls in type(scheduler).__mro__}
    return [sys.modules[name] for name in sorted(names) if hasattr(sys.modules[name], _NAME)]
