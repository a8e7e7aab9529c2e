"""The commands of README.md and docs/ do what they say: each bash and python block is run against a whole system.

Only blocks that are fenced as bash or python are run; `make demo`, `make up` and `make test` stand in indented blocks.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ADVERTISED = "http://127.0.0.1:8000"

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("live")]


def fenced(page: Path) -> list[tuple[str, str]]:
    """Language and code of each block."""
    return re.findall(r"^```(bash|python)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[object]:
    for page in PAGES:
        for index, (language, code) in enumerate(fenced(page)):
            yield pytest.param(language, code, id=f"{page.name}-{language}-{index}")


def run_block(language: str, code: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [*command, code.replace(ADVERTISED, url)],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_pages_ask_no_more_of_curl_than_old_ones_have():
    codes = [code for page in PAGES for _, code in fenced(page)]
    assert not [code for code in codes if "curl" in code and "--json" in code]  # curl 7.82 brought it


@pytest.mark.parametrize(("language", "code"), list(blocks()))
def test_block_runs(language, code, live_url, tmp_path):
    done = run_block(language, code, live_url, tmp_path)
    assert done.returncode == 0, done.stderr
    pictures = re.findall(r"[\w-]+\.png", code)
    assert done.stdout or pictures
    for name in pictures:
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (64, 64)


def test_event_block_ends_with_the_picture_done(live_url, tmp_path):
    code = next(code for _, code in fenced(ROOT / "README.md") if "/events" in code)
    events = re.findall(r"^event: (\w+)$", run_block("bash", code, live_url, tmp_path).stdout, re.MULTILINE)
    assert events[:2] == ["queued", "started"]
    assert "step" in events
    assert events[-1] == "completed"


def test_readme_advertises_the_commands():
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([\w-]+)", text))
    assert {"demo", "up", "test"} <= named <= targets
