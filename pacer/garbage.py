"""What a process has loaded by the time it begins to serve lasts as long as the process does."""

from __future__ import annotations

import gc


def spare_what_lasts() -> None:
    """Let the garbage collector pass over all that is there now; call it when everything is loaded.

    A whole collection looks at every object, those of the libraries too: in a worker with torch and diffusers that
    takes 0.3 s, in the midst of a picture, whenever enough objects have come and gone.
    """
    gc.collect()
    gc.freeze()
