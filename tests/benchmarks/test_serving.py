"""The serving benchmark: its traces, its arithmetic, and one small run of the real thing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving.figures import Outcome, State, burst_throughput, figures_of
from benchmarks.serving.ratios import peak_load, ratios_of, still_rising
from benchmarks.serving.results import Results, ResumeError, Row, resumed
from benchmarks.serving.servers import SERVERS, Contestant
from benchmarks.serving.trace import MIX, make_burst, make_trace, mean_seconds
from workers.shapes.language import is_held_out, parse

ROOT = Path(__file__).parents[2]


# --- traces ------------------------------------------------------------------------------------------------------


def test_a_trace_has_the_rate_and_the_mix_that_it_says() -> None:
    trace = make_trace(per_s=10, seconds=500, seed=3)
    assert len(trace) == pytest.approx(5000, abs=4 * np.sqrt(5000))
    for steps, share in MIX.items():
        counted = sum(arrival.steps == steps for arrival in trace)
        assert counted == pytest.approx(5000 * share, abs=5 * np.sqrt(5000 * share))


def test_gaps_between_arrivals_are_exponential() -> None:
    times = np.array([arrival.at_s for arrival in make_trace(per_s=4, seconds=1000, seed=5)])
    gaps = np.diff(times)
    assert times[0] > 0
    assert times[-1] <= 1000
    # Of an exponential distribution the deviation is the mean, and e^-1 of the gaps are longer than it.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.08)
    assert (gaps > gaps.mean()).mean() == pytest.approx(np.exp(-1), abs=0.03)


def test_the_seed_decides_and_the_rate_only_stretches() -> None:
    slow, fast, other = (make_trace(rate, 60, seed) for rate, seed in ((2, 1), (4, 1), (2, 2)))
    assert make_trace(2, 60, 1) == slow
    assert [(a.prompt, a.steps) for a in other[:20]] != [(a.prompt, a.steps) for a in slow[:20]]
    for one, same in zip(slow, fast, strict=False):
        assert (one.prompt, one.steps, one.seed) == (same.prompt, same.steps, same.seed)
        assert one.at_s == pytest.approx(2 * same.at_s)


def test_requests_are_sentences_of_the_model_each_with_a_seed_of_its_own() -> None:
    trace = make_trace(5, 40, 7)
    assert all(is_held_out(parse(arrival.prompt)) for arrival in trace)
    assert len({arrival.seed for arrival in trace}) == len(trace)
    assert not {a.seed for a in trace} & {a.seed for a in make_trace(5, 40, 8)}


@pytest.mark.parametrize(("per_s", "seconds"), [(0, 10), (1, 0), (-1, 10), (1000, 1000)])
def test_a_trace_without_an_end_or_a_beginning_is_refused(per_s: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="a trace has between 0 and"):
        make_trace(per_s, seconds, 1)


@pytest.mark.parametrize(("count", "shares"), [(64, [32, 19, 10, 3]), (8, [4, 2, 2, 0]), (20, [10, 6, 3, 1])])
def test_a_burst_comes_at_once_in_exact_shares(count: int, shares: list[int]) -> None:
    burst = make_burst(count, 1)
    assert {arrival.at_s for arrival in burst} == {0.0}
    assert [sum(arrival.steps == steps for arrival in burst) for steps in (4, 8, 20, 50)] == shares


def test_the_mean_time_is_weighed_by_the_mix() -> None:
    assert mean_seconds({4: 1.0, 8: 2.0, 20: 4.0, 50: 10.0}) == pytest.approx(0.5 + 0.6 + 0.6 + 0.5)


# --- figures -----------------------------------------------------------------------------------------------------


def outcome(at_s: float, latency_s: float, state: State = "drawn", *, steps: int = 4, detail: str = "") -> Outcome:
    return Outcome(steps, at_s, 0.001, latency_s, deadline_s=1.0, state=state, detail=detail)


def test_goodput_counts_pictures_in_time_over_the_seconds_of_arrivals() -> None:
    outcomes = [
        outcome(0.0, 0.5),
        outcome(1.0, 1.0),  # just in time
        outcome(2.0, 1.1),  # late, but there
        outcome(9.5, 0.9, steps=8),  # in time, after the arrivals' end
        outcome(3.0, 0.01, "refused", detail="429 full"),
        outcome(4.0, 0.8, "expired"),
        outcome(5.0, 0.2, "failed", detail="500 oh"),
        outcome(6.0, 7.0, "unanswered"),
    ]
    figures = figures_of(outcomes, seconds=10.0)
    assert figures.arrivals == 8
    assert figures.goodput_per_s == pytest.approx(3 / 10)
    assert figures.in_time_share == pytest.approx(3 / 8)
    assert figures.throughput_per_s == pytest.approx(3 / 10)  # the late one counts, the one after the end does not
    assert figures.states == {"drawn": 4, "refused": 1, "expired": 1, "failed": 1, "unanswered": 1}
    assert figures.errors == {"429 full": 1, "500 oh": 1}
    assert figures.by_steps["8"].arrivals == 1
    assert figures.by_steps["8"].in_time_share == 1.0
    assert figures.by_steps["4"].in_time_share == pytest.approx(2 / 7)


def test_whoever_gets_no_picture_has_waited_at_least_until_the_deadline() -> None:
    quick_refusals = figures_of([outcome(0, 0.5), outcome(1, 0.01, "refused")], 2.0)
    assert quick_refusals.latency_s.mean == pytest.approx((0.5 + 1.0) / 2)
    given_up_on = figures_of([outcome(0, 0.5), outcome(1, 4.0, "unanswered")], 2.0)
    assert given_up_on.latency_s.mean == pytest.approx((0.5 + 4.0) / 2)


def test_percentiles_are_of_all_requests() -> None:
    latency = figures_of([outcome(0, float(ms) / 100) for ms in range(101)], 1.0).latency_s
    assert (latency.p50, latency.p95, latency.p99) == pytest.approx((0.5, 0.95, 0.99))


def test_nothing_to_count_is_said() -> None:
    with pytest.raises(ValueError, match="nothing arrived"):
        figures_of([], 1.0)


def test_a_burst_is_over_when_its_last_picture_is_there() -> None:
    assert burst_throughput([outcome(0, 1.0), outcome(0, 4.0), outcome(0, 9.0, "failed")]) == pytest.approx(2 / 4)
    assert burst_throughput([outcome(0, 1.0, "failed")]) == 0


# --- ratios and results ------------------------------------------------------------------------------------------


def load_row(server: str, load: float, goodput: float, short_s: float, policy: str | None = None) -> Row:
    latency = {"mean": short_s, "p50": short_s, "p95": short_s, "p99": short_s}
    return {
        "kind": "load", "server": server, "policy": policy, "load": load, "goodput_per_s": goodput,
        "in_time_share": 0.8, "by_steps": {"4": {"arrivals": 1, "in_time_share": 1.0, "latency_s": latency}},
    }  # fmt: skip


def burst_row(server: str, throughput: float, policy: str | None = None) -> Row:
    return {"kind": "burst", "server": server, "policy": policy, "load": None, "throughput_per_s": throughput}


def test_ratios_are_against_the_peer_that_is_best_at_each_figure() -> None:
    rows = [
        load_row("fastapi", 0.5, 2.0, 0.8), load_row("fastapi", 0.75, 0.5, 3.0),
        load_row("litserve", 0.5, 1.9, 0.7), load_row("litserve", 0.75, 1.0, 2.0),
        load_row("pacer", 0.5, 2.4, 0.2, "least_slack"), load_row("pacer", 0.75, 4.0, 0.3, "least_slack"),
        load_row("pacer", 0.75, 9.0, 0.1, "fifo"), load_row("pacer-learned", 0.75, 9.0, 0.1, "least_slack"),
        burst_row("fastapi", 3.0), burst_row("litserve", 4.0), burst_row("pacer", 6.0, "least_slack"),
        {**load_row("ray-serve", 0.5, 0.0, 0.0), "failed": "did not start"},
    ]  # fmt: skip
    assert peak_load(rows) == 0.5
    most, peaked, beyond, short, saturated = ratios_of(rows, "least_slack")
    assert (peaked.ratio, peaked.peer, peaked.met) == (pytest.approx(4.0 / 0.5), "fastapi", True)
    assert (most.ratio, most.peer, most.met) == (pytest.approx(4.0 / 2.0), "fastapi", True)
    assert (beyond.ratio, beyond.peer, beyond.met) == (pytest.approx(4.0 / 1.0), "litserve", True)
    assert (short.ratio, short.peer, short.met) == (pytest.approx(0.2 / 0.8), "fastapi", True)
    assert (saturated.ratio, saturated.peer, saturated.met) == (pytest.approx(6.0 / 4.0), "litserve", True)


def test_a_server_rises_while_it_does_best_at_its_highest_load() -> None:
    rows = [load_row("pacer", 1.0, 2.0, 0.1, "fifo"), load_row("pacer", 2.0, 3.0, 0.1, "fifo")]
    rows += [load_row("litserve", 1.0, 2.0, 0.1), load_row("litserve", 2.0, 1.0, 0.1)]
    rows += [{**load_row("fastapi", 2.0, 9.0, 0.1), "failed": "did not start"}, burst_row("fastapi", 3.0)]
    assert still_rising(rows, "pacer", "fifo") == 2.0
    assert still_rising([*rows, load_row("pacer", 3.0, 2.9, 0.1, "fifo")], "pacer", "fifo") is None
    assert [still_rising(rows, name, None) for name in ("litserve", "fastapi", "ray-serve")] == [None] * 3


def test_it_is_told_how_much_of_what_was_asked_for_was_in_time() -> None:
    rows = [load_row("fastapi", 1.0, 2.0, 0.8), load_row("fastapi", 1.5, 1.5, 0.8)]
    rows.append(load_row("pacer", 1.5, 3.2, 0.1, "fifo"))
    assert ratios_of(rows, "fifo")[1].asked == pytest.approx(4.0)


def test_a_bar_that_is_not_reached_is_missed_and_without_rows_nothing_is_said() -> None:
    rows = [load_row("fastapi", 0.5, 2.0, 0.8), load_row("pacer", 0.5, 2.4, 0.4, "least_slack")]
    most, _, beyond, short, saturated = ratios_of(rows, "least_slack")
    assert (most.met, short.met) == (False, False)
    assert (beyond.met, saturated.met, beyond.ratio) == (None, None, None)
    assert all(one.met is None for one in ratios_of([], "least_slack"))


def test_results_are_resumed_only_where_they_are_of_the_same_thing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "serving.json"
    first = Results(path, {"commit": "abc", "solo_s": {"4": 1.0}, "date": "then"})
    first.add(load_row("fastapi", 0.5, 1.0, 0.5))
    first.add(load_row("fastapi", 0.5, 2.0, 0.5))
    first.add({**load_row("fastapi", 0.7, 2.0, 0.5), "failed": "no"})
    again = resumed(path, {"commit": "abc", "date": "now"})
    fastapi = Contestant(SERVERS["fastapi"])
    kept = again.find("load", fastapi, 0.5)
    assert kept is not None
    assert kept["goodput_per_s"] == 2.0
    assert again.meta["solo_s"] == {"4": 1.0}
    assert again.find("load", fastapi, 0.7) is None
    assert again.find("burst", fastapi, None) is None
    with pytest.raises(ResumeError, match="commit: 'abc' there, 'def' now"):
        resumed(path, {"commit": "def"})
    assert resumed(tmp_path / "none.json", {"commit": "def"}).rows == []


# --- the real thing ----------------------------------------------------------------------------------------------


def test_a_small_run_against_the_stock_pipeline_and_a_peer_that_is_not_there(tmp_path: Path) -> None:
    result = tmp_path / "serving.json"
    # An interpreter in isolated mode sees no site-packages of ours: whatever is installed here, it has no LitServe.
    lacking = tmp_path / "python"
    lacking.write_text(f'#!/bin/sh\nif [ "$2" = "import litserve" ]; then exec {sys.executable} -I -S "$@"; fi\n'
                       f'exec {sys.executable} "$@"\n')  # fmt: skip
    lacking.chmod(0o755)
    options = {
        "--servers": "fastapi,litserve", "--loads": "0.6", "--seconds": "4", "--burst": "0", "--solo-repeats": "1",
        "--threads": "1", "--json": str(result), "--peers-python": str(lacking),
        "--seed": "3",  # its first request comes after a tenth of a mean gap, so there is one however slow the machine
    }  # fmt: skip
    said = [part for option in options.items() for part in option]
    command = [sys.executable, "-m", "benchmarks.serving", "--no-beyond", *said]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False, env=os.environ | {"COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SKIPPED litserve: litserve cannot be imported by" in done.stdout
    told = json.loads(result.read_text())
    assert "No module named 'litserve'" in told["skipped"]["litserve"]
    (load,) = told["rows"]
    assert (load["server"], load["policy"]) == ("fastapi", None)
    assert load["states"] == {"drawn": load["arrivals"]}
    assert load["worst_level_difference"] == 0
    assert load["peak_memory_mb"] > 100
    assert load["client_late_s"] < 0.25
    solo, deadlines = told["meta"]["solo_s"], told["meta"]["deadlines_s"]
    assert solo["4"] < solo["50"]
    assert deadlines == {steps: pytest.approx(3 * seconds) for steps, seconds in solo.items()}
    assert (tmp_path / "serving.svg").read_text().startswith("<?xml")
