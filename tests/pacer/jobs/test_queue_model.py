"""The queue against a model of it: random sequences of everything that gateways, workers, zombies and time can do."""

import asyncio

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import connect, connect_async
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import TERMINAL, Job, Progress, Timings
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

MODEL = "shapes-64"
COST = 8 * 64 * 64
LIMIT = 6
ATTEMPTS = 3


class Turns:
    """Start-time fair queueing of owners whose jobs all cost the same, the first job of each first."""

    def __init__(self):
        self.owner: dict[str, str] = {}
        self.waiting: set[str] = set()
        self.tags: dict[str, float] = {}
        self.paid: set[str] = set()
        self.reset()

    def reset(self):
        self.virtual, self.idle = 0.0, {}

    def of(self, owner):
        return sorted(job_id for job_id in self.waiting if self.owner[job_id] == owner)

    def has_room(self, owner, count):
        others = len(self.tags.keys() - {owner})
        return len(self.waiting) + count <= LIMIT or len(self.of(owner)) + count <= LIMIT / (others + 1)

    def wait(self, job_id):
        owner = self.owner[job_id]
        self.waiting.add(job_id)
        if owner not in self.tags:
            self.tags[owner] = max(self.virtual, self.idle.pop(owner, 0.0))

    def leave(self, job_id):
        owner = self.owner[job_id]
        self.waiting.discard(job_id)
        if owner in self.tags and not self.of(owner):
            self.idle[owner] = self.tags.pop(owner)

    def take(self):
        self.virtual, owner = min((tag, owner) for owner, tag in self.tags.items())
        job_id = self.of(owner)[0]
        self.tags[owner] += 0 if job_id in self.paid else COST
        self.paid.add(job_id)
        self.leave(job_id)
        return job_id


