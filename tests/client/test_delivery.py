"""One attempt to bring rows to a real server: batches, halves, and the one row that spoils the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from lossloop.client.connection import Connection
from lossloop.client.delivery import MOST_BYTES, MOST_FAILURES, SEARCH_AFTER, Attempt, Delivery, batches, body
from lossloop.client.diskqueue import Waiting
from lossloop.client.rows import Entry, Kind
from tests.client.answering import nobody
from tests.client.taking import Taking, problem, taking


def waiting(count: int, kind: Kind = Kind.PREDICTION, model: str = "m", start: int = 0) -> list[Waiting]:
    made = []
    for n in range(start, start + count):
        row = json.dumps({"id": f"a{n}", "y_pred": n}).encode()
        made.append(Waiting(n, Entry(kind, model.encode(), f"a{n}".encode(), row)))
    return made


def attempt(server: Taking, rows: Sequence[Waiting], *, batch: int = 1000, failures: int = 0) -> Attempt:
    connection = Connection(server.url, token="ll_token", timeout=5)
    try:
        return Delivery(connection, batch=batch).attempt(rows, failures)
    finally:
        connection.close()


def sizes(server: Taking) -> list[int]:
    return [len(rows) for _, rows in server.requests()]


def refused(made: Attempt) -> list[tuple[str, int]]:
    return [(each.row["id"], each.status) for each in made.refused]


def test_rows_go_by_model_and_kind_in_their_order(server: Taking) -> None:
    mixed = [
        *waiting(2, model="a"),
        *waiting(1, Kind.OUTCOME, "a", start=2),
        *waiting(2, model='b"/é', start=3),
        *waiting(2, model="a", start=5),
    ]
    made = attempt(server, mixed)
    assert (made.again, made.refused, made.settled) == (None, [], set(range(7)))
    assert [(kind, model, row["id"]) for kind, model, row in server.taken] == [
        ("predictions", "a", "a0"), ("predictions", "a", "a1"), ("predictions", "a", "a5"),
        ("predictions", "a", "a6"), ("outcomes", "a", "a2"), ("predictions", "b\"/é", "a3"),
        ("predictions", "b\"/é", "a4"),
    ]  # fmt: skip
    assert server.server.asked[0].headers["Authorization"] == "Bearer ll_token"


def test_a_request_holds_a_batch(server: Taking) -> None:
    attempt(server, waiting(25), batch=10)
    assert sizes(server) == [10, 10, 5]


def test_a_request_is_no_larger_than_the_server_takes() -> None:
    row = b'"' + b"x" * (MOST_BYTES // 3) + b'"'
    rows = [Waiting(n, Entry(Kind.OUTCOME, b"m", b"a", row)) for n in range(5)]
    assert [len(batch) for batch in batches(rows, 1000)] == [2, 2, 1]
    assert len(body([each.entry for each in rows[:2]])) < 2 * MOST_BYTES


def test_what_is_too_large_is_sent_in_halves(server: Taking) -> None:
    server.most = 3
    made = attempt(server, waiting(10))
    assert (made.again, made.refused, made.settled) == (None, [], set(range(10)))
    assert server.ids == [f"a{n}" for n in range(10)]


def test_a_row_that_is_too_large_by_itself_is_refused(server: Taking) -> None:
    server.most = 0
    made = attempt(server, waiting(3))
    assert refused(made) == [("a0", 413), ("a1", 413), ("a2", 413)]
    assert made.again is None


def test_bad_rows_are_refused_with_the_servers_words_and_the_others_get_through(server: Taking) -> None:
    server.refuses = lambda row: row["y_pred"] in (3, 7)
    made = attempt(server, waiting(10))
    assert made.again is None
    assert made.settled == set(range(10))
    assert refused(made) == [("a3", 422), ("a7", 422)]
    first = made.refused[0]
    assert (first.kind, first.model, first.field, first.detail) == ("prediction", "m", "y_pred", "bad")
    assert first.row == {"id": "a3", "y_pred": 3}
    assert len(server.taken) == 8


def test_a_model_that_is_not_there_costs_one_request(server: Taking) -> None:
    server.plan = [problem(404, "unknown model 'm'")]
    made = attempt(server, [*waiting(100), *waiting(1, model="other", start=100)])
    assert len(made.refused) == 100
    assert (made.again, sizes(server), server.ids) == (None, [100, 1], ["a100"])


@pytest.mark.parametrize("place", [0, 1, 62, 99])
def test_a_row_that_spoils_the_whole_body_is_found(server: Taking, place: int) -> None:
    rows = waiting(100)
    rows[place] = Waiting(place, Entry(Kind.PREDICTION, b"m", b"bad", b'{"id":"bad"}'))

    def decide(asked: Any) -> Any:
        return problem(400, "not JSON") if b'"bad"' in asked.body else server._take(asked)

    server.server.decide = decide
    made = attempt(server, rows)
    assert refused(made) == [("bad", 400)]
    assert (made.again, len(server.taken)) == (None, 99)
    assert len(server.server.asked) < 20


def test_an_attempt_ends_at_the_first_sign_that_it_is_too_early(server: Taking) -> None:
    server.plan = [problem(429, "slow down", after="3")]
    made = attempt(server, waiting(30), batch=10)
    assert made.again is not None
    assert (made.again.after, made.again.reason) == (3.0, "429: slow down")
    assert (made.settled, len(server.server.asked)) == (set(), 1)


def test_what_was_taken_before_is_settled(server: Taking) -> None:
    with taking() as other:
        rows = [*waiting(10), *waiting(10, model="n", start=10)]
        other.plan = []
        other.server.decide = lambda asked: (
            problem(503, "full") if b'"n"' in asked.body else other._take(asked)
        )
        made = attempt(other, rows)
    assert made.settled == set(range(10))
    assert made.again is not None


def test_nobody_there_is_a_reason_to_try_again() -> None:
    connection = Connection(nobody(), token="t", timeout=1)
    made = Delivery(connection, batch=10).attempt(waiting(3))
    assert made.again is not None
    assert made.again.reason.startswith("no answer from ")
    assert (made.settled, made.again.after, made.again.broken) == (set(), None, False)


def test_a_row_at_which_the_server_fails_does_not_hold_up_the_others_for_ever(server: Taking) -> None:
    server.breaks = lambda row: row["y_pred"] == 42
    early = attempt(server, waiting(100), failures=SEARCH_AFTER - 1)
    assert (early.settled, early.again is not None) == (set(), True)
    made = attempt(server, waiting(100), failures=SEARCH_AFTER)
    assert refused(made) == [("a42", 500)]
    assert (made.again, len(server.taken)) == (None, 99)


def test_a_server_that_fails_at_everything_is_no_fault_of_a_row(server: Taking) -> None:
    server.breaks = lambda row: True
    made = attempt(server, waiting(1000), failures=SEARCH_AFTER)
    assert (made.settled, made.refused) == (set(), [])
    assert made.again is not None
    assert MOST_FAILURES <= len(server.server.asked) <= MOST_FAILURES + 2
    alone = attempt(server, waiting(1), failures=SEARCH_AFTER)
    assert (alone.settled, alone.again is not None) == (set(), True)
