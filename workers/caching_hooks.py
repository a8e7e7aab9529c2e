"""Caches inside a network are refused: they remember one batch's activations and reuse them for the next.

The caching hooks of diffusers (FirstBlockCache, FasterCache, PyramidAttentionBroadcast, MagCache, TaylorSeer and their
like) are made for one request that runs alone. They decide once for a whole batch whether to compute or to reuse, and
what they reuse belongs to the requests that were in the batch before, which here are others at every turn.
"""

from __future__ import annotations

from collections.abc import Iterator

from diffusers import DiffusionPipeline
from torch import nn

from workers.families.base import Family


class CachingHookError(ValueError):
    """A network has caching hooks; the message says which."""


def refuse_caching_hooks(family: Family) -> None:
    """Make sure that no network of a family reuses activations between its calls.

    Args:
        family: an adapter that holds its networks, or the pipeline that has them, in attributes.

    Raises:
        CachingHookError: one does.
    """
    for name, network in _networks(family):
        if hooks := sorted(set(_caching_hooks(network))):
            raise CachingHookError(
                f"{name} has caching hooks of diffusers ({', '.join(hooks)}), which would give one request's "
                "activations to another: load it without a cache (disable_cache()). To spend fewer evaluations, choose "
                "a schedule that reuses or skips the unconditional output."
            )


def _networks(family: Family) -> Iterator[tuple[str, nn.Module]]:
    for name, value in getattr(family, "__dict__", {}).items():
        if isinstance(value, nn.Module):
            yield name.lstrip("_"), value
        elif isinstance(value, DiffusionPipeline):
            parts = value.components.items()
            yield from ((part, network) for part, network in parts if isinstance(network, nn.Module))


def _caching_hooks(network: nn.Module) -> Iterator[str]:
    for module in network.modules():
        if getattr(module, "is_cache_enabled", False):
            yield type(module._cache_config).__name__  # noqa: SLF001 -- diffusers has no other way to ask which
        registry = getattr(module, "_diffusers_hook", None)
        if registry is not None:
            # A hook with a state keeps something from one call to the next; offloading and casting hooks have none.
            yield from (name for name, hook in registry.hooks.items() if getattr(hook, "_is_stateful", False))
