from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schedules.artefact import LEARNED, SmallerNetwork, StoredTable, parse
from schedules.compile import compile_table
from schedules.grids import uniform
from schedules.prompt_curves import PromptCurves, Regression
from schedules.search.analytic import gaussian_mixture
from schedules.search.evaluate import psnr_db
from schedules.search.oss import euler_rollout
from schedules.search.rollout import roll_out
from schedules.search.splicing import resumed
from schedules.splice import Splice
from tests.workers.lab.conftest import mixture_field
from workers.lab.meter import Meter
from workers.lab.misfit import misfit
from workers.lab.model import LabModel, LabNetwork
from workers.lab.searching.baselines import LEARNED_FLOW
from workers.lab.searching.cost import budget_cost, paths_cost
from workers.lab.searching.found import Found
from workers.lab.searching.request import Measure, SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.searching.search import search_schedule
from workers.lab.store import LabStore

MakeBench = Callable[[SearchRequest], SearchRun]


@pytest.mark.parametrize("measure", ["pixels", "latents"])
def test_searched_schedule_is_an_artefact_that_beats_uniform(
    bench_of: MakeBench, request_: SearchRequest, measure: Measure
) -> None:
    schedule = parse(search_schedule(bench_of(replace(request_, measure=measure))).model_dump_json())
    assert [entry.steps for entry in schedule.entries] == [1, 2, 4]
    assert (schedule.model, schedule.solver, schedule.order) == ("mixture", "euler", 1)
    for entry in schedule.entries[1:]:
        assert entry.evidence is not None
        assert entry.evidence.psnr_db.mean > entry.evidence.baselines_psnr_db["uniform"].mean
        assert entry.evidence.task_score is not None


def test_evidence_is_that_of_the_plain_loop(bench_of: MakeBench, request_: SearchRequest) -> None:
    bench = bench_of(replace(request_, budgets=(3,)))
    evidence = search_schedule(bench).entries[0].evidence
    held_out = bench.held_out
    drawn, wanted = (
        bench.model.decode(latents) for latents in (euler_rollout(held_out.problem, uniform(3)), held_out.teacher.final)
    )
    assert evidence is not None
    assert evidence.baselines_psnr_db["uniform"].mean == pytest.approx(float(psnr_db(drawn, wanted).mean()), abs=1e-3)


@pytest.mark.parametrize("solver", ["ab2", "dpmpp-2m", "unipc-2"])
def test_other_solvers_are_refined(bench_of: MakeBench, request_: SearchRequest, solver: str) -> None:
    entry = search_schedule(bench_of(replace(request_, solver=solver, budgets=(4,)))).entries[0]
    assert entry.evidence is not None
    assert entry.evidence.psnr_db.mean >= max(figure.mean for figure in entry.evidence.baselines_psnr_db.values())


def test_a_baseline_that_cannot_be_beaten_is_kept_and_named(bench_of: MakeBench, request_: SearchRequest) -> None:
    schedule = search_schedule(bench_of(replace(request_, budgets=(1,))))
    assert schedule.entries[0].sigmas == (1.0, 0.0)
    assert schedule.provenance.parameters["baselines_kept"] == "1: uniform"


def test_the_three_sets_of_seeds_and_prompts_never_meet(bench_of: MakeBench, request_: SearchRequest) -> None:
    bench = bench_of(request_)
    splits = (bench.calibration, bench.validation, bench.held_out)
    seeds = [set(range(s.seeds.offset, s.seeds.offset + len(s.seeds.prompts))) for s in splits]
    prompts = [set(s.seeds.prompts) for s in splits]
    for kind in (seeds, prompts):
        assert sum(map(len, kind)) == len(set.union(*kind))


def test_resuming_takes_over_finished_budgets(bench_of: MakeBench, request_: SearchRequest, tmp_path: Path) -> None:
    def interrupt(steps: int, found: Found) -> None:
        if steps == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_schedule(bench_of(request_), tell=interrupt)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "lab" / "budgets").iterdir()}
    entries = search_schedule(bench_of(request_), resume=True).entries
    assert len(written) == 2
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert entries == search_schedule(bench_of(request_)).entries


def test_a_finished_search_resumes_without_the_network(bench_of: MakeBench, request_: SearchRequest) -> None:
    first = search_schedule(bench_of(request_))
    idle = bench_of(request_)
    assert search_schedule(idle, resume=True).entries == first.entries
    assert idle.meter.evaluations == 0


