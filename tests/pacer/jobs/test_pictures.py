"""What a job starts from lies beside it in the store, for as long as somebody may draw it."""

import asyncio

import msgspec
import pytest

from pacer.errors import ErrorKind
from pacer.jobs.messages import Job, PictureFiles, PictureInput, TableMessage
from schedules.compile import compile_from_image

FILES = PictureFiles(bytes(range(256)) * 40, b"mask")
SAID = PictureInput(64, 48, "alpha", resize=True, strength=0.4)


@pytest.fixture
def pictured(make_job):
    table = TableMessage.of(compile_from_image("ab2", [0.7, 0.4, 0.1, 0.0], "flow", masked=True))
    return lambda: msgspec.structs.replace(make_job(steps=3), picture=SAID, table=table)


async def test_files_come_with_the_claim_and_not_in_the_job(store, pictured, worker, client):
    jobs = [pictured(), pictured()]
    await store.submit(jobs, predicted_s=None, picture=FILES)
    claims = worker().claim(2)
    assert [(claim.job, claim.picture) for claim in claims] == [(job, FILES) for job in jobs]
    spec = client.hget(f"{{q:shapes-64}}:job:{jobs[0].id}", "spec")
    assert FILES.image not in spec
    assert msgspec.msgpack.decode(spec, type=Job) == jobs[0]


async def test_a_job_without_files_has_none(store, make_job, worker, client):
    job = make_job()
    await store.submit([job], predicted_s=None)
    assert worker().claim(1)[0].picture is None
    assert not client.hexists(f"{{q:shapes-64}}:job:{job.id}", "picture")


async def test_whoever_draws_after_a_lost_worker_has_the_files_too(store, pictured, worker, lapse):
    job = pictured()
    await store.submit([job], predicted_s=None, picture=FILES)
    [claim] = worker("lost").claim(1)
    lapse(job.id)
    [second] = worker("heir").claim(1)
    assert (second.attempt, second.picture) == (2, FILES)
    worker("heir").release([second])
    assert worker("next").claim(1)[0].picture == FILES
    assert claim.picture == FILES


@pytest.mark.parametrize("end", ["finish", "fail", "cancel queued", "cancel running", "attempts", "expire"])
async def test_files_go_when_the_job_ends(store, pictured, worker, client, timings, lapse, end):
    job = msgspec.structs.replace(pictured(), deadline_s=0.01 if end == "expire" else None)
    await store.submit([job], predicted_s=None, picture=FILES)
    key = f"{{q:shapes-64}}:job:{job.id}"
    assert client.hexists(key, "picture")
    if end == "expire":
        await asyncio.sleep(0.02)
        assert worker().claim(1) == []
    elif end == "cancel queued":
        await store.cancel(job.id)
    else:
        [claim] = worker(max_attempts=1).claim(1)
        if end == "finish":
            assert worker().finish(claim, b"image", timings)
        elif end == "fail":
            assert worker().fail(claim, ErrorKind.invalid_request, "image: cannot be decoded")
        elif end == "cancel running":
            await store.cancel(job.id)
        else:
            lapse(job.id)
            assert worker(max_attempts=1).claim(1) == []
    assert (await store.status(job.id)).status in {"completed", "failed", "cancelled", "expired"}
    assert not client.hexists(key, "picture")
    assert not client.hexists(key, "spec")


def test_a_table_with_blends_survives_the_wire(pictured):
    table = compile_from_image("unipc-2", [0.7, 0.4, 0.1, 0.0], "flow", masked=True)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(TableMessage.of(table)), type=TableMessage).table()
    assert again.difference(table) is None
    plain = compile_from_image("unipc-2", [0.7, 0.4, 0.1, 0.0], "flow")
    assert TableMessage.of(plain).table().difference(plain) is None
    assert plain.difference(table) is not None
