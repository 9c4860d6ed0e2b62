"""What follows from an answer: what time may mend is not given up, and no stranger is believed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.client.answers import LONGEST_PAUSE, Again, AllRefused, Follows, Problem, Split, Taken, follows
from lossloop.client.connection import Answer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def after(status: int, body: Any, rows: int = 3, **headers: str) -> Follows:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return follows(Answer(status=status, headers=named, body=raw), rows, now=NOW)


def problem(status: int, **more: Any) -> dict[str, Any]:
    return {"type": "about:blank", "status": status, "detail": "no", **more}


@pytest.mark.parametrize("body", [{"accepted": 3}, {"predictions": []}, {"accepted": 2, "more": 1}])
def test_what_the_server_has_is_taken(body: dict[str, Any]) -> None:
    assert after(200, body) == Taken(refused={})


@pytest.mark.parametrize("status", [200, 204, 404, 502])
@pytest.mark.parametrize(
    "body", [b"", b"<html>Sign in</html>", b"[]", b'{"ok":true}', b"\xff", b'{"detail":"x"}']
)
def test_a_strangers_answer_is_none(status: int, body: bytes) -> None:
    """A proxy that says 200, or 404, has not taken a row nor refused one."""
    found = after(status, body)
    assert isinstance(found, Again)
    assert found.reason == f"{status} without a word of Lossloop's; is it a Lossloop server?"


def test_the_limit_of_a_proxy_is_a_limit() -> None:
    found = after(413, b"<html>Too large</html>")
    assert isinstance(found, Split)
    assert found.problem.status == 413
    assert after(503, b"<html>", Retry_After="7") == Again(
        reason="503 without a word of Lossloop's; is it a Lossloop server?", after=7.0
    )


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_bad_rows_are_refused_and_the_others_taken(status: int) -> None:
    errors = [{"row": 1, "field": "y_pred", "detail": "bad"}, {"row": 2}]
    assert after(status, problem(status, errors=errors)) == Taken(
        refused={
            1: Problem(status=status, detail="bad", field="y_pred"),
            2: Problem(status=status, detail="refused"),
        }
    )


@pytest.mark.parametrize(
    "errors", [[], None, "x", [7], [{"row": 3}], [{"row": -1}], [{"row": None}], [{"row": "1"}], [{}]]
)
def test_errors_that_name_no_row_of_ours_concern_the_whole(errors: Any) -> None:
    assert after(422, problem(422, errors=errors)) == Split(problem=Problem(status=422, detail="no"))
    assert after(404, problem(404, errors=errors)) == AllRefused(problem=Problem(status=404, detail="no"))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_part_of_what_cannot_be_taken_as_a_whole_may_be(status: int) -> None:
    found = after(status, problem(status, field="model"))
    assert found == Split(problem=Problem(status=status, detail="no", field="model"))


@pytest.mark.parametrize("status", [404, 405, 409, 410])
def test_what_no_time_will_mend_is_refused(status: int) -> None:
    assert after(status, problem(status)) == AllRefused(problem=Problem(status=status, detail="no"))


@pytest.mark.parametrize("status", [301, 307, 401, 403, 408, 425, 429, 500, 502, 503, 504, 507])
def test_what_time_or_a_new_token_mends_is_sent_again(status: int) -> None:
    found = after(status, problem(status, errors=[{"row": 0}]))
    assert found == Again(reason=f"{status}: no", broken=status == 500)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("1e9", LONGEST_PAUSE),
        ("inf", LONGEST_PAUSE),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 12:00:30", None),
    ],
)
def test_a_server_may_say_when(value: str, seconds: float | None) -> None:
    found = after(429, problem(429), Retry_After=value)
    assert isinstance(found, Again)
    assert found.after == seconds


@given(
    status=st.integers(100, 599),
    body=st.one_of(
        st.binary(max_size=30),
        st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=5)),
    ),
    retry=st.text(max_size=10),
)
def test_no_answer_is_a_surprise(status: int, body: Any, retry: str) -> None:
    assert isinstance(after(status, body, Retry_After=retry), Taken | AllRefused | Split | Again)