def test_without_resume_budgets_are_searched_anew(bench_of: MakeBench, request_: SearchRequest) -> None:
    search_schedule(bench_of(request_))
    anew = bench_of(request_)
    search_schedule(anew)
    assert anew.meter.evaluations > 0


def test_budgets_between_anchors_take_the_mean_of_their_curves(bench_of: MakeBench, request_: SearchRequest) -> None:
    request = replace(request_, budgets=(8, 9, 10), path_budget=4, refine=30)
    told: list[int] = []
    entries = search_schedule(bench_of(request), tell=lambda steps, _: told.append(steps)).entries
    assert told == [8, 10, 9]
    assert [entry.steps for entry in entries] == [8, 9, 10]
    eight, nine, ten = (entry.evidence for entry in entries)
    assert eight is not None
    assert nine is not None
    assert ten is not None
    assert eight.latent_mse.mean > nine.latent_mse.mean > ten.latent_mse.mean


def test_other_seeds_give_another_search(bench_of: MakeBench, request_: SearchRequest) -> None:
    first, second = (search_schedule(bench_of(replace(request_, seed_offset=offset))) for offset in (0, 500))
    assert first.entries[2].sigmas != second.entries[2].sigmas
    assert np.allclose(first.entries[2].sigmas, second.entries[2].sigmas, atol=0.2)
    assert second.provenance.calibration_seed_offset == 500


def test_learned_coefficients_are_stored_and_beat_every_solver(bench_of: MakeBench, request_: SearchRequest) -> None:
    request = replace(request_, solver=LEARNED, budgets=(3, 4), baselines=LEARNED_FLOW, refine=30)
    schedule = search_schedule(bench_of(request))
    assert schedule.solver == LEARNED
    for entry in schedule.entries:
        assert entry.table is not None
        assert entry.evidence is not None
        best = max(figure.mean for figure in entry.evidence.baselines_psnr_db.values())
        assert entry.evidence.psnr_db.mean > best


def test_a_learned_search_resumes_without_the_network(bench_of: MakeBench, request_: SearchRequest) -> None:
    request = replace(request_, solver=LEARNED, budgets=(2,), baselines=("euler uniform",), refine=8)
    first = search_schedule(bench_of(request))
    again = bench_of(request)
    assert search_schedule(again, resume=True).entries == first.entries
    assert again.meter.evaluations == 0


def test_a_learned_search_goes_on_from_an_artefact(bench_of: MakeBench, request_: SearchRequest) -> None:
    request = replace(request_, solver=LEARNED, budgets=(1, 2), baselines=LEARNED_FLOW[:2], measure="latents")
    found = search_schedule(bench_of(request))
    table = found.table(found.entries[1])
    worse = StoredTable.of(replace(table, X=table.X * np.linspace(1.0, 1.1, len(table.X))[:, None]))
    first = found.model_copy(
        update={"entries": (found.entries[0], found.entries[1].model_copy(update={"table": worse}))}
    )
    offset = 2 * request.seeds
    bench = bench_of(replace(request, budgets=(2,), start=first, seed_offset=offset))
    schedule = parse(search_schedule(bench).model_dump_json())
    assert schedule.entries[0] == first.entries[0]
    start, further = first.entry(2), schedule.entry(2)
    assert start is not None
    assert further is not None
    held_out = bench.held_out
    drawn = [roll_out(held_out.problem, first.table(entry)).final for entry in (start, further)]
    errors = [bench.compared(held_out).error(final, log=True) for final in drawn]
    assert errors[1] < 0.1 * errors[0]
    said, before = schedule.provenance.parameters, first.provenance.parameters
    assert str(said["gone_on"]).startswith("2 steps after a search of")
    assert int(said["search_evaluations"]) > int(before["search_evaluations"])
    again = bench_of(bench.request)
    search_schedule(again, resume=True)
    assert again.meter.evaluations == 0


def test_splices_and_prompts_of_budgets_that_are_left_alone_stay(bench_of: MakeBench, request_: SearchRequest) -> None:
    request = replace(request_, solver=LEARNED, budgets=(1, 2), baselines=LEARNED_FLOW[:2], measure="latents")
    found = search_schedule(bench_of(request))
    table, evidence = found.table(found.entries[1]), found.entries[1].evidence
    assert evidence is not None
    spliced = resumed(table, 1, compile_table("ab2", uniform(3), "flow"))
    splice = Splice(
        begun=2, done=1, steps=3, sigmas=(*(spliced.t / 1000).tolist(), 0.0), table=StoredTable.of(spliced),
        evidence=evidence,
    )  # fmt: skip
    told = Regression(none=(30.0,), each=(), explained=(0.5,), ridge=1.0)
    curves = PromptCurves(steps=(2,), words=(), psnr_db=told, kept_psnr_db=(), seeds=8, seed_offset=0)
    start = found.model_copy(update={"splices": (splice,), "prompts": curves})
    offset = 2 * request.seeds
    one, two = (
        search_schedule(bench_of(replace(request, budgets=(steps,), start=start, seed_offset=offset)))
        for steps in (1, 2)
    )
    assert (one.splices, one.prompts) == ((splice,), curves)
    assert (two.splices, two.prompts) == ((), None)


