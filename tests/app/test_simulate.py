"""`pacer simulate`: a trace or a rate goes in, a row for each number of workers comes out."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from app import cli
from app.simulate import BUDGETS
from pacer.control.simulation.poisson import read_shares
from pacer.jobs.connection import connect
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

SPEED = WorkerSpeed(0.009, 0.0068, 0.002, 0.004, 16, 0.02)
COSTS = ("--turn-ms=9", "--row-ms=6.8", "--encode-ms=2", "--decode-ms=4", "--deliver-ms=20", "--rows=16")
RATE = ("--rate=12", "--seconds=20", "--deadline-factor=1.5,5")
TRACE = "at,steps,latency_ms\n" + "".join(f"{0.05 * n:g},20,3000\n" for n in range(100))


def run(*arguments: str) -> str:
    ended = CliRunner().invoke(cli.app, ["simulate", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The one line of a command that a person got wrong."""
    monkeypatch.setattr("sys.argv", ["pacer", "simulate", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("pacer: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def test_a_trace_gives_a_row_for_each_number_of_workers(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    shown = run(f"--arrivals={trace}", "--workers=1,4,16", *COSTS, f"--json={out}").splitlines()
    assert shown[0] == "100 requests for shapes-64"
    assert shown[1].split()[:3] == ["workers", "goodput/s", "busy"]
    assert [line.split()[0] for line in shown[2:]] == ["1", "4", "16"]
    report = json.loads(out.read_text())
    assert (report["model"], report["requests"]) == ("shapes-64", 100)
    assert report["speed"] == msgspec.structs.asdict(SPEED)
    assert report["settings"]["policy"] == "balanced"
    one, four, sixteen = report["runs"]
    assert one["total"]["refused"] > 0
    assert one["total"]["in_time"] < four["total"]["in_time"] < sixteen["total"]["in_time"] == 100
    assert sixteen["utilisation"] < one["utilisation"] <= 1
    assert list(sixteen["budgets"]) == ["20 steps"]
    assert sixteen["budgets"]["20 steps"] == sixteen["total"]


def test_with_one_number_of_workers_each_budget_has_a_row() -> None:
    lines = run(*RATE, "--budgets=4:1,8-20:1", "--workers=2", *COSTS).splitlines()
    assert [line.split("  ")[0] for line in lines[3:]] == ["budget", "4 steps", "8 to 20 steps"]


def test_a_trace_that_was_written_gives_the_same_again(tmp_path: Path) -> None:
    written, first, second = tmp_path / "made.csv", tmp_path / "first.json", tmp_path / "second.json"
    run(*RATE, "--seed=5", f"--write-trace={written}", *COSTS, f"--json={first}")
    run(f"--arrivals={written}", *COSTS, f"--json={second}")
    assert first.read_text() == second.read_text()
    assert json.loads(first.read_text())["requests"] > 100


def test_a_speed_file_says_the_same_as_the_options(trace: Path, tmp_path: Path) -> None:
    speed = tmp_path / "speed.json"
    speed.write_bytes(msgspec.json.encode(SPEED))
    assert run(f"--arrivals={trace}", f"--speed={speed}") == run(f"--arrivals={trace}", *COSTS)


def test_the_speed_of_live_workers_is_taken_from_their_store(
    trace: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PACER_REDIS_URL", redis_url)
    with connect(redis_url) as client:
        for name, seconds in (("w1", 0.008), ("w2", 0.010)):
            worker = WorkerQueue(client, Settings(), "shapes-64", name)
            worker.beat([])
            worker.publish_speed(msgspec.structs.replace(SPEED, turn_seconds=seconds))
    out, speed = tmp_path / "out.json", tmp_path / "speed.json"
    live = run(f"--arrivals={trace}", "--live", f"--json={out}")
    speed.write_text(json.dumps(json.loads(out.read_text())["speed"]))
    assert live == run(f"--arrivals={trace}", f"--speed={speed}") == run(f"--arrivals={trace}", *COSTS)


def test_without_a_store_or_a_worker_there_is_no_live_speed(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "say where it is by PACER_REDIS_URL" in told(capsys, monkeypatch, *RATE, "--live")
    monkeypatch.setenv("PACER_REDIS_URL", redis_url)
    assert "no worker of shapes-64 has measured yet" in told(capsys, monkeypatch, *RATE, "--live")


def test_the_environment_sets_the_service(trace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACER_SLOTS", "1")
    out = tmp_path / "out.json"
    run(f"--arrivals={trace}", *COSTS, f"--json={out}")
    report = json.loads(out.read_text())
    assert report["settings"]["slots"] == 1
    assert report["runs"][0]["total"]["latency_p50_s"] > 0


def test_what_is_wrong_in_itself_is_told_beside_the_table(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("at,steps,latency_ms\n0,20,1\n1,8,5000\n")
    assert "1 requests were wrong in themselves (422)" in run(f"--arrivals={path}", *COSTS)


def test_the_default_mix_is_a_mix() -> None:
    assert sum(share.weight for share in read_shares(BUDGETS)) == 100


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("at,steps\n0,8\n1,none\n", "line 3: steps: must be a whole number, is 'none'"),
        ("time,steps\n0,8\n", "line 1: no column 'time'; there are at, model, steps"),
        ("", "the trace is empty"),
    ],
)
def test_a_bad_trace_is_refused_by_file_and_line(
    text: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert f"{path}: {error}" in told(capsys, monkeypatch, f"--arrivals={path}", *COSTS)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (COSTS, "say who comes when"),
        (("--rate=1", *COSTS), "say who comes when"),
        (RATE, "say what a network call takes: --turn-ms and --row-ms"),
        ((*RATE, "--turn-ms=9"), "say what a network call takes"),
        ((*RATE, *COSTS, "--arrivals=trace.csv"), "--arrivals says who comes when; leave out --rate"),
        ((*RATE, *COSTS, "--speed=s.json"), "--speed says it all; leave out --turn-ms"),
        ((*RATE, *COSTS, "--json=nowhere/out.json"), "nowhere/out.json: No such file or directory"),
        ((*RATE, *COSTS, "--write-trace=nowhere/t.csv"), "nowhere/t.csv: No such file or directory"),
        ((*RATE, "--live", "--speed=s.json"), "--live says it all; leave out --speed"),
        ((*RATE, "--speed=nowhere.json"), "nowhere.json: No such file or directory"),
        ((*COSTS, "--arrivals=nowhere.csv"), "nowhere.csv: No such file or directory"),
        ((*RATE, *COSTS, "--workers=0"), "--workers: must be whole numbers from 1 on"),
        ((*RATE, *COSTS, "--workers=1,two"), "--workers: must be whole numbers"),
        ((*RATE, *COSTS, "--budgets=4"), "budgets: must be steps:weight"),
        ((*RATE, *COSTS, "--model=dall-e"), "model 'dall-e' is not served here"),
        ((*RATE[:2], "--deadline-factor=1,2,3", *COSTS), "--deadline-factor: must be one number or two"),
        ((*RATE[:2], "--deadline-factor=soon", *COSTS), "--deadline-factor: must be one number or two"),
        (("--rate=0.001", "--seconds=1", *COSTS), "--rate 0.001 brings nobody in 1 s"),
        ((*RATE, "--turn-ms=-1", "--row-ms=1"), "turn_seconds: must be 0 or more"),
        ((*RATE, "--turn-ms=0", "--row-ms=0"), "one of them must be above 0"),
        ((*RATE, *COSTS[:2], "--rows=0"), "rows: must be at least 1"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: tuple[str, ...], error: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert error in told(capsys, monkeypatch, *arguments)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", "missing required field `turn_seconds`"),
        ('{"turn_seconds": "fast"}', "Expected `float`, got `str`"),
        ('{"turn_seconds": 1, "row_seconds": 1, "encode_seconds": 0, "decode_seconds": 0, "fast": 1}', "unknown field"),
        ("turn", "JSON is malformed"),
    ],
)
def test_a_speed_file_that_is_none_is_told(
    text: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "speed.json"
    path.write_text(text)
    shown = told(capsys, monkeypatch, *RATE, f"--speed={path}")
    assert error in shown
    assert f"{path}: " in shown
