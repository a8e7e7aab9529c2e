"""What tests of PacerScheduler share: one picture by the stock pipeline, by the engine, and by hand."""

import torch
from torch import Tensor

from schedules.table import Table
from workers.networks import Networks
from workers.runner import Runner, Spec

PROMPT = "an orange star left of a pink square on a gray background"


def by_engine(family, table: Table, guidance: float, seed: int, size: tuple[int, int] = (64, 64)) -> Tensor:
    runner = Runner(Networks(family, max_rows=64), slots=1)
    runner.admit("it", Spec(table, guidance, seed, family.latent_shape(*size), *texts(family)))
    for _ in range(table.evaluations_count):
        assert not runner.step(["it"])
    return runner.results(["it"])[0]


def by_hand(family, table: Table, guidance: float, seed: int) -> Tensor:
    """x_k = X[k] @ H with H in float64, each output guided by g[k] = 1 + w[k] (G - 1)."""
    history = [torch.randn(family.latent_shape(64, 64), generator=torch.Generator().manual_seed(seed)).double()]
    for k, (row, w) in enumerate(zip(table.X[:-1], table.w, strict=True)):
        x = sum(weight * each for weight, each in zip(row, history, strict=False))
        fed = (table.c[k] * x).float().expand(2, *x.shape)
        conditional, other = family.denoise(fed, torch.full((2,), table.t[k]).float(), texts(family)).double()
        history.append(other + (1 + w * (guidance - 1)) * (conditional - other))
    return sum(weight * each for weight, each in zip(table.X[-1], history, strict=True)).float()


def by_pipeline(pipeline, guidance: float, seed: int, **grid: object) -> Tensor:
    return drawn(pipeline, seed, guidance_scale=guidance, **grid)


def drawn(pipeline, seed: int, **arguments: object) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return pipeline(PROMPT, generator=generator, output_type="latent", **arguments).images[0]


def texts(family) -> list[Tensor]:
    return [*family.encode([PROMPT]), *family.encode([""], negative=True)]


def agree(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= 1e-4 * max(1.0, float(other.abs().max()))
