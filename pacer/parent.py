"""The end of a process whose parent is gone, however the parent went."""

from __future__ import annotations

import os
import signal
import threading
import time

STOP_WITH_PARENT = "PACER_STOP_WITH_PARENT"
"""Environment variable that asks a child to end when the parent, whose process id it holds, is gone for any reason."""

_CHECK_S = 1.0


def end_with_parent() -> None:
    """In a child that was asked for it: get SIGTERM as soon as the parent is gone, also when it is gone already.

    To be called before anything that takes long, so that a child whose parent dies meanwhile does not go on loading.

    Raises:
        ValueError: what the environment holds is no process id.
    """
    asked = os.environ.get(STOP_WITH_PARENT)
    if not asked:
        return
    if not asked.isdecimal():
        raise ValueError(f"{STOP_WITH_PARENT} must be the parent's process id, is {asked!r}")
    # Not what getppid says now: a parent that died while this process was loading is somebody else by then.
    parent = int(asked)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_CHECK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
