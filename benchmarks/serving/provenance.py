"""What was measured, and on what."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.serving.process import ROOT

_PACKAGES = ("torch", "diffusers", "transformers", "fastapi", "uvicorn", "litserve", "ray")
_OWN_RESULTS = ":!benchmarks/results"  # what a measurement itself writes makes no other code of it
_ASK = """
import importlib.metadata, json, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def commit() -> str:
    """The commit measured, marked where the working tree differs from it."""
    name = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", _OWN_RESULTS)
    return f"{name or 'unknown'}{'-dirty' if changed else ''}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def hardware() -> str:
    """What computes, in words."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def versions(python: str) -> dict[str, str]:
    """The packages that matter, as an interpreter has them, and the interpreter's own version."""
    told = subprocess.run([python, "-c", _ASK, *_PACKAGES], capture_output=True, text=True, check=True).stdout
    own = platform.python_version() if python == sys.executable else _python(python)
    return {"python": own, **{name: version for name, version in json.loads(told).items() if version is not None}}


def _python(python: str) -> str:
    ask = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
