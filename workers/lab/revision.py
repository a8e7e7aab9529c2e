"""Which code made a result."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def commit() -> str:
    """The checkout's commit, with "-dirty" where files differ from it; the package's version outside a checkout."""
    try:
        _git("ls-files", "--error-unmatch", __file__)  # not the repository of somebody who only installed it there
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return package_version()


def _git(*arguments: str) -> str:
    here, command = Path(__file__).parent, ["git", *arguments]
    return subprocess.check_output(command, cwd=here, text=True, stderr=subprocess.DEVNULL).strip()  # noqa: S603 - fixed


def package_version() -> str:
    """The installed package's version; "unpacked" where it is not installed."""
    try:
        return version("pacer")
    except PackageNotFoundError:
        return "unpacked"


def code_version() -> str:
    """The package's version, and the commit where there is one."""
    made, number = commit(), package_version()
    return number if made == number else f"{number}+{made}"
