import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.compile import SOLVERS, compile_table
from schedules.grids import uniform
from schedules.published import PublishedError, names, published, published_table, tables
from schedules.published.convert import multistep_table, stretched
from schedules.search.analytic import gaussian_mixture, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.rollout import roll_out
from schedules.search.teacher import run_teacher

OSS_FLUX = [0.9968, 0.9886, 0.9819, 0.975, 0.966, 0.9471, 0.9158, 0.8287, 0.5512, 0.2808, 0.0]
AYS_SDXL = [14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141, 0.5550693289]
GITS_120_4 = [14.61464119, 2.36326075, 0.92192322, 0.36617002, 0.02916753]
STRETCHED = [name for name in names() if name != "neural-solver"]


def test_all_families_are_there():
    assert {"oss-flux", "oss-wan", "oss-chroma", "ays-sd1", "ays-sdxl", "ays-svd", "neural-solver"} < set(names())
    assert tables("gits-1.15").budgets == tuple(range(2, 21))
    assert sum(len(tables(name).levels) for name in names() if name.startswith("gits-") and name[5].isdigit()) == 285
    assert tables("gits-ld3-ipndm").budgets == tuple(range(3, 12))


@pytest.mark.parametrize("name", names())
def test_family_says_where_it_is_from_and_is_well_formed(name):
    family = tables(name)
    assert family.name == name
    assert family.model
    assert family.validity
    assert all(source["repository"].count("/") == 1 for source in family.sources)
    assert family.solver in SOLVERS or (
        family.solver == "learned" and family.coefficients.keys() == family.levels.keys()
    )
    for steps, levels in family.levels.items():
        assert levels.shape == (steps + 1,)
        assert (np.diff(levels) < 0).all()
        assert levels[0] <= 1.0 or family.space == "ve"
        assert [len(row) for row in family.coefficients.get(steps, ())] in ([], list(range(steps)))


def test_flow_table_is_taken_as_it_was_published():
    grid = published("oss-flux", 10)
    assert grid.sigmas.tolist() == OSS_FLUX
    assert grid.native
    assert tables("oss-flux").levels[10][-1] == 0.001


def test_ratios_of_noise_to_data_become_flow_sigmas():
    sigmas = published("ays-sdxl", 10).sigmas
    np.testing.assert_allclose(sigmas[:7] / (1 - sigmas[:7]), AYS_SDXL, rtol=1e-12)
    assert sigmas[-1] == 0.0
    np.testing.assert_allclose(tables("gits-1.20").levels[4], GITS_120_4)


def test_missing_budget_is_the_nearest_table_stretched_log_linearly():
    grid = published("ays-sdxl", 5)
    assert (grid.native, grid.of) == (False, 10)
    np.testing.assert_allclose(grid.sigmas[:-1], published("ays-sdxl", 10).sigmas[:-1:2], rtol=1e-12)
    twenty = published("ays-sdxl", 20).sigmas
    ratios = twenty / (1 - twenty)
    assert ratios[1] == pytest.approx(np.sqrt(AYS_SDXL[0] * AYS_SDXL[1]))
    assert published("gits-1.20", 1).of == 2
    assert published("gits-1.20", 25).of == 20


@pytest.mark.parametrize("name", STRETCHED)
@given(steps=st.integers(1, 60))
def test_grid_falls_strictly_to_0(name, steps):
    grid = published(name, steps)
    assert grid.sigmas.shape == (steps + 1,)
    assert 0.9 < grid.sigmas[0] <= 1
    assert grid.sigmas[-1] == 0.0
    assert (np.diff(grid.sigmas) < 0).all()
    assert grid.native == (steps in tables(name).budgets)


@given(steps=st.integers(1, 30), ends=st.tuples(st.floats(1, 100), st.floats(1e-3, 0.5)))
def test_stretching_keeps_ends_and_geometric_levels(steps, ends):
    there = stretched(np.geomspace(*ends, 11), steps)
    np.testing.assert_allclose(there, np.geomspace(*ends, steps + 1), rtol=1e-9)


