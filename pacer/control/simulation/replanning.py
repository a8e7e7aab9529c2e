"""Plans made anew while their jobs are under way, as a worker makes them."""

from __future__ import annotations

from pacer.control.load import Load
from pacer.control.replan import SETTLED_S, Underway, another_way
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
        load, offer = self._load, job.offer
        if load is None or offer is None or job.allowed_s is None or job.deadline_s is None:
            return False
        if not done and now_s - job.submitted_s < SETTLED_S:
            return False
        ways = self._ways.of(offer.plan, offer.table, offer.scale, done)
        if ways is None:
            return False
        own, others = ways
        request = Underway(own.way, done, job.deadline_s - now_s, job.allowed_s, offer.leeway)
        way = another_way(request, [each.way for each in others], load, degrade_at=self._degrade_at)
        chosen = next((each for each in others if each.way is way), None)
        if chosen is None:
            return False
        job.go_on(chosen.plan(offer.plan, done), chosen.table, chosen.way.rows)
        self._queue.set_left(job, chosen.way.left(done)[1])
        self._load = None
        return True
