"""A device that has memory for tensors of so many bytes each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class LittleMemory(TorchFunctionMode):
    """While it is entered, what makes a larger tensor raises torch's own error; `made` has the sizes of new zeros."""

    def __init__(self, most_bytes: float = float("inf")) -> None:
        super().__init__()
        self.most_bytes = most_bytes
        self.made: list[int] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            size = made.numel() * made.element_size()
            if size > self.most_bytes:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
            if func in (torch.zeros, Tensor.new_zeros, Tensor.new_ones):
                self.made.append(size)
        return made
