"""Plans made anew while their jobs are under way, as a worker makes them."""

from __future__ import annotations

from pacer.control.load import Load
from pacer.control.simulation.queue import SimulatedJob, SimulatedQueue
from pacer.control.ways import Ways


class SimulatedReplanner:
    """What the load is, is known at each turn; at most one job is planned anew in it.

    Args:
        ways: to go on.
        degrade_at: as the gateway's planner has it.
        queue: told what jobs still need.
    """

    def __init__(self, ways: Ways, degrade_at: float, queue: SimulatedQueue) -> None:
        self._ways = ways
        self._degrade_at = degrade_at
        self._queue = queue
        self._load: Load | None = None

    def read(self, load: Load) -> None:
        """See how the load is."""
        self._load = load

    def changes(self, job: SimulatedJob, done: int, now_s: float) -> bool:
        """Whether a job goes on by another plan; it is noted in the job.

        Args:
            job: that goes on; what waited for a short time only is not looked at before it begins.
            done: evaluations behind it.
            now_s: the time now.
        """
        load, going = self._load, job.going
        if load is None or going is None:
            return False
        due_s = job.submitted_s + going.allowed_s - now_s
        found = self._ways.another(going, load, done=done, due_s=due_s, degrade_at=self._degrade_at)
        if found is None:
            return False
        plan, chosen = found
        job.go_on(plan, chosen.table, chosen.way.rows)
        self._queue.set_left(job, chosen.way.left(done)[1])
        self._load = None
        return True
