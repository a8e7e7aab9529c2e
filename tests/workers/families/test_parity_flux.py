"""FLUX.1: with and without an embedded scale, with and without classifier-free guidance on top."""

from typing import Any

import numpy as np
import pytest
import torch

from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Plan, TableMessage
from schedules.compile import compile_table
from tests.workers.families import flow_parity, tiny_flux
from tests.workers.families.flow_parity import Stock, Wish
from workers.engine import Engine
from workers.families.base import hand_over_guidance
from workers.families.flux import FluxFamily
from workers.turn import Drawn

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers


def arguments(wish: Wish) -> dict[str, Any]:
    return {"true_cfg_scale": wish.guidance, "guidance_scale": wish.embedded, "negative_prompt": wish.negative}


def load(**options: Any) -> tuple[FluxFamily, Stock]:
    torch.manual_seed(0)
    return flow_parity.load(tiny_flux.build(**options), arguments, flow_parity.unpacked)


@pytest.fixture(scope="module")
def dev() -> tuple[FluxFamily, Stock]:
    return load()


def test_mixed_requests_match_the_stock_pipeline_alone(dev: tuple[FluxFamily, Stock]) -> None:
    flow_parity.check(*dev, flow_parity.wishes())


def test_a_network_without_an_embedded_scale_matches_too() -> None:
    family, stock = load(width=48, guidance_embeds=False)
    assert {text.guidance for text in family.encode(["a dog", ""])} == {None}
    flow_parity.check(family, stock, flow_parity.wishes()[1:7:2])


def test_the_network_heeds_text_time_and_embedded_scale(dev: tuple[FluxFamily, Stock]) -> None:
    family = dev[0]
    red, dog = family.encode(["a red circle", "two three dog"])
    flow_parity.assert_heeded(family, [red, dog, red, red.with_guidance(7.0)], [900.0, 900.0, 300.0, 900.0])


def test_an_embedded_scale_leaves_no_classifier_free_guidance(dev: tuple[FluxFamily, Stock]) -> None:
    texts, scale = hand_over_guidance(dev[0].encode(["a dog", ""]), 6.0)
    assert scale == 1.0
    assert [text.guidance for text in texts] == [6.0, 6.0]


def test_a_size_that_is_no_whole_number_of_tokens_is_refused(dev: tuple[FluxFamily, Stock]) -> None:
    assert dev[0].latent_shape(64, 72) == (4, 18, 16)
    with pytest.raises(ValueError, match="multiples of 8 for this model, are 64 and 68"):
        dev[0].latent_shape(64, 68)


def test_jobs_with_guidance_on_top_are_drawn_as_the_stock_pipeline_draws_them(dev: tuple[FluxFamily, Stock]) -> None:
    """Through the engine: the network's own scale alone, and with true_cfg_scale and a negative prompt on top."""
    family, stock = dev
    engine = Engine(family, slots=4, max_rows=4, best_effort_slack_s=60.0)
    wishes = [wish for wish in flow_parity.wishes() if wish.steps in (1, 2, 7, 10)]
    assert {wish.guidance == 1 for wish in wishes} == {True, False}
    claims = {claim.job.id: wish for wish in wishes if not engine.admit(claim := claim_of(wish))}
    while len(engine):
        for one in engine.turn().ended:
            assert isinstance(one, Drawn), one
            _, alone = stock.draw(claims.pop(one.claim.job.id))
            assert np.abs(one.pixels.astype(int) - alone.astype(int)).max() <= 1
    engine.close()
    assert not claims


def claim_of(wish: Wish) -> Claim:
    table = compile_table(wish.solver, wish.sigmas, "flow")
    forwards = table.network_evaluations(wish.guidance)
    plan = Plan("tiny", "custom", wish.solver, wish.steps, forwards, tuple(wish.sigmas.tolist()), None, None)
    job = Job(
        id=new_job_id("tiny"), prompt=wish.prompt, negative_prompt=wish.negative, seed=wish.seed,
        width=flow_parity.WIDTH, height=flow_parity.HEIGHT, guidance_scale=wish.embedded, plan=plan,
        table=TableMessage.of(table), true_cfg_scale=wish.guidance,
    )  # fmt: skip
    return Claim(job, 1, 1, 0, 0)
