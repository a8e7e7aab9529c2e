"""The memory of a process tree."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

_EVERY_S = 1.0
_MIB = 2**20


class Peak:
    """The most memory that a process tree had at once, in MiB: PSS where the system tells it, otherwise RSS."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._stopping = threading.Event()
        self.mib = 0.0

    def look(self) -> None:
        """Look once."""
        self.mib = max(self.mib, tree_bytes(self._root) / _MIB)

    def watch(self) -> None:
        """Look every second until told to stop."""
        while not self._stopping.wait(_EVERY_S):
            self.look()

    def stop(self) -> None:
        """End the watching."""
        self._stopping.set()


@contextmanager
def watched(root: psutil.Process) -> Iterator[Peak]:
    """Watch a process tree on a thread, for as long as the context lasts."""
    peak = Peak(root)
    peak.look()
    thread = threading.Thread(target=peak.watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        peak.stop()
        thread.join()


def tree(root: psutil.Process) -> list[psutil.Process]:
    """A process and all that came of it, as far as they live."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_bytes(root: psutil.Process) -> int:
    """Memory of a process tree now."""
    total = 0
    for process in tree(root):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
    return total
