"""What the import rules in pyproject.toml rest on."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_every_module_of_schedules_is_under_the_rule_or_excepted_by_name():
    rule = next(each for each in CONTRACTS if each["name"].startswith("schedules loads a network library"))
    there = {
        f"schedules.{path.stem}"
        for path in (ROOT / "schedules").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    assert set(rule["source_modules"]) == there - {"schedules.probe", "schedules.search"}


def test_the_gateway_runs_without_a_network_library():
    code = (
        "import sys; sys.modules.update(torch=None, diffusers=None, transformers=None);"
        "import app.main, app.cli, app.up, schedules.registry, pacer.jobs.store, pacer.control.planner"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60)