def test_start_can_be_moved_to_pure_noise():
    moved, plain = published("ays-sd1", 10, start=1.0).sigmas, published("ays-sd1", 10).sigmas
    assert moved[0] == 1.0
    assert plain[0] == pytest.approx(0.93596, abs=1e-5)
    np.testing.assert_array_equal(moved[1:], plain[1:])


def test_published_levels_cannot_be_changed_through_a_grid():
    published("oss-wan", 20).sigmas[0] = 0.5
    assert published("oss-wan", 20).sigmas[0] == 1.0


def test_learned_table_is_the_published_multistep_update():
    table = published_table("neural-solver", 5)
    np.testing.assert_allclose(table.t, [1000, 947.9, 800.4, 589, 309.3], atol=1e-9)
    np.testing.assert_allclose(table.X[1, :2], [1, -0.0521], atol=1e-12)
    # the second step: -1.26 of the first velocity, 2.26 of the second
    np.testing.assert_allclose(table.X[2, :3], [1, -0.0521 + 0.1475 * 1.26, -0.1475 * 2.26], atol=1e-12)
    # the third: 1.38, -2.26 and 1.88
    np.testing.assert_allclose(table.X[3, 1:4] - table.X[2, 1:4], -0.2114 * np.array([1.38, -2.26, 1.88]), atol=1e-12)


@pytest.mark.parametrize("steps", [5, 6, 7, 8, 9, 10, 15])
def test_learned_table_is_exact_for_a_constant_velocity(steps):
    np.testing.assert_allclose(
        published_table("neural-solver", steps).X[:, 1:].sum(1), published("neural-solver", steps).sigmas - 1
    )


@given(st.integers(1, 8))
def test_multistep_table_without_coefficients_is_euler(steps):
    euler = compile_table("euler", uniform(steps), "flow")
    assert (
        multistep_table(uniform(steps), tuple(np.zeros(i) for i in range(steps))).difference(euler, tolerance=1e-14)
        is None
    )


def test_formula_solver_is_the_familys_unless_another_is_asked_for():
    sigmas = published("ays-sd1", 6, start=1.0).sigmas
    for solver, made in ((None, "dpmpp-2m"), ("euler", "euler")):
        table = published_table("ays-sd1", 6, solver=solver, start=1.0)
        assert table.difference(compile_table(made, sigmas, "flow")) is None


def test_learned_table_beats_euler_on_a_flow_it_never_saw():
    problem = mixture_problem(gaussian_mixture(seed=3), 128, seed_offset=10_000)
    final = run_teacher(problem, 96, nodes=1).final
    for steps in (6, 8, 10):
        errors = [
            pooled_error(roll_out(problem, table).final, final, log=True)
            for table in (published_table("neural-solver", steps), compile_table("euler", uniform(steps), "flow"))
        ]
        assert errors[0] < errors[1]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: published("oss-sd3", 10), "name: must be one of .*oss-wan.*, is 'oss-sd3'"),
        (lambda: published("oss-flux", 0), "steps: must be from 1 to 1000, is 0"),
        (lambda: published("neural-solver", 12), "cannot be stretched; must be one of 5, 6, 7, 8, 9, 10, 15"),
        (lambda: published("oss-flux", 10, start=0.9), r"start: must be > 0.9886 \(the next level\) and <= 1, is 0.9"),
        (lambda: published("oss-flux", 10, start=1.1), "start: must be"),
        (lambda: published_table("neural-solver", 6, solver="euler"), "neither can be chosen"),
    ],
)
def test_bad_request_is_refused_by_name(ask, message):
    with pytest.raises(PublishedError, match=message):
        ask()


def test_tables_need_no_network_library():
    code = "import sys, schedules.published as p; p.published('oss-flux', 8); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
