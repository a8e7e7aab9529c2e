"""Commands that only read the registry answer at once: torch takes seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys
from pacer.settings import Settings
from workers.lab.cli import main
try:
    code = main(Settings(), {arguments!r})
finally:
    print("loaded" if "torch" in sys.modules else "spared", file=sys.stderr)
sys.exit(code)
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = _RUN.format(arguments=arguments)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("export", "shapes-64/euler/6", "--to", "json"),
        ("show", "shapes-64/learned/6", "--no-teacher", "--out", "six.png"),
    ],
)
def test_what_reads_the_registry_alone_does_without_torch(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "spared"
    assert done.stdout


def test_every_command_is_found_and_says_what_it_does(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    named = {line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()}
    assert named >= {"list", "show", "export", "search", "bench", "verify", "measure", "prompts", "splices"}


def test_an_unknown_command_is_refused_at_once(tmp_path: Path) -> None:
    done = run("nonsense", folder=tmp_path)
    assert done.returncode != 0
    assert "No such command 'nonsense'" in done.stderr
    assert "spared" in done.stderr.splitlines()
