"""Rows over HTTP: a bad one is named with its field, and nothing of the good ones is lost."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lossloop.core.ids import new_id
from tests.app.server import Server

GOOD = {"features": {"x": 1.0}}


def in_minutes(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def raw(rows: str) -> str:
    return '{"rows": [' + rows + "]}"


# Rows to predict.

BAD_ROWS: list[tuple[Any, str | None, str]] = [
    ({"features": {}}, "features.x", "feature 'x' is missing"),
    ({"features": {"x": None}}, "features.x", "feature 'x' is missing"),
    ({"features": {"x": 1, "z": 1}}, "features.z", "unknown feature 'z'; there are: colour, x, y"),
    ({"features": {"x": 1, "color": "red"}}, "features.color", "did you mean 'colour'?"),
    ({"features": {"x": "1"}}, "features.x", "feature 'x' must be a number, not '1'"),
    ({"features": {"x": True}}, "features.x", "feature 'x' must be a number, not True"),
    ({"features": {"x": [1]}}, "features.x", "feature 'x' must be a number, not [1]"),
    ({"features": {"x": float("nan")}}, "features.x", "must be a finite number, not nan"),
    ({"features": {"x": float("-inf")}}, "features.x", "must be a finite number, not -inf"),
    ({"features": {"x": 10**400}}, "features.x", "must be a finite number, not 1000"),
    ({"features": {"x": 1, "y": float("nan")}}, "features.y", "must be a finite number, not nan"),
    ({"features": {"x": 1, "colour": 3}}, "features.colour", "feature 'colour' must be text, not 3"),
    ({"features": [1.0]}, "features", "features must be an object"),
    ({"x": 1.0}, "x", "unknown key 'x'; there are: features, id, time, unit"),
    ({}, "features", "features must be an object"),
    (7, None, "a row must be an object, not int"),
    (None, None, "a row must be an object, not NoneType"),
    ([GOOD], None, "a row must be an object, not list"),
    ({**GOOD, "id": 7}, "id", "id must be text, not 7"),
    ({**GOOD, "id": ["a"]}, "id", "id must be text, not ['a']"),
    ({**GOOD, "id": {"a": 1}}, "id", "id must be text"),
    ({**GOOD, "id": ""}, "id", "id must be text, not ''"),
    ({**GOOD, "id": "i" * 257}, "id", "id has 257 characters; at most 256 are taken"),
    ({**GOOD, "unit": 7}, "unit", "unit must be text, not 7"),
    ({**GOOD, "time": "yesterday"}, "time", "'yesterday' is not an ISO 8601 time"),
    ({**GOOD, "time": "2026-01-01T00:00:00"}, "time", "has no offset; add Z"),
    ({**GOOD, "time": in_minutes(600)}, "time", "more than 5 minutes ahead of the receipt time"),
]


@pytest.mark.parametrize(("bad", "field", "words"), BAD_ROWS)
def test_a_bad_row_is_named_and_the_good_ones_are_answered_and_kept(
    server: Server, model: str, bad: Any, field: str | None, words: str
) -> None:
    first, last = new_id(), new_id()
    reply = server.predict(model, {**GOOD, "id": first}, bad, {**GOOD, "id": last})
    assert reply.status == 422
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.errors == [(1, field)]
    assert words in reply.body["errors"][0]["detail"]
    assert reply.detail.startswith("1 bad row; the first: row 1: ")
    assert [each["id"] for each in reply.body["predictions"]] == [first, last]
    for id in (first, last):
        found = server.kept(model, id)
        assert found is not None
        assert found["y_pred"] == pytest.approx(0.731, abs=1e-3)


def test_several_bad_rows_are_all_named(server: Server, model: str) -> None:
    reply = server.predict(model, {"features": {}}, GOOD, {"features": {"x": "a"}}, 7)
    assert reply.errors == [(0, "features.x"), (2, "features.x"), (3, None)]
    assert reply.detail.startswith("3 bad rows; the first: row 0: ")
    assert len(reply.body["predictions"]) == 1


def test_large_and_small_numbers_that_a_float_holds_are_numbers(server: Server, model: str) -> None:
    rows = [{"features": {"x": x}} for x in (10**30, -(10**18), 1e308, 5e-324, 123456789012345678)]
    reply = server.predict(model, *rows)
    assert [each["y_pred"] for each in reply.body["predictions"]] == [1.0, 0.0, 1.0, 0.5, 1.0]


def test_nulls_and_absent_values_are_the_same_where_a_feature_is_nullable(server: Server, model: str) -> None:
    reply = server.predict(model, GOOD, {"features": {"x": 1.0, "y": None, "colour": None}})
    assert reply.status == 200
    assert len({each["y_pred"] for each in reply.body["predictions"]}) == 1


def test_odd_but_honest_text_is_taken(server: Server, model: str) -> None:
    for id in ("a\u0000b", "snow ☃ \U0001f600", "with/slashes/in it", "'; DROP TABLE predictions; --"):
        named = f"{id}{new_id()}"
        row = {**GOOD, "id": named, "unit": id, "features": {"x": 1.0, "colour": id}}
        assert server.predict(model, row).status == 200
        assert server.predict(model, row).body["predictions"][0]["id"] == named


def test_a_moment_ahead_is_within_a_clock_s_error(server: Server, model: str) -> None:
    assert server.predict(model, {**GOOD, "time": in_minutes(4)}).status == 200
    assert server.predict(model, {**GOOD, "time": "1999-12-31T23:59:59-05:00"}).status == 200


# The same id again.


def test_the_same_row_again_is_answered_again_and_counts_once(server: Server) -> None:
    model = server.model(versions=2)
    row = {**GOOD, "id": new_id(), "time": "2026-01-01T00:00:00Z"}
    first = server.predict(model, row)
    counts = server.call("GET", f"/v1/models/{model}").body["counts"]
    server.call("POST", f"/v1/models/{model}/promote", {"version": 2})
    again = server.predict(model, row)
    assert (first.status, again.status) == (200, 200)
    assert again.body["predictions"] == first.body["predictions"], "also by another champion"
    assert server.call("GET", f"/v1/models/{model}").body["counts"]["predictions"] == counts["predictions"]


def test_the_same_id_with_other_content_is_a_conflict(server: Server, model: str) -> None:
    id = new_id()
    server.predict(model, {**GOOD, "id": id})
    reply = server.predict(model, {"id": id, "features": {"x": 2.0}})
    assert (reply.status, reply.errors) == (409, [(0, "id")])
    assert "was recorded with other content; use a new id" in reply.detail
    assert reply.body["predictions"] == []
    mixed = server.predict(model, {"id": id, "features": {"x": 2.0}}, {"features": {}}, GOOD)
    assert (mixed.status, len(mixed.body["predictions"])) == (422, 1)
    assert mixed.errors == [(0, "id"), (1, "features.x")]


def test_an_id_twice_in_a_batch_is_taken_once(server: Server, model: str) -> None:
    row = {**GOOD, "id": new_id()}
    reply = server.predict(model, row, row)
    assert (reply.status, reply.errors) == (422, [(1, "id")])
    assert len(reply.body["predictions"]) == 1


def test_the_same_row_sent_by_many_at_once_stands_once(server: Server) -> None:
    model = server.model()
    row = {**GOOD, "id": new_id()}
    before = server.call("GET", f"/v1/models/{model}").body["counts"]["predictions"]
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.predict(model, row).body["predictions"]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({str(answer) for answer in answers}) == 1
    assert server.call("GET", f"/v1/models/{model}").body["counts"]["predictions"] == before + 1


# Predictions of another system.

BAD_RECORDS: list[tuple[dict[str, Any], str, str]] = [
    ({"version": 1}, "y_pred", "y_pred must be a number, not null"),
    ({"version": 1, "y_pred": 1.5}, "y_pred", "a probability lies in [0, 1]; got 1.5"),
    ({"version": 1, "y_pred": -0.1}, "y_pred", "a probability lies in [0, 1]; got -0.1"),
    ({"version": 1, "y_pred": float("nan")}, "y_pred", "y_pred must be finite, not nan"),
    ({"version": 1, "y_pred": 10**400}, "y_pred", "y_pred must be finite, not inf"),
    ({"version": 1, "y_pred": "0.5"}, "y_pred", "y_pred must be a number, not text"),
    ({"version": 1, "y_pred": [0.5, 0.5]}, "y_pred", "y_pred must be a number, not a list"),
    ({"version": 1, "y_pred": True}, "y_pred", "y_pred must be a number, not true or false"),
    ({"y_pred": 0.5}, "version", "version must be a whole number above 0, not None"),
    ({"version": "1", "y_pred": 0.5}, "version", "version must be a whole number above 0, not '1'"),
    ({"version": 9, "y_pred": 0.5}, "version", "'9'; there are: 1, 2"),
    ({"version": 10**40, "y_pred": 0.5}, "version", "version"),
    ({"version": 1, "y_pred": 0.5, "role": "king"}, "role", "role must be one of champion, challenger"),
    ({"version": 1, "y_pred": 0.5, "role": ["champion"]}, "role", "role must be one of"),
    ({"version": 1, "y_pred": 0.5, "propensity": 0}, "propensity", "propensity must lie in (0, 1], not 0"),
    ({"version": 1, "y_pred": 0.5, "propensity": 2}, "propensity", "propensity must lie in (0, 1], not 2"),
    ({"version": 1, "y_pred": 0.5, "features": "x"}, "features", "features must be an object"),
]


@pytest.mark.parametrize(("bad", "field", "words"), BAD_RECORDS)
def test_a_bad_record_is_named_and_the_good_ones_are_kept(
    server: Server, model: str, bad: dict[str, Any], field: str, words: str
) -> None:
    id = new_id()
    good = {"id": id, "version": 2, "y_pred": 0.25, "unit": "u", "propensity": 0.5, "role": "challenger"}
    reply = server.record(model, bad, good)
    assert (reply.status, reply.errors) == (422, [(0, field)])
    assert words in reply.body["errors"][0]["detail"]
    found = server.kept(model, id)
    assert found is not None
    assert {key: found[key] for key in good} == good


def test_a_record_that_comes_again_is_taken_and_counted_once(server: Server) -> None:
    model = server.model(versions=2)
    row: dict[str, Any] = {"id": new_id(), "version": 2, "y_pred": 0.25, "features": {"any": ["goes", None]}}
    before = server.call("GET", f"/v1/models/{model}").body["counts"]
    for sent in (row, row, {**row, "y_pred": 0.5}):
        reply = server.record(model, sent)
        assert (reply.status, reply.body["accepted"]) == (200, 1)
    counts = server.call("GET", f"/v1/models/{model}").body["counts"]
    assert {name: counts[name] for name in ("repeats", "conflicts")} == {"repeats": 1, "conflicts": 1}
    assert counts["predictions"] == before["predictions"] + 1
    found = server.kept(model, row["id"])
    assert found is not None
    assert found["y_pred"] == 0.25, "the first one stands"


def test_ids_that_are_made_are_told(server: Server, model: str) -> None:
    good, named = {"version": 1, "y_pred": 0.25}, new_id()
    reply = server.record(model, good, {"y_pred": 0.5}, {**good, "id": named}, good)
    assert (reply.status, reply.body["accepted"]) == (422, 3)
    first, bad, second, last = reply.body["ids"]
    assert (bad, second) == (None, named)
    for id in (first, last):
        assert server.kept(model, id) is not None
    assert "ids" not in server.record(model, {**good, "id": new_id()}).body


def test_classes_need_a_list_of_probabilities_that_sum_to_one(server: Server) -> None:
    model = server.model(task="multiclass", loss="brier_multiclass", rollout=None, versions=0)
    bad = [[0.5, 0.4], [1.0], 0.5, [0.5, "0.5"], [1.5, -0.5]]
    rows = [{"version": 1, "y_pred": y_pred} for y_pred in [*bad, [0.25, 0.75]]]
    reply = server.record(model, *rows)
    assert reply.errors == [(row, "y_pred") for row in range(5)]
    assert reply.body["accepted"] == 1
    found = server.kept(model, reply.body["ids"][5])
    assert found is not None
    assert found["y_pred"] == [0.25, 0.75]


# Outcomes.

BAD_OUTCOMES: list[tuple[Any, str | None, str]] = [
    ({"y_true": 2}, "y_true", "the label of a binary task is 0 or 1, not 2"),
    ({"y_true": "1"}, "y_true", "the label of a binary task is 0 or 1, not '1'"),
    ({"y_true": 0.5}, "y_true", "the label of a binary task is 0 or 1, not 0.5"),
    ({"y_true": [1]}, "y_true", "the label of a binary task is 0 or 1, not [1]"),
    ({"y_true": float("nan")}, "y_true", "the label of a binary task is 0 or 1, not nan"),
    ({}, "y_true", "an outcome needs y_true; null says that it is missing"),
    ({"y_true": 1, "id": None}, "id", "an outcome needs the id of its prediction"),
    ({"y_true": 1, "label": 1}, "label", "unknown key 'label'; there are: id, reason, time, y_true"),
    ({"y_true": 1, "time": in_minutes(600)}, "time", "more than 5 minutes ahead"),
    ({"y_true": 1, "reason": "lost"}, "reason", "a reason says why y_true is missing; send one of the two"),
    ("late", None, "a row must be an object, not str"),
]


@pytest.mark.parametrize(("bad", "field", "words"), BAD_OUTCOMES)
def test_a_bad_outcome_is_named_and_the_good_ones_are_kept(
    server: Server, model: str, bad: Any, field: str | None, words: str
) -> None:
    good, spoilt = new_id(), new_id()
    server.predict(model, {**GOOD, "id": good}, {**GOOD, "id": spoilt})
    sent = {"id": spoilt, **bad} if isinstance(bad, dict) else bad
    reply = server.outcomes(model, sent, {"id": good, "y_true": True})
    assert (reply.status, reply.errors, reply.body["accepted"]) == (422, [(0, field)], 1)
    assert words in reply.body["errors"][0]["detail"]
    labels = {id: (server.kept(model, id) or {})["y_true"] for id in (good, spoilt)}
    assert labels == {good: 1.0, spoilt: None}


def test_an_outcome_for_an_unknown_id_waits_for_its_prediction(server: Server) -> None:
    model = server.model()
    id = new_id()
    reply = server.outcomes(model, {"id": id, "y_true": 1})
    assert (reply.status, reply.body["accepted"]) == (200, 1)
    assert server.kept(model, id) is None
    assert server.call("GET", f"/v1/models/{model}").body["counts"]["waiting"] == 1
    server.predict(model, {**GOOD, "id": id})
    found = server.kept(model, id)
    assert found is not None
    assert (found["y_true"], found["outcome_time"] is not None) == (1.0, True)


def test_an_outcome_may_be_corrected_and_repeated(server: Server) -> None:
    model = server.model()
    id = new_id()
    server.predict(model, {**GOOD, "id": id})
    for y_true in (0, 0, 1, None, 1):
        assert server.outcomes(model, {"id": id, "y_true": y_true}).status == 200
    found = server.kept(model, id)
    assert found is not None
    assert found["y_true"] == 1.0
    losses = server.call("GET", f"/v1/models/{model}").body["losses"]
    assert [row["outcomes"] for row in losses if row["role"] == "champion"] == [1]


# Losses, of which nothing is kept.


def losses(server: Server, **body: Any) -> Any:
    return server.call("POST", "/v1/losses", {"loss": "brier", **body})


def test_losses_are_computed_with_their_version_and_unit(server: Server) -> None:
    reply = losses(
        server, loss="warning_cost(missed=20, false_alarm=10)", y_true=[1, 0, 1], y_pred=[0.2, 0.9, 0.9]
    )
    assert reply.status == 200
    assert reply.body["losses"] == [20.0, 10.0, 0.0]
    assert reply.body["unit"] == "USD"
    assert reply.body["loss"].startswith("warning_cost@")


def test_a_row_without_a_loss_has_a_null_and_a_reason(server: Server) -> None:
    reply = losses(server, y_true=[1, 2, None, 0, 1, 1], y_pred=[0.5, 0.5, 0.5, 1.5, "a", float("nan")])
    assert reply.status == 422
    assert reply.body["losses"] == [0.25, None, None, None, None, None]
    assert reply.errors == [(1, "y_true"), (2, "y_true"), (3, "y_pred"), (4, "y_pred"), (5, "y_pred")]


def test_a_loss_beyond_any_number_is_said_to_be_one(server: Server) -> None:
    reply = losses(server, loss="squared", y_true=[0, 0], y_pred=[1e200, 2])
    assert (reply.status, reply.errors) == (422, [(0, "loss")])
    assert reply.body["losses"] == [None, 4.0]


@pytest.mark.parametrize(
    ("body", "status", "field", "words"),
    [
        ({"y_true": [1, 0], "y_pred": [0.5]}, 422, "y_true", "y_true has 2 rows, y_pred 1"),
        ({"y_true": None, "y_pred": [0.5]}, 422, "y_true", "this loss needs an outcome for every row"),
        ({"loss": "bier", "y_true": [1], "y_pred": [0.5]}, 404, "loss", "did you mean 'brier'?"),
        ({"loss": "log_loss(cap='x')", "y_true": [1], "y_pred": [0.5]}, 422, None, "cap"),
        ({"loss": "import os", "y_true": [1], "y_pred": [0.5]}, 422, "loss", "is not a loss"),
        ({"y_true": [1], "y_pred": [[0.5, 0.5]]}, 422, "y_pred", "one number per row"),
        ({"y_true": 1, "y_pred": [0.5]}, 400, "y_true", "Expected `array | null`, got `int`"),
        ({"y_pred": [0.5], "y_ture": [1]}, 400, None, "unknown field `y_ture`"),
        ({"loss": "brier.where(c='a')", "y_true": [1], "y_pred": [0.5]}, 422, "features", "needs features"),
        ({"loss": "brier.where(c='a')", "y_true": [1], "y_pred": [0.5], "features": {"c": ["a", "b"]}}, 422,
         "features.c", "must have 1 rows"),
    ],
)  # fmt: skip
def test_a_batch_that_cannot_be_scored_at_all_is_refused(
    server: Server, body: dict[str, Any], status: int, field: str | None, words: str
) -> None:
    reply = losses(server, **body)
    assert reply.status == status
    assert words in reply.detail
    if field is not None:
        assert reply.body["field"] == field


def test_losses_of_classes_and_without_outcomes(server: Server) -> None:
    classes = losses(server, loss="brier_multiclass", y_true=[0, 1], y_pred=[[1.0, 0.0], [1.0, 0.0]])
    assert classes.body["losses"] == [0.0, 2.0]
    bounds = losses(server, loss="constraint_violation(high=1)", y_pred=[0.5, 1.5])
    assert bounds.body["losses"] == [0.0, 1.0]
    features = losses(
        server, loss="brier.where(c='a')", y_true=[1, 1], y_pred=[0.0, 0.0], features={"c": ["a", "b"]}
    )
    assert features.body["losses"] == [1.0, 0.0]


# Predictions that are lists.


def test_intervals_go_in_and_their_loss_comes_out(server: Server) -> None:
    model = server.model(versions=0, task="distribution", loss="winkler(level=0.5).clip(100)")
    rows = [
        {"id": f"{model}-a", "version": 1, "y_pred": [0, 2.5]},
        {"id": f"{model}-b", "version": 1, "y_pred": [0, float("inf")]},
        {"id": f"{model}-c", "version": 1, "y_pred": 3},
    ]
    answer = server.record(model, *rows)
    assert answer.status == 422
    assert answer.body["accepted"] == 1
    assert [each["row"] for each in answer.body["errors"]] == [1, 2]
    assert server.outcomes(model, {"id": f"{model}-a", "y_true": 4.5}).body["accepted"] == 1
    (shown,) = server.call("GET", f"/v1/models/{model}").body["losses"]
    assert shown["mean"] == pytest.approx(2.5 + 4 * 2.0)


def test_survival_goes_in_and_its_loss_and_concordance_come_out(server: Server) -> None:
    model = server.model(versions=0, task="survival", loss="integrated_brier(horizons=(10, 20))")
    lives = {"a": ([0.5, 0.1], [5, 1]), "b": ([0.9, 0.8], [40, 0]), "c": ([0.8, 0.6], [20, 1])}
    server.record(
        model, *({"id": f"{model}-{id}", "version": 1, "y_pred": p} for id, (p, _) in lives.items())
    )
    bad = server.outcomes(model, {"id": f"{model}-a", "y_true": [5, 2]}, {"id": f"{model}-b", "y_true": 40})
    assert [each["field"] for each in bad.body["errors"]] == ["y_true", "y_true"]
    known = ({"id": f"{model}-{id}", "y_true": y} for id, (_, y) in lives.items())
    assert server.outcomes(model, *known).status == 200
    (shown,) = server.call("GET", f"/v1/models/{model}").body["losses"]
    first, second, third = (0.25 + 0.01) / 2, (0.01 + 0.04) / 2, (0.04 + 0.36) / 2
    assert shown["mean"] == pytest.approx((first + second + third) / 3)
    (figure,) = server.call("GET", f"/v1/models/{model}/metrics").body["figures"]
    assert figure["metrics"]["concordance"]["value"] == 1.0


def test_a_loss_of_lists_is_computed_without_keeping_anything(server: Server) -> None:
    body = {"loss": "crps_ensemble", "y_true": [1, 3], "y_pred": [[0, 2], [1, 1]]}
    assert server.call("POST", "/v1/losses", body).body["losses"] == [0.5, 2.0]
    ranking = {"loss": "one_minus_mrr", "y_true": [[0, 1], [1, 0]], "y_pred": [[2, 1], [2, 1]]}
    assert server.call("POST", "/v1/losses", ranking).body["losses"] == [0.5, 0.0]
    bad = {"loss": "winkler", "y_true": [1, 1], "y_pred": [[0, 2], [2, 0]]}
    answer = server.call("POST", "/v1/losses", bad)
    assert (answer.status, answer.body["losses"]) == (422, [2.0, None])
    assert answer.body["errors"][0]["row"] == 1
