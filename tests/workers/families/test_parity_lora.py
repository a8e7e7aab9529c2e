"""Requests with different LoRAs, mixed in one queue, each against the stock pipeline alone with the same ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Lora, Plan, TableMessage
from schedules.compile import compile_table
from schedules.table import Table
from tests.workers.families import (
    flow_parity,
    lora_files,
    parity,
    tiny,
    tiny_flux,
    tiny_flux2,
    tiny_qwen_image,
    tiny_sd3,
    tiny_z_image,
)
from workers.engine import Engine
from workers.families.registry import family_entry
from workers.loras import Loras
from workers.turn import Drawn

pytestmark = [parity.quiet, lora_files.several]

A, B = Lora("a"), Lora("b", 0.7)
SETS: tuple[tuple[Lora, ...], ...] = ((), (A,), (B,), (A, B), (Lora("a", -0.5), B), (), (B,), (A,))

Alone = Callable[[Any, Any, Any], Tensor]
"""(stock pipeline, wish, the model's own scheduler) -> the last latents of its own call."""


@dataclass(frozen=True)
class Case:
    """A family: how it is built, what is asked, and how the stock pipeline draws the same."""

    build: Callable[[], DiffusionPipeline]
    wishes: Sequence[Any]
    table: Callable[[Any, Any], Table]
    alone: Alone
    size: tuple[int, int]
    guidance: Callable[[Any], float] = lambda wish: wish.guidance


def flow_case(build: Callable[[], DiffusionPipeline], arguments: flow_parity.Arguments, **changes: Any) -> Case:
    spatial = changes.pop("spatial", torch.Tensor.squeeze)
    return Case(
        build, changes.pop("wishes", flow_parity.wishes()[1:9]),
        lambda wish, _scheduler: compile_table(wish.solver, wish.sigmas, "flow"),
        lambda stock, wish, _scheduler: flow_parity.Stock(stock, arguments, spatial).draw(wish)[0],
        (flow_parity.WIDTH, flow_parity.HEIGHT), **changes,
    )  # fmt: skip


def own_scheduler_case(build: Callable[[], DiffusionPipeline], size: tuple[int, int], **call: Any) -> Case:
    """A family whose stock pipeline is called with its own kind of scheduler.

    Args:
        build: the tiny model.
        size: width and height, in pixels.
        call: further arguments of the stock pipeline's call.
    """

    def alone(stock: Any, wish: parity.Wish, scheduler: object) -> Tensor:
        drawn = parity.draw_alone(stock, wish, parity.sampler_of(wish, scheduler), size, "latent", **call)
        assert isinstance(drawn, Tensor)
        return drawn

    return Case(
        build, parity.wishes()[1:9], lambda wish, scheduler: parity.sampler_of(wish, scheduler).table, alone, size
    )


def sd15() -> Case:
    return own_scheduler_case(lambda: tiny.sd15(16), (16, 16))


def sdxl() -> Case:
    return own_scheduler_case(lambda: tiny.sdxl(16), (16, 16))


def sana() -> Case:
    return own_scheduler_case(lambda: tiny.sana(16), (32, 32), use_resolution_binning=False)


def sd3() -> Case:
    return flow_case(tiny_sd3.build, lambda wish: {"guidance_scale": wish.guidance, "negative_prompt": wish.negative})


def flux() -> Case:
    """Its scale is embedded, so that a request's one scale leaves no classifier-free guidance."""
    return flow_case(
        tiny_flux.build, lambda wish: {"guidance_scale": wish.embedded}, spatial=flow_parity.unpacked,
        guidance=lambda wish: wish.embedded,
    )  # fmt: skip


def flux2_klein() -> Case:
    """The stock pipeline's negative prompt is always empty."""
    wishes = [replace(wish, negative="") for wish in flow_parity.wishes()[1:9]]
    return flow_case(
        tiny_flux2.build_klein, lambda wish: {"guidance_scale": wish.guidance}, spatial=flux2_spatial, wishes=wishes
    )


def flux2_dev() -> Case:
    """Its scale is embedded, as FLUX.1's."""
    return flow_case(
        tiny_flux2.build_dev, lambda wish: {"guidance_scale": wish.embedded}, spatial=flux2_spatial,
        guidance=lambda wish: wish.embedded,
    )  # fmt: skip


def flux2_spatial(packed: Tensor) -> Tensor:
    return packed[0].T.unflatten(1, (flow_parity.HEIGHT // 8, flow_parity.WIDTH // 8))


def qwen_image() -> Case:
    return flow_case(
        tiny_qwen_image.build,
        lambda wish: {"true_cfg_scale": wish.guidance, "negative_prompt": wish.negative},
        spatial=flow_parity.unpacked,
    )


def z_image() -> Case:
    """The stock pipeline's scale counts from 0."""
    return flow_case(
        tiny_z_image.build, lambda wish: {"guidance_scale": wish.guidance - 1, "negative_prompt": wish.negative}
    )


FAMILIES = [sd15, sdxl, sd3, sana, flux, flux2_klein, flux2_dev, qwen_image, z_image]


def claim_of(case: Case, wish: Any, scheduler: object, loras: tuple[Lora, ...]) -> Claim:
    table, (width, height) = case.table(wish, scheduler), case.size
    plan = Plan("tiny", "custom", wish.solver, wish.steps, wish.steps, (), None, None, lora=loras)
    job = Job(
        id=new_job_id("tiny"), prompt=wish.prompt, negative_prompt=wish.negative, seed=wish.seed, width=width,
        height=height, guidance_scale=case.guidance(wish), plan=plan, table=TableMessage.of(table),
    )  # fmt: skip
    return Claim(job, 1, 1, 0, 0)


def recording(pipeline: DiffusionPipeline) -> tuple[Any, list[Tensor]]:
    """The pipeline's family, and the latents that it decodes."""
    seen: list[Tensor] = []

    class Recording(family_entry(type(pipeline).__name__).load_adapter()):
        def decode(self, x: Tensor) -> np.ndarray:
            seen.extend(x)
            return super().decode(x)

    return Recording(pipeline), seen


def draw(engine: Engine, claims: Sequence[Claim]) -> tuple[list[str], list[set[str]]]:
    """One joins at each turn; the ids in the order in which they were done, and who stepped together."""
    waiting, done, companies = list(claims), list[str](), list[set[str]]()
    while waiting or len(engine):
        if waiting and engine.free:
            assert engine.admit(waiting.pop(0)) is None
        turn = engine.turn()
        companies.append(set(turn.stepped))
        for one in turn.ended:
            assert isinstance(one, Drawn), one
            done.append(one.claim.job.id)
    return done, companies


@pytest.mark.parametrize("make", FAMILIES)
def test_each_set_of_loras_gets_what_the_stock_pipeline_draws_with_it(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    torch.manual_seed(0)
    built = case.build()
    if hasattr(built, "transformer"):
        flow_parity.awaken(built.transformer)
    built.save_pretrained(tmp_path / "model")
    ours, plain, stock = (parity.load_stock(tmp_path / "model") for _ in range(3))
    for name, seed in (("a", 1), ("b", 2)):
        text = name == "a" and "text_encoder" in built._lora_loadable_modules
        path = lora_files.write(built, tmp_path / "loras", name, seed=seed, text=text)
        stock.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    family, seen = recording(ours)
    engine = Engine(
        family, slots=6, max_rows=8, best_effort_slack_s=60.0, loras=Loras(ours, "tiny", tmp_path / "loras", 4)
    )
    asked = [
        (wish, loras, claim_of(case, wish, ours.scheduler, loras))
        for wish, loras in zip(case.wishes, SETS, strict=True)
    ]
    done, companies = draw(engine, [claim for _, _, claim in asked])

    sets = {claim.job.id: loras for _, loras, claim in asked}
    assert all(len({sets[name] for name in company}) <= 1 for company in companies)
    assert any(len(company) > 1 for company in companies)
    latents = dict(zip(done, seen, strict=True))
    for wish, loras, claim in asked:
        without = case.alone(plain, wish, ours.scheduler)
        if loras:
            stock.set_adapters([lora.name for lora in loras], [lora.scale for lora in loras])
            alone = case.alone(stock, wish, ours.scheduler)
            assert float((alone - without).abs().max()) > 1e-2
        else:
            alone = without
        limit = 1e-4 * max(1.0, float(alone.abs().max()))
        assert float((latents[claim.job.id] - alone).abs().max()) <= limit, (wish, loras)
