import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.jobs.keys import model_of, new_job_id, queue_keys, slug_of

NAMES = st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9._]{0,10}(-[A-Za-z0-9._]+)?(/[A-Za-z0-9][A-Za-z0-9._]{0,10})?", fullmatch=True
)


@given(NAMES)
def test_an_id_tells_its_model(model):
    assert model_of(new_job_id(model)) == model


@given(st.text())
def test_whatever_is_no_model_is_refused(text):
    if not re.fullmatch(r"[A-Za-z0-9._/-]+", text):
        with pytest.raises(ValueError, match="model: must be"):
            slug_of(text)
        with pytest.raises(ValueError, match="job id: must be"):
            model_of(f"{'0' * 32}-{text}")


@pytest.mark.parametrize("model", ["", "a--b", "/a", "a/", "a//b", "-a", "a b", "a{b}", "a\n", "../x", "é"])
def test_a_model_that_would_not_come_back_from_its_slug_is_refused(model):
    with pytest.raises(ValueError, match="model: must be"):
        new_job_id(model)


def test_ids_rise_and_differ_also_between_threads():
    made = [[] for _ in range(4)]

    def make(mine):
        mine.extend(new_job_id("m") for _ in range(3000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({job_id for mine in made for job_id in mine}) == 12_000


def test_an_id_is_a_uuid_of_version_7_that_carries_the_time():
    digits, _, slug = new_job_id("org/model-1").partition("-")
    assert slug == "org--model-1"
    assert (len(digits), digits[12], digits[16] in "89ab") == (32, "7", True)
    assert abs(int(digits[:12], 16) - time.time() * 1000) < 5000


def test_all_keys_of_a_queue_share_one_hash_tag():
    keys = queue_keys("org/model")
    names = [*keys.for_scripts, keys.wake("p"), keys.job("x"), keys.events("x"), keys.image("x"), keys.ended("x")]
    assert {re.match(r"[^{]*\{([^}]*)\}", name)[1] for name in names} == {"q:org--model"}
    assert len(set(names)) == len(names)