class QueueMachine(RuleBasedStateMachine):
    """Holds what must be true of each job: state, attempt, who holds it."""

    owners: tuple[str, ...]
    url: str
    template: Job
    timings: Timings

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self):
        super().__init__()
        self.settings = Settings(queue_limit=LIMIT, max_attempts=ATTEMPTS, lease_s=600.0)
        self.client = connect(self.url)
        self.client.flushall()
        self.runner = asyncio.Runner()
        self.async_client = connect_async(self.url)
        self.store = JobStore(self.async_client, self.settings)
        self.turns = Turns()
        self.state: dict[str, str] = {}
        self.attempt: dict[str, int] = {}
        self.holder: dict[str, int] = {}
        self.lapsed: set[str] = set()
        self.delivered: dict[str, int] = {}
        self.fences: dict[str, list[int]] = {}

    def teardown(self):
        self.runner.run(self.async_client.aclose())
        self.runner.close()
        self.client.close()

    def queue(self, name="w"):
        return WorkerQueue(self.client, self.settings, MODEL, name)

    def waiting(self):
        return [job_id for job_id, state in self.state.items() if state == "queued"]

    def holds(self, claim):
        return self.state[claim.job.id] == "running" and self.holder[claim.job.id] == claim.fence

    def end(self, job_id, state):
        self.state[job_id] = state
        self.lapsed.discard(job_id)
        self.turns.wait(job_id) if state == "queued" else self.turns.leave(job_id)
        self.forget_turns_when_empty()

    def forget_turns_when_empty(self):
        if not {"queued", "running"} & set(self.state.values()):
            self.turns.reset()

    @rule(target=jobs, count=st.integers(1, 3), which=st.integers(0, 5))
    def submit(self, count, which):
        owner = self.owners[which % len(self.owners)]
        new = [msgspec.structs.replace(self.template, id=new_job_id(MODEL)) for _ in range(count)]
        submission = self.store.submit(new, predicted_s=None, owner=owner)
        if not self.turns.has_room(owner, count):
            with pytest.raises(PacerError) as caught:
                self.runner.run(submission)
            assert caught.value.kind is ErrorKind.queue_full
            assert caught.value.retry_after_s >= 1
            return multiple()
        self.runner.run(submission)
        for job in new:
            self.state[job.id], self.attempt[job.id], self.fences[job.id] = "queued", 0, []
            self.turns.owner[job.id] = owner
            self.turns.wait(job.id)
        return multiple(*(job.id for job in new))

    @rule(target=claims, count=st.integers(0, 4))
    def claim(self, count):
        for job_id in sorted(self.lapsed):
            self.end(job_id, "queued" if self.attempt[job_id] < ATTEMPTS else "failed")
        expected = [self.turns.take() for _ in range(min(count, len(self.waiting())))]
        if self.owners == ("everybody",):
            assert expected == sorted(self.waiting())[:count]
        got = self.queue().claim(count)
        assert [claim.job.id for claim in got] == expected
        for claim in got:
            job_id = claim.job.id
            self.attempt[job_id] += 1
            assert claim.attempt == self.attempt[job_id]
            assert claim.fence > max(self.fences[job_id], default=0)
            self.fences[job_id].append(claim.fence)
            self.state[job_id], self.holder[job_id] = "running", claim.fence
        return multiple(*got)

    @rule(job_id=jobs)
    def lapse(self, job_id):
        moved = self.client.zadd(f"{{q:{MODEL}}}:lease", {job_id: 1}, xx=True, ch=True)
        if moved:
            self.lapsed.add(job_id)

    @rule(claim=claims, step=st.integers(0, 4))
    def beat(self, claim, step):
        [verdict] = self.queue().beat([Progress(claim.job.id, claim.fence, step)]).values()
        job_id = claim.job.id
        last = self.fences[job_id][-1] == claim.fence
        if self.holds(claim):
            self.lapsed.discard(job_id)
            assert verdict == "ok"
        elif self.state[job_id] == "cancelled" and last and self.holder.get(job_id) == claim.fence:
            assert verdict == "cancelled"
        elif self.state[job_id] == "completed" and self.holder.get(job_id) == claim.fence:
            assert verdict == "ok"
        else:
            assert verdict == "fenced"

    @rule(claim=claims)
    def finish(self, claim):
        holds = self.holds(claim)
        again = self.state[claim.job.id] == "completed" and self.holder[claim.job.id] == claim.fence
        assert self.queue().finish(claim, b"image", self.timings) == (holds or again)
        if holds:
            self.end(claim.job.id, "completed")
            self.delivered[claim.job.id] = self.delivered.get(claim.job.id, 0) + 1

    @rule(claim=consumes(claims))
    def release(self, claim):
        holds = self.holds(claim)
        self.queue().release([claim])
        if holds:
            self.end(claim.job.id, "queued")
            self.attempt[claim.job.id] -= 1
            self.holder[claim.job.id] = -1

    @rule(claim=claims)
    def fail(self, claim):
        if self.holds(claim):
            assert self.queue().fail(claim, ErrorKind.not_finite, "Overflow.")
            self.end(claim.job.id, "failed")

    @rule(job_id=jobs)
    def cancel(self, job_id):
        unfinished = self.state[job_id] not in TERMINAL
        if unfinished:
            if self.state[job_id] == "queued":
                self.holder[job_id] = -1
            self.end(job_id, "cancelled")
        assert self.runner.run(self.store.cancel(job_id)) == (self.state[job_id], unfinished)

    @invariant()
    def every_job_is_where_the_model_has_it(self):
        for job_id, state in self.state.items():
            status = self.runner.run(self.store.status(job_id))
            assert (status.status, status.attempt) == (state, self.attempt[job_id])
        running = {job_id for job_id, state in self.state.items() if state == "running"}
        leased = {member.decode() for member in self.client.zrange(f"{{q:{MODEL}}}:lease", 0, -1)}
        assert leased == running
        assert self.runner.run(self.store.depth(MODEL)) == len(self.waiting())

    @invariant()
    def every_job_that_waits_waits_with_its_owner(self):
        def members(name):
            return {member.decode() for member in self.client.zrange(f"{{q:{MODEL}}}:{name}", 0, -1)}

        for owner in self.owners:
            assert members(f"of:{owner}") == set(self.turns.of(owner))
        assert members("pending") == set(self.waiting()) == self.turns.waiting
        assert members("active") == set(self.turns.tags)
        owed = {name.decode(): int(work) for name, work in self.client.hgetall(f"{{q:{MODEL}}}:owed").items()}
        assert owed == {owner: 8 * len(self.turns.of(owner)) for owner in self.turns.tags}

    @invariant()
    def the_work_before_the_workers_is_that_of_unfinished_jobs(self):
        counted = {"forwards": 0, "jobs": 0}
        for slot, number in self.client.hgetall(f"{{q:{MODEL}}}:work").items():
            counted["forwards" if slot[:1] in (b"d", b"b") else "jobs"] += int(number)
        unfinished = [job_id for job_id, state in self.state.items() if state not in TERMINAL]
        steps = [self.runner.run(self.store.status(job_id)).step for job_id in unfinished]
        assert counted == {"forwards": sum(2 * (4 - step) for step in steps), "jobs": sum(step < 4 for step in steps)}

    @invariant()
    def every_ended_job_has_one_last_event_and_it_is_the_last(self):
        for job_id, state in self.state.items():
            events = [e[1][b"kind"].decode() for e in self.client.xrange(f"{{q:{MODEL}}}:ev:{job_id}")]
            last = [kind for kind in events if kind in TERMINAL]
            assert last == ([state] if state in TERMINAL else [])
            assert not last or events[-1] == state
            assert self.delivered.get(job_id, 0) == (state == "completed")


@pytest.mark.parametrize("owners", [("everybody",), ("a", "b", "c")])
def test_the_queue_does_what_its_model_does(redis_url, make_job, timings, owners):
    given = {"url": redis_url, "template": make_job(), "timings": timings, "owners": owners}
    machine = type("Machine", (QueueMachine,), given)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
