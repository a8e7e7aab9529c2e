"""The budget benchmark: its wishes, its arithmetic, and one small run of the real thing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.budget.asking import Answer
from benchmarks.budget.bars import BUDGET, SLACK, bars_of
from benchmarks.budget.figures import figures_of
from benchmarks.budget.judged import picked, summed
from benchmarks.budget.wishes import DEADLINES, FLOORS, Wish, make_wishes

ROOT = Path(__file__).parents[2]


def test_wishes_are_the_same_at_any_rate_and_have_the_floors_in_their_shares() -> None:
    slow, fast = make_wishes(5.0, 400.0, 3, 1.0), make_wishes(10.0, 200.0, 3, 1.0)
    assert len(slow) == len(fast) == pytest.approx(2000, abs=180)
    assert [(a.prompt, a.seed, a.floor) for a in slow] == [(b.prompt, b.seed, b.floor) for b in fast]
    for floor, share in FLOORS:
        assert sum(wish.floor == floor for wish in slow) == pytest.approx(2000 * share, abs=150)
    assert all(DEADLINES[0] <= wish.deadline_s <= DEADLINES[1] for wish in slow)


def test_a_wish_says_steps_or_its_floor() -> None:
    wish = next(one for one in make_wishes(5.0, 60.0, 1, 1.0) if one.floor == ("min_quality", 0.95))
    assert wish.budget(fixed=True, told=False) == {"steps": 20}
    latency_ms = round(1000 * wish.deadline_s)
    assert wish.budget(fixed=False, told=True) == {"min_quality": 0.95, "max_steps": 20, "latency_ms": latency_ms}


def answer(wish: Wish, latency_s: float, **facts: object) -> Answer:
    plan: dict[str, object] = {
        "steps": 8,
        "predicted_seconds": 0.4,
        "predicted_wait_seconds": 0.1,
        "predicted_latency": {"p50": 0.45, "p95": 0.9},
        "predicted_quality": {"mean": 0.98, "low": 0.96, "kept": []},
        "predicted_quality_db": {"mean": 49.0, "low": 48.0, "kept": [{"by": 0.9, "least": 40.0}]},
    }
    return Answer(wish, "drawn", latency_s, plan | facts)


def test_only_what_is_in_time_and_reaches_its_floor_is_good() -> None:
    wishes = [one for one in make_wishes(5.0, 60.0, 1, 1.0) if one.floor == ("min_quality", 0.95)][:4]
    answers = [
        answer(wishes[0], 0.5),
        answer(wishes[1], 0.5, predicted_quality={"mean": 0.97, "low": 0.94, "kept": []}),
        answer(wishes[2], 6.0),
        Answer(wishes[3], "refused", 0.01),
    ]
    row = figures_of(answers, 10.0)
    assert row["goodput_per_s"] == pytest.approx(0.1)
    assert row["attainment"] == pytest.approx(2 / 3)
    assert row["late_s"] == [pytest.approx(6.0 - wishes[2].deadline_s, abs=1e-3)]
    assert row["latency_error"] == pytest.approx(0.0)
    assert row["latency_within"] == {"p50": 0.0, "p95": pytest.approx(2 / 3)}


def test_the_bars_compare_the_ways_at_equal_load() -> None:
    rows = [
        {"way": way, "load": load, "goodput_per_s": goodput, "attainment": 0.995, "latency_error": 0.05}
        for way, load, goodput in ((BUDGET, 1.5, 3.0), (SLACK, 1.5, 2.0), (BUDGET, 2.0, 2.8), (SLACK, 2.0, 2.0))
    ]
    bars = {bar["figure"]: bar for bar in bars_of({"rows": rows})}
    assert bars[f"goodput at load 1.5, over that of {SLACK}"]["measured"] == pytest.approx(1.5)
    assert bars[f"goodput at load 1.5, over that of {SLACK}"]["met"]
    assert not bars[f"goodput at load 2, over that of {SLACK}"]["met"]
    assert bars["goodput beyond its peak, of the peak"]["measured"] == pytest.approx(2.8 / 3.0)


def test_floored_wishes_are_judged_at_every_load_and_drawn_by_the_teacher_once() -> None:
    wishes = make_wishes(5.0, 60.0, 1, 1.0)
    delivered = {0.5: [answer(one, 0.5) for one in wishes[:50]], 2.0: [answer(one, 0.5) for one in wishes[10:200]]}
    floored = [one.seed for one in wishes[:200] if one.floor is not None]
    every = picked(delivered, len(floored), 0)
    assert {one.wish.seed for _, one in every} == set(floored)
    assert len(every) == sum(one.wish.floor is not None for each in delivered.values() for one in each) > len(floored)
    some = picked(delivered, 10, 3)
    kept = sorted({one.wish.seed for _, one in some if one.wish.floor is not None})
    assert len(kept) == 10
    assert kept[-1] > floored[len(floored) * 3 // 4], "evenly over all that came"
    assert len({one.wish.seed for _, one in some if one.wish.floor is None}) == 3
    assert not picked(delivered, 0, 0)


def judged(floor: str, psnr_db: float, *, own: bool = True, load: float = 1.0) -> dict[str, object]:
    return {"floor": floor, "load": load, "psnr_db": psnr_db, "own": own, "teacher": True}


def test_floors_of_psnr_are_missed_one_by_one_and_those_of_task_scores_together() -> None:
    rows = [
        *(judged("min_psnr_db 40", psnr_db, load=0.5) for psnr_db in (39.0, 41.0, 50.0)),
        *(judged("min_quality 0.9", 30.0, own=passed) for passed in (True, True, True, False)),
        judged("none", 20.0),
    ]
    found = summed(rows, {"min_psnr_db 40": 6, "min_quality 0.9": 4, "none": 10})
    assert {row["floor"]: row["missed"] for row in found["floors"]} == {
        "min_psnr_db 40": 1, "min_quality 0.9": 4, "none": None,
    }  # fmt: skip
    assert (found["floors_missed"], found["floors_missed_share"]) == (5, pytest.approx(5 / 7))
    assert (found["pictures"], found["floored"], found["floored_delivered"]) == (8, 7, 10)
    assert found["floored_by_load"] == {"0.5": 3, "1": 4}
    assert found["psnr_db"] == pytest.approx((6 * 130 / 3 + 4 * 30 + 10 * 20) / 20), "as often as it was delivered"
    assert found["task_share_of_teacher"] == pytest.approx(19 / 20)


def test_the_real_thing_measures_every_way(tmp_path: Path) -> None:
    file = tmp_path / "budget.json"
    command = [sys.executable, "-m", "benchmarks.budget", "--loads", "1", "--seconds", "6", "--judged", "2"]
    done = subprocess.run(
        [*command, "--others", "1", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(file.read_text())
    assert len(results["rows"]) == 3
    assert all(row["arrivals"] for row in results["rows"])
    assert 1 <= results["judged"]["wishes"] <= 3
    assert results["judged"]["pictures"] >= results["judged"]["floored"]
    assert file.with_suffix(".svg").exists()