def test_a_start_that_cannot_be_gone_on_from_is_refused(bench_of: MakeBench, request_: SearchRequest) -> None:
    learned = replace(request_, solver=LEARNED, budgets=(2,), baselines=LEARNED_FLOW[:2])
    grid = search_schedule(bench_of(replace(request_, budgets=(2,))))
    with pytest.raises(ValueError, match="only learned coefficients"):
        replace(learned, start=grid)
    with pytest.raises(ValueError, match=r"at guidance scale 1\.5, not at 2"):
        replace(learned, guidance_scale=2.0, start=search_schedule(bench_of(learned)))
    with pytest.raises(ValueError, match="no schedule for 3, 5 steps"):
        replace(learned, budgets=(2, 3, 5), start=search_schedule(bench_of(learned)))


def test_placed_guidance_is_an_artefact_by_rows_within_its_evaluations(
    bench_of: MakeBench, request_: SearchRequest
) -> None:
    request = replace(
        request_, solver=LEARNED, placement=True, budgets=(5, 6), baselines=("ab2 shift2", "euler shift3")
    )
    schedule = parse(search_schedule(bench_of(request)).model_dump_json())
    costs = {entry.steps: schedule.table(entry).network_evaluations(1.5) for entry in schedule.entries}
    assert costs
    assert set(costs.values()) <= {5, 6}
    told = dict(pair.split(": ") for pair in str(schedule.provenance.parameters["evaluations"]).split(", "))
    assert {int(rows): int(cost) for rows, cost in told.items()} == costs
    for entry in schedule.entries:
        assert entry.evidence is not None
        assert entry.evidence.psnr_db.mean > max(each.mean for each in entry.evidence.baselines_psnr_db.values())
    again = bench_of(request)
    assert search_schedule(again, resume=True).entries == schedule.entries
    assert again.meter.evaluations == 0


def test_smaller_networks_are_searched_and_declared(model: LabModel, request_: SearchRequest, tmp_path: Path) -> None:
    """The one here is as good as the model's own at a quarter of the cost."""
    fields = [gaussian_mixture(dimensions=48, components=6, spread=0.3, seed=seed) for seed in (2, 3)]
    made = {"field": lambda _: fields[0], "negative_field": lambda _: fields[1]}
    half = LabNetwork("1" * 64, 0.25, **made)
    two = replace(model, smaller={"half": half}, **made)
    request = replace(
        request_, solver=LEARNED, placement=True, smaller="half", budgets=(4,), baselines=("euler shift3",)
    )
    run = SearchRun(two, request, LabStore(tmp_path / "lab"), Meter())
    schedule = parse(search_schedule(run).model_dump_json())
    assert schedule.costs == {"half": 0.25}
    assert schedule.networks["half"].weights_sha256 == half.weights_sha256
    (entry,) = schedule.entries
    assert entry.steps > 2
    assert "half" in schedule.table(entry).networks
    assert schedule.network_evaluations(entry, 1.5) <= 4
    assert schedule.provenance.parameters["smaller"] == "half"


def test_of_equally_long_tables_the_larger_budget_is_kept(bench_of: MakeBench, request_: SearchRequest) -> None:
    schedule = search_schedule(
        bench_of(replace(request_, solver=LEARNED, placement=True, budgets=(2, 3, 4), baselines=("euler uniform",)))
    )
    steps = [entry.steps for entry in schedule.entries]
    assert steps == sorted(set(steps))
    assert max(schedule.table(entry).network_evaluations(1.5) for entry in schedule.entries) == 4


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"solver": "euler", "baselines": ("uniform",)}, "placement: needs learned coefficients"),
        ({"guidance_scale": 1.0}, "a guidance scale above 1"),
        ({"budgets": (1, 4)}, "evaluations: must be at least 2"),
    ],
)
def test_placement_that_cannot_be_is_refused(
    request_: SearchRequest, switches: dict[str, object], message: str
) -> None:
    learned = replace(request_, solver=LEARNED, baselines=("euler uniform",))
    with pytest.raises(ValueError, match=message):
        replace(learned, placement=True, **switches)  # type: ignore[arg-type]


