"""Traces as CSV: what is written is read; what is wrong is told by its line."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.budget_request import BudgetRequest
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.trace_file import COLUMNS, TraceError, read_trace, write_trace
from pacer.models import load

CARD = load("shapes-64")
CARDS = {CARD.id: CARD}


def read(text: str) -> tuple[Asked, ...]:
    return read_trace(io.StringIO(text), CARDS, 100)


def request(**budget: object) -> BudgetRequest:
    width, height = CARD.default_size
    return replace(BudgetRequest(card=CARD, guidance_scale=CARD.guidance_scale, width=width, height=height), **budget)


def test_a_cell_is_a_field_and_an_empty_one_says_nothing() -> None:
    first, second, third = read(
        "at,model,steps,latency_ms,min_steps,max_steps,min_quality,guidance_scale\n"
        "0.5,shapes-64,8,,,,,\n"
        "\n"
        "0.5, ,,1500,4,20,,1\n"
        "2,,,,,,0.97,\n"
    )
    assert first == Asked(0.5, request(steps=8))
    assert second == Asked(0.5, request(latency_s=1.5, min_steps=4, max_steps=20, guidance_scale=1.0))
    assert third == Asked(2.0, request(min_quality=0.97))


budgets = st.one_of(
    st.fixed_dictionaries({"steps": st.integers(1, 100)}),
    st.fixed_dictionaries({"min_steps": st.integers(1, 9), "max_steps": st.integers(9, 100)}),
    st.fixed_dictionaries({"evaluations": st.integers(1, 500), "min_psnr_db": st.integers(1, 60).map(float)}),
    st.fixed_dictionaries({"min_quality": st.integers(1, 1000).map(lambda n: n / 1000)}),
)
deadlines = st.one_of(st.none(), st.integers(1, 10**6).map(lambda ms: ms / 1000))


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), budgets, deadlines, st.sampled_from([1.0, 2.5, CARD.guidance_scale])),
        min_size=1,
    )
)
def test_what_is_written_is_read(drawn: list[tuple[int, dict[str, float], float | None, float]]) -> None:
    trace = tuple(
        Asked(at / 1e6, request(**budget, latency_s=due, guidance_scale=scale))
        for at, budget, due, scale in sorted(drawn, key=lambda one: one[0])
    )
    file = io.StringIO()
    write_trace(file, trace)
    assert read(file.getvalue()) == trace


def test_columns_that_nobody_uses_are_not_written() -> None:
    file = io.StringIO()
    write_trace(file, (Asked(0.0, request(steps=8)),))
    assert file.getvalue() == "at,model,steps\n0.000000,shapes-64,8\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the trace is empty"),
        ("at,steps\n", "a header and no request"),
        ("steps\n8\n", "line 1: column 'at' is missing"),
        ("at,prompt\n0,a\n", "line 1: no column 'prompt'; there are at, model"),
        ("at,steps,steps\n0,8,8\n", "line 1: column 'steps' is there 2 times"),
        ("at,steps\n0,8\n1\n", "line 3: has 1 cells, the header 2"),
        ("at,steps\n0,8\n1,8,9\n", "line 3: has 3 cells, the header 2"),
        ("at\nsoon\n", "line 2: at: must be a number, is 'soon'"),
        ("at,steps\n,8\n", "line 2: at: must be seconds, 0 or more, is missing"),
        ("at\n-1\n", "line 2: at: must be seconds, 0 or more, is -1"),
        ("at\nnan\n", "line 2: at: must be a number, is 'nan'"),
        ("at\n2\n1.5\n", "line 3: at: must not fall; is 1.5 after 2"),
        ("at,steps\n0,8.5\n", "line 2: steps: must be a whole number, is '8.5'"),
        ("at,steps\n0,1_0\n", "line 2: steps: must be a whole number, is '1_0'"),
        ("at,steps\n0,101\n", "line 2: steps: steps must lie in 1 to 100, is 101"),
        ("at,latency_ms\n0,0\n", "line 2: latency_ms: must be above 0, is 0"),
        ("at,min_steps,max_steps\n0,9,8\n", "line 2: min_steps: 9 is more than max_steps, 8"),
        ("at,min_quality\n0,1.5\n", "line 2: min_quality: must be above 0 and at most 1, is 1.5"),
        ("at,guidance_scale\n0,0.5\n", "line 2: guidance_scale: must lie in 1 to"),
        ("at,model\n0,dall-e\n", "line 2: model 'dall-e' is not served here; served: shapes-64"),
        ('at\n"0\n', "this is no CSV"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(text: str, told: str) -> None:
    with pytest.raises(TraceError) as raised:
        read(text)
    assert told in str(raised.value)


def test_every_column_is_a_field_of_the_api_or_the_time() -> None:
    from app.schemas.budget import Budget
    from app.schemas.requests import PlanFields

    known = {"at", *Budget.model_fields, *PlanFields.model_fields}
    assert set(COLUMNS) <= known
