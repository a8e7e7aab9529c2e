"""Logs: what went wrong, without what callers entrusted to us."""

import subprocess
import sys

import pytest

SCRIPT = """
import structlog
from app import logs
from pacer.settings import Settings

logs.configure(Settings(log_format={form!r}))

def inner(credentials, depth):
    return inner(credentials, depth - 1) if depth else {{}}["missing"]

try:
    inner("SECRETKEY123", 30)
except KeyError:
    structlog.get_logger().exception("unhandled")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_names_the_fault_and_no_variable(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(form=form)], capture_output=True, text=True, check=True)
    assert "KeyError: 'missing'" in done.stderr
    assert "SECRETKEY123" not in done.stderr.replace('inner("SECRETKEY123", 30)', "")
    assert len(done.stderr) < 5_000
