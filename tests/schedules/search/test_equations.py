import numpy as np
import pytest

from schedules.search.normal_equations import Equations

MEASURED = Equations(np.diag([4.0, 2.0]), np.array([1.0, 1.0]))


def test_a_curvature_that_other_rounds_saw_is_scaled_to_this_ones_size() -> None:
    known = MEASURED.curved_as(MEASURED.curvature + np.array([[30.0, 12.0], [12.0, 24.0]]))
    assert np.trace(known.curvature) == pytest.approx(6.0)
    assert known.curvature[0, 1] == pytest.approx(12.0 / 10)
    assert (known.downhill == MEASURED.downhill).all()


def test_a_curvature_of_nothing_changes_nothing() -> None:
    assert MEASURED.curved_as(np.zeros((2, 2))) is MEASURED
