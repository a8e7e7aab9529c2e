"""Tables that guide each row by a weight of its own: drawn as the engine draws them, or refused."""

import json

import pytest
import torch
from diffusers import DiffusionPipeline

from clients.diffusers_scheduler import PacerScheduler
from schedules.registry import Registry
from schedules.table import Table, all_fresh
from tests.clients.drawing import agree, by_engine, by_hand, drawn
from tests.workers.families import tiny, tiny_flux, tiny_z_image
from workers.families.registry import family_entry

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers

REGISTRY = Registry.load()
HOW = r"call pipe\(prompt, \*\*pipe\.scheduler\.call_arguments\(guidance_scale=G\)\)"


def learned(steps: int) -> Table:
    schedule, entry = REGISTRY.find(f"shapes-64/learned/{steps}")
    return schedule.table(entry)


def scheduler_of(table: Table) -> PacerScheduler:
    sigmas = [*(table.t / 1000).tolist(), 0.0]
    return PacerScheduler(sigmas=sigmas, **{name: getattr(table, name).tolist() for name in ("t", "c", "w", "X")})


def weighted(*w: float) -> PacerScheduler:
    count = len(w)
    table = learned(count)
    return scheduler_of(Table(table.t, table.c, w, all_fresh(count), table.X))


@pytest.mark.parametrize("guidance", [1.5, 4.0, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 6, 10])
def test_shipped_learned_tables_draw_what_they_say_and_what_the_engine_draws(pipeline, family, steps, guidance):
    pipeline.scheduler = PacerScheduler.from_registry("shapes-64/learned", steps)
    table = learned(steps)
    expected = by_hand(family, table, guidance, seed=3)
    assert agree(by_engine(family, table, guidance, seed=3), expected)
    arguments = pipeline.scheduler.call_arguments(guidance)
    for _ in range(2):  # arguments and scheduler are used again
        assert agree(drawn(pipeline, 3, **arguments), expected)


def test_a_saved_pipelines_scheduler_keeps_its_weights(pipeline, family, tmp_path):
    PacerScheduler.from_registry("shapes-64/learned", 2).save_pretrained(tmp_path)
    pipeline.scheduler = PacerScheduler.from_pretrained(tmp_path)
    expected = by_engine(family, learned(2), 2.5, seed=1)
    assert agree(drawn(pipeline, 1, **pipeline.scheduler.call_arguments(2.5)), expected)


def test_a_scheduler_that_was_saved_without_weights_guides_all_rows_alike(tmp_path):
    PacerScheduler.from_registry("shapes-64/euler", 2).save_pretrained(tmp_path)
    path = tmp_path / "scheduler_config.json"
    config = json.loads(path.read_text())
    del config["w"]
    path.write_text(json.dumps(config))
    arguments = PacerScheduler.from_pretrained(tmp_path).call_arguments(2.5)
    assert arguments == {"num_inference_steps": 2, "guidance_scale": 2.5}


def test_a_table_without_weights_of_its_own_needs_no_more_than_its_steps(pipeline, family):
    pipeline.scheduler = PacerScheduler.from_registry("shapes-64/euler", 3)
    schedule, entry = REGISTRY.find("shapes-64/euler/3")
    expected = by_engine(family, schedule.table(entry), 2.5, seed=2)
    assert agree(drawn(pipeline, 2, **pipeline.scheduler.call_arguments(2.5)), expected)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("said", [{}, {"guidance_scale": 1.5}, {"guidance_scale": 1.0}])
def test_a_call_with_a_scale_of_its_own_is_refused(pipeline, steps, said):
    pipeline.scheduler = PacerScheduler.from_registry("shapes-64/learned", steps)
    pipeline.scheduler.call_arguments(1.5)  # to be asked for is not to be used
    with pytest.raises(ValueError, match=f"row 0 was not guided so; {HOW}"):
        drawn(pipeline, 1, num_inference_steps=steps, **said)


def test_a_call_without_the_callback_is_refused(pipeline):
    pipeline.scheduler = PacerScheduler.from_registry("shapes-64/learned", 2)
    arguments = pipeline.scheduler.call_arguments(1.5)
    with pytest.raises(ValueError, match=f"row 1 was not guided so; {HOW}"):
        drawn(pipeline, 1, num_inference_steps=2, guidance_scale=arguments["guidance_scale"])


