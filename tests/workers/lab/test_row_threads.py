"""Rows shared out among threads come back as one thread would give them."""

import threading

import pytest
import torch
from torch import Tensor

from workers.lab.row_threads import row_threads, unshared


class Network:
    """Notes which threads call it, and with how many rows."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, bool]] = []

    def __call__(self, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        self.calls.append((threading.current_thread().name, len(x), torch.is_grad_enabled()))
        return x * t[:, None] + rows[:, None]


def arguments(count: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(count, 3), torch.rand(count), torch.arange(count)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 64])
def test_the_rows_are_the_same_in_the_same_order(count: int) -> None:
    network, given = Network(), arguments(count)
    with torch.no_grad():
        torch.testing.assert_close(row_threads(3)(network)(*given), Network()(*given), rtol=0, atol=0)
    parts = [rows for _, rows, _ in network.calls]
    assert sum(parts) == count
    assert len(parts) == min(3, max(1, count // 8))
    assert not any(gradients for *_, gradients in network.calls)


def test_gradients_go_through_the_caller() -> None:
    network, (x, t, rows) = Network(), arguments(64)
    row_threads(2)(network)(x.requires_grad_(), t, rows).sum().backward()
    assert [each[:2] for each in network.calls] == [("MainThread", 64)]
    assert x.grad is not None


def test_what_fails_in_a_thread_fails() -> None:
    def broken(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        raise ArithmeticError("overflow")

    with torch.no_grad(), pytest.raises(ArithmeticError, match="overflow"):
        row_threads(2)(broken)(*arguments(64))


def test_one_thread_leaves_the_network_as_it_is() -> None:
    assert row_threads(1) is unshared
    with pytest.raises(ValueError, match="at least 1, is 0"):
        row_threads(0)
