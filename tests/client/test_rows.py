"""Rows at hand-over: what is taken, what is told at once, and what comes out again."""

from __future__ import annotations

import dataclasses
import json
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.client.rows import Kind, pack, to_json, unpack
from lossloop.core.errors import InputError

PREDICTION = {"version": 1, "y_pred": 0.5}


def sent(kind: Kind, row: dict[str, Any]) -> dict[str, Any]:
    """The row as the server will read it."""
    _, (payload,) = pack(kind, "m", [row])
    read: dict[str, Any] = json.loads(unpack(payload).row)
    return read


@given(
    kind=st.sampled_from(Kind),
    model=st.text(min_size=1),
    ids=st.lists(st.text(min_size=1, max_size=256), min_size=1, max_size=5),
)
def test_what_is_packed_comes_out_again(kind: Kind, model: str, ids: list[str]) -> None:
    rows = [{"id": id, "y_true": 1} if kind is Kind.OUTCOME else {"id": id, **PREDICTION} for id in ids]
    try:
        told, packed = pack(kind, model, rows)
    except (InputError, UnicodeEncodeError):
        assert any("\ud800" <= character <= "\udfff" for character in model + "".join(ids))
        return
    assert told == ids
    for id, payload in zip(ids, packed, strict=True):
        entry = unpack(payload)
        assert (entry.kind, entry.model.decode(), entry.id.decode()) == (kind, model, id)
        assert json.loads(entry.row)["id"] == id


def test_an_id_is_made_at_hand_over_and_stands_in_the_row() -> None:
    (first, second), packed = pack(Kind.PREDICTION, "m", [PREDICTION, PREDICTION])
    assert first != second
    assert uuid.UUID(first).version == 7
    assert json.loads(unpack(packed[0]).row)["id"] == first


def test_the_time_is_that_of_the_hand_over_unless_the_row_has_one() -> None:
    before = datetime.now(UTC)
    made = datetime.fromisoformat(sent(Kind.PREDICTION, PREDICTION)["time"])
    assert before <= made <= datetime.now(UTC)
    given_time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-5)))
    assert sent(Kind.PREDICTION, {**PREDICTION, "time": given_time})["time"] == "2026-01-02T03:04:05-05:00"
    assert (
        sent(Kind.PREDICTION, {**PREDICTION, "time": "2026-01-02T03:04:05Z"})["time"]
        == "2026-01-02T03:04:05Z"
    )


@dataclasses.dataclass
class Order:
    amount: float
    card: str


class Model:
    def model_dump(self) -> dict[str, Any]:
        return {"amount": 1}


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([0.25, 0.75]), [0.25, 0.75]),
        (Order(1.5, "c"), {"amount": 1.5, "card": "c"}),
        (Model(), {"amount": 1}),
        (Decimal("1.50"), "1.50"),
        (float("nan"), None),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
    ],
)
def test_values_of_every_day_become_json(value: Any, read: Any) -> None:
    assert sent(Kind.PREDICTION, {**PREDICTION, "features": {"x": value}})["features"] == {"x": read}


@pytest.mark.parametrize("value", [object(), 1 + 2j, Order, {1: {2: object()}}, lambda: 0])
def test_what_has_no_form_in_json_is_told_at_once(value: Any) -> None:
    with pytest.raises(InputError, match="a row must be writable as JSON"):
        pack(Kind.PREDICTION, "m", [{**PREDICTION, "features": {"x": value}}])


def test_what_holds_itself_is_told_at_once() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="writable as JSON"):
        to_json(endless)


@pytest.mark.parametrize(
    ("kind", "row", "field", "words"),
    [
        (Kind.PREDICTION, {"y_pred": 1}, "version", "prediction without 'version'"),
        (Kind.PREDICTION, {"version": 1}, "y_pred", "prediction without 'y_pred'"),
        (
            Kind.PREDICTION,
            {**PREDICTION, "feature": {}},
            "feature",
            "unknown key 'feature'; did you mean 'features'?",
        ),
        (Kind.PREDICTION, {**PREDICTION, "y_true": 1}, "y_true", "unknown key 'y_true'"),
        (Kind.OUTCOME, {"y_true": 1}, "id", "outcome without 'id'"),
        (Kind.OUTCOME, {"id": "a"}, "y_true", "outcome without 'y_true'"),
        (Kind.OUTCOME, {"id": "", "y_true": 1}, "id", "1 to 256 characters, not ''"),
        (Kind.OUTCOME, {"id": "a" * 257, "y_true": 1}, "id", "1 to 256 characters"),
        (Kind.OUTCOME, {"id": 7, "y_true": 1}, "id", "id must be text of 1 to 256 characters, not 7"),
        (Kind.OUTCOME, {"id": "a", "y_true": 1, "time": datetime(2026, 1, 1)}, "time", "add tzinfo"),  # noqa: DTZ001
        (Kind.OUTCOME, ["a", 1], None, "a row must be a mapping, not list"),
    ],
)
def test_what_the_server_could_never_take_is_told_at_once(
    kind: Kind, row: Any, field: str | None, words: str
) -> None:
    good = {"id": "good", "y_true": 1} if kind is Kind.OUTCOME else PREDICTION
    with pytest.raises(InputError, match=words.replace("?", r"\?")) as caught:
        pack(kind, "m", [good, row])
    assert (caught.value.row, caught.value.field) == (1, field)
