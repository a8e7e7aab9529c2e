"""Models named by a hub id: owner/name, or owner/name@revision, and where they lie once they are downloaded.

Reads the cache that `hf download` and diffusers write, with the environment's HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME;
never the network, and no library of the hub: the gateway needs no more than a few configuration files.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_HUB_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w.][\w./-]*))?")
_YES = {"1", "on", "yes", "true"}


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository of the hub; revision is a branch, a tag or a commit, None is its main branch."""

    repo: str
    revision: str | None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"

    @property
    def cached_commit(self) -> str | None:
        """The commit in the cache that the revision stands for, None where there is none."""
        home = cache_folder() / f"models--{self.repo.replace('/', '--')}"
        revision = self.revision or "main"
        if ".." in revision.split("/"):
            return None
        ref = home / "refs" / revision
        commit = ref.read_text().strip() if ref.is_file() else revision
        return commit if (home / "snapshots" / commit).is_dir() else None

    @property
    def snapshot(self) -> Path | None:
        """The folder of the cached revision, None where it was never downloaded."""
        commit = self.cached_commit
        if commit is None:
            return None
        return cache_folder() / f"models--{self.repo.replace('/', '--')}" / "snapshots" / commit


def hub_name(name: str) -> HubName | None:
    """Read a hub id; None where a name is not one."""
    found = _HUB_NAME.fullmatch(name)
    return None if found is None else HubName(found["repo"], found["revision"])


def cache_folder() -> Path:
    """Where downloaded models lie, as the hub's own library decides it."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in _YES