def test_a_smaller_network_needs_placement(request_: SearchRequest) -> None:
    with pytest.raises(ValueError, match="smaller: needs placement"):
        replace(request_, solver=LEARNED, baselines=("euler uniform",), smaller="half")


def test_what_is_gone_on_from_keeps_the_networks_of_its_other_entries(
    model: LabModel, request_: SearchRequest, tmp_path: Path
) -> None:
    half = LabNetwork("1" * 64, 0.25, mixture_field, mixture_field)
    two, store = replace(model, smaller={"half": half}), LabStore(tmp_path / "lab")
    request = replace(request_, solver=LEARNED, budgets=(1, 2), baselines=("euler shift3",))
    begun = search_schedule(SearchRun(two, request, store, Meter()))
    entries = list(begun.entries)
    assert entries[1].table is not None
    small = entries[1].table.model_copy(update={"networks": ("half", "")})
    entries[1] = entries[1].model_copy(update={"table": small})
    networks = {"half": SmallerNetwork(weights_sha256="1" * 64, cost=0.25)}
    start = begun.model_copy(update={"entries": tuple(entries), "networks": networks})
    again = replace(request, budgets=(1,), seed_offset=500, start=start)
    found = search_schedule(SearchRun(two, again, store, Meter()))
    assert found.networks == networks
    assert found.entries[1].table == small


def test_what_is_kept_of_a_model_is_kept_of_these_very_weights(model: LabModel, request_: SearchRequest) -> None:
    float8 = replace(model, quantization="float8")
    assert float8.identity != model.identity
    halves = [
        replace(model, smaller={"half": LabNetwork(sha * 64, 0.25, mixture_field, mixture_field)}) for sha in "12"
    ]
    assert halves[0].identity_of(("half", "")) != halves[1].identity_of(("half", ""))
    assert halves[0].identity_of(("",)) == {} == model.identity_of(("half",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_sha256": "5" * 64}, "other weights"),
        ({"quantization": "float8"}, "quantised as float8, these are none"),
        ({"networks": {"half": SmallerNetwork(weights_sha256="1" * 64, cost=0.5)}}, "rows for the network 'half'"),
    ],
)
def test_a_schedule_of_another_model_is_told_from_its_own(
    bench_of: MakeBench, request_: SearchRequest, changes: dict[str, object], message: str
) -> None:
    run = bench_of(replace(request_, budgets=(1,)))
    schedule = search_schedule(run)
    assert misfit(schedule, run.model) is None
    wrong = misfit(schedule.model_copy(update=changes), run.model)
    assert wrong is not None
    assert message in wrong


def test_a_dtype_that_is_asked_for_is_the_schedules_too(bench_of: MakeBench, request_: SearchRequest) -> None:
    run = bench_of(replace(request_, budgets=(1,)))
    schedule = search_schedule(run)
    assert misfit(schedule, replace(run.model, asked_dtype=schedule.dtype)) is None
    wrong = misfit(schedule, replace(run.model, asked_dtype="float16"))
    assert wrong == f"it was searched in {schedule.dtype}, this model computes in float16"


def test_a_search_of_all_budgets_costs_no_more_than_the_published_one(bench_of: MakeBench) -> None:
    """OSS takes 538,000 guided steps with 256 samples and N = 100; the defaults, teachers included, keep to that."""
    request = SearchRequest(LEARNED, tuple(range(1, 21)), 1.5, seeds=256, validation=64, baselines=LEARNED_FLOW)
    run = bench_of(request)
    forwards = paths_cost(run) + sum(budget_cost(run, steps) for steps in request.budgets)
    guided = forwards / run.branches + (request.seeds + request.validation) * request.teacher_steps
    assert guided <= 538_000


def test_a_search_takes_what_is_planned_or_a_little_less(bench_of: MakeBench, request_: SearchRequest) -> None:
    request = replace(request_, solver=LEARNED, budgets=(1, 3), baselines=LEARNED_FLOW[:2], measure="latents")
    run = bench_of(request)
    schedule = search_schedule(run)
    planned = paths_cost(run) + sum(budget_cost(run, steps) for steps in request.budgets)
    teachers = (request.seeds + request.validation) * request.teacher_steps * run.branches
    assert 0.9 <= float(schedule.provenance.parameters["search_evaluations"]) / (planned + teachers) <= 1
