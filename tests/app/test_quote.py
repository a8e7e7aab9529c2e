"""`pacer plan`: a plan from the registry alone."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

import pacer
from app import cli
from app.cli import app
from app.quote import Bounds, quote_locally
from pacer.errors import PacerError
from pacer.jobs.connection import connect
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

SPEED = WorkerSpeed(0.01, 0.005, 0.002, 0.003, 16)


@pytest.fixture
def speed(tmp_path: Path) -> str:
    path = tmp_path / "speed.json"
    path.write_bytes(msgspec.json.encode(SPEED))
    return f"--speed={path}"


def told(*arguments: str) -> dict[str, object]:
    ended = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The one line of a command that a person got wrong."""
    monkeypatch.setattr("sys.argv", ["pacer", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    return shown.err


def test_a_budget_in_evaluations_is_kept_and_told() -> None:
    ended = CliRunner().invoke(app, ["plan", "--evaluations=12", "--json"])
    assert ended.exit_code == 0, ended.output
    planned = json.loads(ended.stdout)
    assert planned["schedule"].startswith("shapes-64/")
    assert 0 < planned["evaluations"] <= 12


def test_a_floor_buys_the_cheapest_that_reaches_it() -> None:
    ended = CliRunner().invoke(app, ["plan", "--min-psnr-db=40", "--kept-by=0.9", "--max-steps=12", "--json"])
    assert ended.exit_code == 0, ended.output
    planned = json.loads(ended.stdout)
    assert {kept["by"]: kept["least"] for kept in planned["predicted_quality_db"]["kept"]}[0.9] >= 40
    assert planned["steps"] <= 12


def test_one_evaluation_buys_one_learned_step() -> None:
    planned = json.loads(CliRunner().invoke(app, ["plan", "--evaluations=1", "--json"]).stdout)
    assert (planned["schedule"], planned["evaluations"]) == ("shapes-64/learned/1", 1)


def test_the_version_is_told() -> None:
    ended = CliRunner().invoke(app, ["--version"])
    assert (ended.exit_code, ended.stdout) == (0, f"pacer {pacer.__version__}\n")


def test_more_evaluations_never_promise_less() -> None:
    means = []
    for evaluations in range(1, 41):
        planned = quote_locally(
            Settings(), Bounds(evaluations=evaluations), model=None, guidance_scale=None, schedule=None, solver=None,
            sigmas=None,
        )  # fmt: skip
        assert planned.evaluations <= evaluations
        assert planned.predicted_quality_db is not None
        means.append(planned.predicted_quality_db.mean)
    assert means == sorted(means)
    assert means[-1] > means[0] + 20


def test_a_contradiction_is_told_with_its_numbers() -> None:
    with pytest.raises(PacerError, match=r"take 12 at guidance_scale 1\.5, the budget says 11"):
        quote_locally(
            Settings(), Bounds(steps=6, evaluations=11), model=None, guidance_scale=1.5, schedule="uniform",
            solver=None, sigmas=None,
        )  # fmt: skip


def test_milliseconds_buy_what_a_worker_makes_of_them(speed: str) -> None:
    steps = []
    for milliseconds in (60, 125, 200):
        planned = told("plan", f"--latency-ms={milliseconds}", speed)
        assert planned["predicted_seconds"] <= milliseconds / 1000
        assert planned["predicted_seconds"] == pytest.approx(
            0.005 + 0.01 * planned["steps"] + 0.005 * planned["evaluations"]
        )
        steps.append(planned["steps"])
    assert steps == [2, 6, 9]
    shown = CliRunner().invoke(app, ["plan", "--steps=6", speed]).stdout
    assert "\nseconds      0.12, 95 of 100 such images " in shown


def test_the_speed_of_live_workers_counts_too(speed: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACER_REDIS_URL", redis_url)
    with connect(redis_url) as client:
        worker = WorkerQueue(client, Settings(), "shapes-64", "w1")
        worker.beat([])
        worker.publish_speed(SPEED)
    for asked in (("plan", "--latency-ms=125"), ("frontier",)):
        assert told(*asked, "--live") == told(*asked, speed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--latency-ms=100",), "--latency-ms: say what a worker takes, by --speed with a file or by --live"),
        (("--latency-ms=100", "--speed=absent.json"), "absent.json: No such file"),
        (("--latency-ms=100", "--live"), "say where it is by PACER_REDIS_URL"),
        (("--prompt= ",), "prompt: must not be empty"),
        (("--prompt=" + "red " * 99,), "prompt: shapes-64 reads at most"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert message in refused(capsys, monkeypatch, "plan", *arguments)


def test_milliseconds_that_no_schedule_keeps_are_told_with_what_it_takes(
    speed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refused(capsys, monkeypatch, "plan", "--steps=6", "--latency-ms=90", speed)
    assert "would take about 125 ms" in message


def test_a_floor_follows_from_the_prompt() -> None:
    floor = ("plan", "--min-psnr-db=40", "--kept-by=0.9")
    hard = told(*floor, "--prompt=a red circle on a white background")
    easy = told(*floor, "--prompt=four green stars on a gray background")
    assert easy["by_prompt"]
    assert hard["by_prompt"]
    assert easy["steps"] < hard["steps"]
    assert not told(*floor)["by_prompt"]


def test_the_frontier_is_what_each_number_of_evaluations_buys(speed: str) -> None:
    shown = told("frontier", speed)
    assert (shown["model"], shown["guidance_scale"]) == ("shapes-64", 1.5)
    means = [planned["predicted_quality_db"]["mean"] for planned in shown["data"]]
    assert means == sorted(set(means))
    for planned in shown["data"]:
        bought = told("plan", f"--evaluations={planned['evaluations']}", speed)
        assert (planned["schedule"], planned["predicted_seconds"]) == (bought["schedule"], bought["predicted_seconds"])


def test_the_frontier_has_a_line_for_each_schedule(
    speed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = CliRunner().invoke(app, ["frontier"]).stdout.splitlines()
    assert plain[0] == "shapes-64 at guidance_scale 1.5"
    assert plain[1].split() == ["evaluations", "steps", "PSNR", "dB", "schedule"]
    assert plain[2].split()[:2] == ["1", "1"]
    assert plain[2].endswith("shapes-64/learned/1")
    timed = CliRunner().invoke(app, ["frontier", speed]).stdout.splitlines()
    assert len(timed) == len(plain)
    assert timed[2].endswith("0.02     shapes-64/learned/1")
    unmeasured = CliRunner().invoke(app, ["frontier", "--guidance-scale=1"]).stdout
    assert unmeasured == "no schedule of shapes-64 was measured at guidance_scale 1\n"
    assert "must lie in" in refused(capsys, monkeypatch, "frontier", "--guidance-scale=99")
