"""What is freed between two calls is there for the next one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_CALLS = """
import resource, sys
import torch
from workers.heap import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept" and not keep_freed_memory(torch.device("cpu")):
    sys.exit(3)
def call():
    blocks = [torch.ones(2_000_000) for _ in range(8)]
    return sum(float(block[0]) for block in blocks)
for _ in range(3):
    call()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    call()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    # Whether glibc gives a block back by itself depends on what else lies in the heap; so it always does.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", _CALLS, how], capture_output=True, text=True, check=False, env=env)
    if done.returncode == 3:
        pytest.skip("the C library is not glibc, whose allocator is what is set")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_pages_are_not_asked_for_again_at_every_call() -> None:
    """Eight blocks of 8 MB are some 15,600 pages a call; kept, they are asked for once."""
    assert _faults("kept") < 0.05 * _faults("given back")
