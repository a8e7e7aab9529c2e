"""What is there when a process begins to serve is not looked at again and again."""

from __future__ import annotations

import gc

from pacer.garbage import spare_what_lasts


def test_what_is_there_is_passed_over_and_what_comes_is_not() -> None:
    before = [["there before"]]
    try:
        spare_what_lasts()
        after = [["came later"]]
        watched = {id(each) for each in gc.get_objects()}
        assert id(before) not in watched
        assert id(after) in watched
    finally:
        gc.unfreeze()
