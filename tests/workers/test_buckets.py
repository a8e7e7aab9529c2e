"""Batches of a few sizes: what calls are made, what comes of them, and what is recorded before a worker is ready."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pacer.settings import Settings
from tests.workers.families import tiny_z_image
from tests.workers.test_engine import claim_of
from tests.workers.test_runner import SHAPE, Field
from workers.buckets import BucketedFamily, require_one_length
from workers.engine import Engine
from workers.families.base import Conditioning, Family
from workers.families.z_image import ZImageFamily
from workers.keeping import Keeping
from workers.models import load
from workers.networks import Networks
from workers.turn import Drawn


class Replayed(Field):
    """Answers with one piece of memory for each number of rows, as a graph does; has memory for so many rows."""

    def __init__(self, most: int = 99) -> None:
        super().__init__()
        self.most = most
        self._outputs: dict[int, Tensor] = {}

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Conditioning]:
        return [0.5] * len(prompts)

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Conditioning]) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        made = super().denoise(x, t, conditioning)
        return self._outputs.setdefault(len(x), torch.empty_like(made)).copy_(made)


def drawn(rows: int) -> tuple[Tensor, Tensor, list[float]]:
    x = torch.randn(rows, *SHAPE, generator=torch.Generator().manual_seed(rows))
    return x, torch.linspace(900, 100, rows), [row / 10 for row in range(rows)]


@pytest.mark.parametrize(
    ("most", "asked", "made"),
    [
        (16, [1, 2, 3, 4, 5, 9, 16], [1, 2, 4, 4, 8, 16, 16]),
        (13, [8, 9, 13, 14], [8, 13, 13, 13, 1]),
        (6, [5, 20], [6, 6, 6, 6, 2]),
        (1, [1, 2], [1, 1, 1]),
    ],
)
def test_calls_have_a_few_sizes_and_each_row_gets_its_own(most: int, asked: list[int], made: list[int]) -> None:
    network = Replayed()
    family = BucketedFamily(network, most)
    given = [drawn(rows) for rows in asked]
    outputs = [family.denoise(*one) for one in given]
    assert network.rows == made
    for one, output in zip(given, outputs, strict=True):
        torch.testing.assert_close(output, Field().denoise(*one), rtol=0, atol=0)


def test_where_memory_runs_out_the_most_rows_are_fewer() -> None:
    network = Replayed(most=7)
    family = BucketedFamily(network, 16)
    torch.testing.assert_close(family.denoise(*drawn(3)), Field().denoise(*drawn(3)), rtol=0, atol=0)
    assert family.sizes(SHAPE) == (1, 2, 4, 8, 16)
    with pytest.raises(torch.OutOfMemoryError):
        BucketedFamily(Replayed(most=0), 16).denoise(*drawn(1))
    torch.testing.assert_close(family.denoise(*drawn(5)), Field().denoise(*drawn(5)), rtol=0, atol=0)
    assert (family.rows(SHAPE), family.sizes(SHAPE)) == (4, (1, 2, 4))


@pytest.mark.parametrize("smaller", [False, True])
def test_every_size_is_recorded_before_a_worker_is_ready(smaller: bool) -> None:
    """A call is run before it is recorded, so that each is made twice."""
    network, other = Replayed(), Replayed()
    networks = Networks(network, {"other": other} if smaller else {}, max_rows=6, bucketed=True)
    networks.warm_up(64, 64)
    assert network.rows == [1, 2, 4, 6] * 2
    assert other.rows == ([1, 2, 4, 6] * 2 if smaller else [])
    assert networks.idle_rows == 6


def test_without_them_calls_have_as_many_rows_as_there_are() -> None:
    network = Replayed()
    networks = Networks(network, max_rows=6)
    networks.warm_up(64, 64)
    networks.own.denoise(*drawn(5))
    assert network.rows == [1, 2, 5]


def test_pictures_are_the_same() -> None:
    latents = [[], []]
    for bucketed in (False, True):

        class Kept(Replayed):
            def decode(self, x: Tensor, into: list[Tensor] = latents[bucketed]):  # type: ignore[no-untyped-def]
                into += list(x)
                return super().decode(x)

        engine = Engine(Kept(), slots=8, max_rows=8, best_effort_slack_s=60.0, bucketed=bucketed)
        engine.warm_up(64, 64)
        latents[bucketed].clear()
        for steps in (2, 3, 5, 5, 5):
            assert engine.admit(claim_of("0.5", steps=steps)) is None
        while len(engine):
            assert all(isinstance(one, Drawn) for one in engine.turn().ended)
    torch.testing.assert_close(torch.stack(latents[True]), torch.stack(latents[False]), rtol=0, atol=0)


def test_texts_that_are_as_long_as_their_prompts_are_refused(tiny_folder: Path) -> None:
    require_one_length(load(str(tiny_folder), torch.device("cpu")).family.encode(["", "a red circle"]))
    z_image: Family = ZImageFamily(tiny_z_image.build())
    with pytest.raises(ValueError, match="PACER_CUDA_GRAPHS does not go with this model"):
        Networks(z_image, max_rows=4, bucketed=True).warm_up(64, 48)


def test_graphs_are_recorded_of_a_compiled_network_on_a_gpu(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="set PACER_COMPILE=1 as well"):
        Keeping.of(Settings(cuda_graphs=True))
    wanted = Keeping.of(Settings(compile=True, cuda_graphs=True))
    assert wanted == Keeping(compiled=True, graphs=True)
    with pytest.raises(ValueError, match="needs a GPU, and this worker computes on the cpu; leave it out"):
        load(str(tiny_folder), torch.device("cpu"), keeping=wanted)
