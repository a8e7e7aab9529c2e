"""When an idle worker measures itself anew: soon at first, then ever more seldom."""

from __future__ import annotations

_FIRST_S, _LONGEST_S = 1.0, 16.0


class IdleClock:
    """Tells when it is time.

    What was measured while the host was slow is slow until something is drawn, and nothing is drawn as long as every
    deadline is refused for it.
    """

    def __init__(self) -> None:
        self._wait_s = _FIRST_S
        self._due_s: float | None = None  # None while there is work

    def is_due(self, now_s: float, *, idle: bool) -> bool:
        """Whether to measure now; twice as long after each time, from a second after the last work on.

        Args:
            now_s: the time now.
            idle: whether there is nothing to do.
        """
        if not idle:
            self._wait_s, self._due_s = _FIRST_S, None
            return False
        if self._due_s is None:
            self._due_s = now_s + self._wait_s
        if now_s < self._due_s:
            return False
        self._wait_s = min(2 * self._wait_s, _LONGEST_S)
        self._due_s = now_s + self._wait_s
        return True
