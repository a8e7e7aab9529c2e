"""Every route against its own description: whatever it allows must be taken, whatever it forbids refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx2
from stand_in_worker import StandInWorker

# A JSON schema cannot say that two budgets contradict each other, or that an id is unknown: such refusals are right.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 404, 409, 422]
"""


def test_the_document_refers_only_to_what_it_defines(client: httpx2.Client) -> None:
    text = client.get("/openapi.json").text
    document = json.loads(text)
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert {"Problem", "OpenAIError", "ImagesRequest"} <= referred
    assert referred <= set(document["components"]["schemas"])


def test_every_route_keeps_its_promises(gateway: str, worker: StandInWorker, tmp_path: Path) -> None:
    (tmp_path / "fuzz.toml").write_text(CONFIGURATION)
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", "fuzz.toml", "run", f"{gateway}/openapi.json",
        "--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--seed", "1",
        "--generation-database", "none", "--request-timeout", "10", "--suppress-health-check", "all", "--no-color",
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Tested: 16" in ended.stdout
