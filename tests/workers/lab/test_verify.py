from collections.abc import Callable
from dataclasses import replace

import pytest

from schedules.artefact import Schedule
from schedules.evidence import Evidence, Figure
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.searching.search import search_schedule
from workers.lab.verify import KeptAgain, Verdict, verify_entry

MakeBench = Callable[[SearchRequest], SearchRun]


def verdict(bench: SearchRun, schedule: Schedule) -> Verdict:
    entry = schedule.entries[0]
    return verify_entry(bench.model, schedule, entry, bench.store, bench.meter, seeds=48, seed_offset=7_000)


@pytest.fixture
def bench(bench_of: MakeBench, request_: SearchRequest) -> SearchRun:
    return bench_of(replace(request_, budgets=(4,)))


def test_a_true_claim_holds_on_other_seeds(bench: SearchRun) -> None:
    schedule = search_schedule(bench)
    found = verdict(bench, schedule)
    assert found.failures == ()
    assert found.measured.seed_offset == found.claimed.seed_offset + 7_000
    assert found.measured.psnr_db.mean == pytest.approx(found.claimed.psnr_db.mean, abs=2.0)
    assert found.measured.psnr_db != found.claimed.psnr_db


def test_a_claim_of_too_much_quality_does_not_hold(bench: SearchRun) -> None:
    schedule = search_schedule(bench)
    assert any("is claimed" in failure for failure in verdict(bench, boasting(schedule, 10.0)).failures)


def test_a_claim_to_beat_a_better_baseline_does_not_hold(bench: SearchRun) -> None:
    schedule = search_schedule(bench)
    worse = schedule.entries[0].model_copy(update={"sigmas": (1.0, 0.999, 0.998, 0.997, 0.0), "table": None})
    spoilt = schedule.model_copy(update={"entries": (worse,)})
    assert any("was said to be worse" in failure for failure in verdict(bench, spoilt).failures)


@pytest.mark.parametrize(("more_db", "holds"), [(0.0, True), (5.0, False)])
def test_what_single_pictures_keep_is_measured_again(bench: SearchRun, more_db: float, holds: bool) -> None:
    schedule = search_schedule(bench)
    evidence = schedule.entries[0].evidence
    assert evidence is not None
    assert evidence.kept_psnr_db
    said = tuple(each.model_copy(update={"least": each.least + more_db}) for each in evidence.kept_psnr_db)
    entry = schedule.entries[0].model_copy(update={"evidence": evidence.model_copy(update={"kept_psnr_db": said})})
    found = verdict(bench, schedule.model_copy(update={"entries": (entry,)}))
    assert [each.seeds for each in found.kept] == [48] * len(said)
    assert (not found.failures) == holds
    assert any("of 100 are claimed" in failure for failure in found.failures) != holds


@pytest.mark.parametrize(("reached", "holds"), [(115, True), (108, True), (104, False), (0, False)])
def test_few_pictures_less_are_chance(reached: int, holds: bool) -> None:
    assert KeptAgain("dB", 0.9, 40.0, reached, 128).holds == holds


def test_other_weights_are_refused(bench: SearchRun) -> None:
    schedule = search_schedule(bench).model_copy(update={"weights_sha256": "f" * 64})
    with pytest.raises(ValueError, match="other weights"):
        verdict(bench, schedule)


def test_an_entry_without_evidence_claims_nothing(bench: SearchRun) -> None:
    schedule = search_schedule(bench)
    silent = schedule.model_copy(update={"entries": (schedule.entries[0].model_copy(update={"evidence": None}),)})
    with pytest.raises(ValueError, match="nothing to verify"):
        verdict(bench, silent)


def boasting(schedule: Schedule, more_db: float) -> Schedule:
    entry = schedule.entries[0]
    assert isinstance(entry.evidence, Evidence)
    claim = entry.evidence.psnr_db
    higher = Figure(mean=claim.mean + more_db, low=claim.low + more_db, high=claim.high + more_db)
    evidence = entry.evidence.model_copy(update={"psnr_db": higher})
    return schedule.model_copy(update={"entries": (entry.model_copy(update={"evidence": evidence}),)})