def test_the_callback_of_other_arguments_is_refused(pipeline):
    pipeline.scheduler = PacerScheduler.from_registry("shapes-64/learned", 2)
    one, other = (pipeline.scheduler.call_arguments(scale) for scale in (1.5, 3.0))
    mixed = {**one, "callback_on_step_end": other["callback_on_step_end"]}
    with pytest.raises(ValueError, match="guidance scale is not the one of row 0"):
        drawn(pipeline, 1, **mixed)


def test_a_picture_that_was_broken_off_guides_no_later_one(pipeline):
    pipeline.scheduler = PacerScheduler.from_registry("shapes-64/learned", 2)
    scale = pipeline.scheduler.call_arguments(1.5)["guidance_scale"]
    assert scale * torch.ones(1) == float(scale)  # as in a loop that ends before its step
    with pytest.raises(ValueError, match="row 0 was not guided so"):
        drawn(pipeline, 1, num_inference_steps=2, guidance_scale=1.5)


@pytest.mark.parametrize(
    ("w", "guidance", "message"),
    [
        ((1.0, 0.0), 1.5, r"at guidance_scale 1\.5 row 1 is guided by 1, and stock pipelines switch .* at 1 and below"),
        ((0.0, 1.0), 9.0, "at guidance_scale 9 row 0 is guided by 1"),
        ((1.4, 0.3), 0.5, r"row 0 is guided by 0\.3"),
        ((1.4, 0.3), float("nan"), "guidance_scale: must be finite"),
    ],
)
def test_scales_at_which_pipelines_do_not_guide_a_row_are_refused(w, guidance, message):
    scheduler = weighted(*w)
    with pytest.raises(ValueError, match=message):
        scheduler.call_arguments(guidance)
    assert scheduler.call_arguments(1.0) == {"num_inference_steps": 2, "guidance_scale": 1.0}


def test_where_no_row_is_guided_any_scale_is_1(pipeline, family):
    pipeline.scheduler = weighted(0.0, 0.0)
    table = Table(learned(2).t, learned(2).c, [0.0, 0.0], ("skipped", "skipped"), learned(2).X)
    arguments = pipeline.scheduler.call_arguments(7.0)
    assert arguments == {"num_inference_steps": 2, "guidance_scale": 1.0}
    assert agree(drawn(pipeline, 1, **arguments), by_engine(family, table, 7.0, seed=1))
    with pytest.raises(ValueError, match=f"row 0 was not guided so; {HOW}"):
        drawn(pipeline, 1, num_inference_steps=2, guidance_scale=7.0)


def quiet(pipeline: DiffusionPipeline) -> DiffusionPipeline:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("build", [tiny.sd15, tiny.sdxl])
def test_other_pipelines_that_read_their_scale_at_each_step_draw_it_too(build):
    torch.manual_seed(0)
    stock = quiet(build(16))
    family = family_entry(type(stock).__name__).load_adapter()(stock)
    expected = by_engine(family, learned(2), 4.0, 5, (16, 16))
    stock.scheduler = scheduler_of(learned(2))
    assert agree(drawn(stock, 5, width=16, height=16, **stock.scheduler.call_arguments(4.0)), expected)


def test_a_pipeline_that_counts_guidance_from_0_must_be_said_to():
    torch.manual_seed(0)
    stock = quiet(tiny_z_image.build())
    family = family_entry(type(stock).__name__).load_adapter()(stock)
    expected = by_engine(family, learned(2), 4.0, 5, (64, 64))
    stock.scheduler = scheduler_of(learned(2))
    arguments = stock.scheduler.call_arguments(3.0, unguided_scale=0.0)
    assert agree(drawn(stock, 5, width=64, height=64, **arguments).squeeze(), expected)
    with pytest.raises(ValueError, match=r"guides above 0, not above 1; pass unguided_scale=0 to call_arguments"):
        drawn(stock, 5, width=64, height=64, **stock.scheduler.call_arguments(4.0))


@pytest.mark.parametrize(
    ("build", "row", "call"),
    [
        (tiny_flux.build, 0, {"width": 64, "height": 64}),
        (lambda: tiny.sana(16), 1, {"width": 32, "height": 32, "use_resolution_binning": False}),
    ],
    ids=["flux", "sana"],
)
def test_a_pipeline_that_keeps_the_scale_that_it_was_called_with_is_refused(build, row, call):
    torch.manual_seed(0)
    stock = quiet(build())
    stock.scheduler = scheduler_of(learned(2))
    with pytest.raises(ValueError, match=f"row {row} was not guided so; {HOW}.*FLUX and Sana do not"):
        drawn(stock, 1, **call, **stock.scheduler.call_arguments(1.5))
