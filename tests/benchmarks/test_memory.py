"""The benchmark of memory: what it calls a peak, and one small run of the real thing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.memory.peak import print_taken

ROOT = Path(__file__).parents[2]


def fill(mib: int) -> list[tuple[int, int]]:
    torch.ones(mib, 2**20, dtype=torch.uint8)
    return [(8, 8)]


def test_a_peak_is_that_of_the_drawing_not_of_what_was_before(capsys: pytest.CaptureFixture[str]) -> None:
    fill(600)
    print_taken(torch.device("cpu"), lambda: fill(200))
    taken = json.loads(capsys.readouterr().out)
    assert taken["peak_mib"] - taken["loaded_mib"] == pytest.approx(200, abs=20)
    assert taken["sizes"] == [[8, 8]]


def test_a_small_run_measures_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    options = ["--batch", "2", "--steps", "2", "--repeats", "1", "--device", "cpu", "--json", str(path)]
    command = [sys.executable, "-m", "benchmarks.memory", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(path.read_text())["models"]["shapes-64"]
    assert (told["batch"], told["size"]) == (2, [64, 64])
    (engine,), (stock,) = told["runs"]["engine"], told["runs"]["stock"]
    assert 0 < stock["loaded_mib"] < stock["peak_mib"]
    assert told["engine_to_stock"]["peak"] == engine["peak_mib"] / stock["peak_mib"]
