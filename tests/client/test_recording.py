"""`ll.record`: what a function predicts is recorded, and the function never notices."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest

import lossloop as ll
from lossloop.client import Client
from tests.client.answering import nobody
from tests.client.taking import PATIENCE, Taking, client_of

Row = dict[str, Any]
ORDER = {"amount": 12.5, "card": "c-1"}


@pytest.fixture
def recorded(server: Taking, client: Client) -> Callable[[], list[Row]]:
    """What was recorded, without the times."""

    def read() -> list[Row]:
        assert client.flush(PATIENCE) == 0
        assert all(row["time"] and row["latency_ms"] >= 0 for _, _, row in server.taken)
        return [
            {key: row[key] for key in row if key not in ("time", "latency_ms")} for _, _, row in server.taken
        ]

    return read


def test_a_function_is_recorded_and_does_the_same(client: Client, recorded: Callable[[], list[Row]]) -> None:
    @ll.record(client, "fraud", version=3, unit=lambda order: order["card"])
    def predict(order: Mapping[str, Any]) -> float:
        """The chance of fraud."""
        return 0.02

    assert predict(ORDER) == 0.02
    assert (predict.__name__, predict.__doc__) == ("predict", "The chance of fraud.")
    id = ll.last_id()
    assert recorded() == [{"id": id, "version": 3, "y_pred": 0.02, "unit": "c-1", "features": ORDER}]
    assert ll.last_ids() == (id,)


def test_ids_units_features_and_predictions_are_made_as_the_service_says(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    versions = iter([7, 8])

    @ll.record(
        client,
        "fraud",
        version=lambda: next(versions),
        id=lambda order, attempt: f"{order['card']}/{attempt}",
        unit=lambda order, attempt: None,
        features=lambda order, attempt: {"amount": order["amount"] * 2},
        y_pred=lambda answer: answer["score"],
    )
    def predict(order: Row, attempt: int) -> Row:
        return {"score": 0.5, "why": "amount"}

    assert predict(ORDER, 1) == {"score": 0.5, "why": "amount"}
    predict(ORDER, attempt=2)
    assert ll.last_id() == "c-1/2"
    assert recorded() == [
        {"id": "c-1/1", "version": 7, "y_pred": 0.5, "features": {"amount": 25.0}},
        {"id": "c-1/2", "version": 8, "y_pred": 0.5, "features": {"amount": 25.0}},
    ]


@dataclass
class Order:
    amount: float
    card: str


@pytest.mark.parametrize(
    ("features", "args", "kept"),
    [
        (True, (ORDER,), ORDER),
        (True, (Order(12.5, "c-1"),), ORDER),
        (True, (12.5,), {"order": 12.5}),
        (True, ([1.0, 2.0],), {"order": [1.0, 2.0]}),
        (True, (ORDER, 3), {"order": ORDER, "hour": 3}),
        (False, (ORDER,), None),
        (["amount"], (ORDER,), {"amount": 12.5}),
        (["amount", "gone"], (ORDER,), {"amount": 12.5}),
        (["amount"], (Order(12.5, "c-1"),), {"amount": 12.5}),
        (["amount", "hour"], (np.array([12.5, 3.0]),), {"amount": 12.5, "hour": 3.0}),
        (["amount", "hour"], ((12.5, 3),), {"amount": 12.5, "hour": 3}),
        (["hour"], (ORDER, 3), {"hour": 3}),
    ],
)
def test_features_are_what_the_function_was_given(
    client: Client, recorded: Callable[[], list[Row]], features: Any, args: tuple[Any, ...], kept: Any
) -> None:
    @ll.record(client, "m", version=1, features=features)
    def predict(order: Any, hour: int | None = None) -> np.float32:
        return np.float32(0.5)

    predict(*args)
    (row,) = recorded()
    assert row.get("features") == kept
    assert row["y_pred"] == 0.5


def test_features_are_those_of_the_call_whatever_the_function_does_to_them(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    @ll.record(client, "m", version=1)
    def predict(order: Row) -> float:
        return float(order.pop("amount"))

    predict({"amount": 1, "hour": 2})
    assert recorded()[0]["features"] == {"amount": 1, "hour": 2}


def test_methods_callable_objects_partials_and_functions_written_in_c(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    class Model:
        @ll.record(client, "m", version=1, unit=lambda self, order: self.name)
        def predict(self, order: Row) -> float:
            return 0.1

        name = "u"

        def __call__(self, order: Row) -> float:
            return 0.2

    record = ll.record(client, "m", version=1)
    assert Model().predict(ORDER) == 0.1
    assert functools.partial(Model().predict, order=ORDER)() == 0.1
    assert record(Model())(ORDER) == 0.2
    assert record(max)([1, 3, 2]) == 3
    assert [(row["y_pred"], row.get("unit")) for row in recorded()] == [
        (0.1, "u"),
        (0.1, "u"),
        (0.2, None),
        (3, None),
    ]
    assert [row["features"] for row in recorded()][:3] == [ORDER] * 3


def rows_and_answers() -> list[tuple[str, Any]]:
    columns = {"amount": [1.0, 2.0], "card": ["a", "b"]}
    return [
        ("dicts", [{"amount": 1.0, "card": "a"}, {"amount": 2.0, "card": "b"}]),
        ("pandas", pd.DataFrame(columns)),
        ("polars", pl.DataFrame(columns)),
    ]


@pytest.mark.parametrize(("kind", "given"), rows_and_answers(), ids=[kind for kind, _ in rows_and_answers()])
@pytest.mark.parametrize("make", [list, np.array, tuple, pd.Series, pl.Series])
def test_each_row_of_a_batch_is_recorded(
    client: Client, recorded: Callable[[], list[Row]], kind: str, given: Any, make: Any
) -> None:
    @ll.record(client, "m", version=1, batch=True, id=lambda row: f"id-{row['card']}", features=["amount"])
    def predict(rows: Any) -> Any:
        return make([0.25, 0.75])

    answer = predict(given)
    assert isinstance(answer, type(make([0.25])))
    assert ll.last_ids() == ("id-a", "id-b")
    assert recorded() == [
        {"id": "id-a", "version": 1, "y_pred": 0.25, "features": {"amount": 1.0}},
        {"id": "id-b", "version": 1, "y_pred": 0.75, "features": {"amount": 2.0}},
    ]


def test_a_batch_of_arrays_has_the_names_that_are_given_and_vectors_for_predictions(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    @ll.record(client, "m", version=1, batch=True, features=["amount", "hour"])
    def predict(rows: Any) -> Any:
        return np.array([[0.25, 0.75], [0.5, 0.5]])

    predict(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert [(row["features"], row["y_pred"]) for row in recorded()] == [
        ({"amount": 1.0, "hour": 2.0}, [0.25, 0.75]),
        ({"amount": 3.0, "hour": 4.0}, [0.5, 0.5]),
    ]
    assert len(ll.last_ids()) == 2


def test_a_call_that_raises_is_recorded_as_a_failure_and_raises_the_same(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    error = ValueError("no such card")

    @ll.record(client, "m", version=1, id=lambda order: "o-1", unit=lambda order: order["card"])
    def predict(order: Row) -> float:
        raise error

    with pytest.raises(ValueError, match="no such card") as caught:
        predict(ORDER)
    assert caught.value is error
    assert (ll.last_id(), client.backlog().lost) == (None, 0)
    (row,) = recorded()
    assert row.pop("id") != "o-1", "what is tried again may be answered under the same id"
    assert row == {"version": 1, "y_pred": None, "error": "ValueError", "unit": "c-1", "features": ORDER}


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (lambda error: None, []),
        (lambda error: "", []),
        (lambda error: str(error) * 100, [("no such card" * 100)[:256]]),
    ],
)
def test_a_service_says_which_exceptions_are_failures(
    client: Client, recorded: Callable[[], list[Row]], error: Any, wanted: list[str]
) -> None:
    @ll.record(client, "m", version=1, error=error)
    def predict(order: Row) -> float:
        raise ValueError("no such card")

    with pytest.raises(ValueError, match="no such card"):
        predict(ORDER)
    assert [row["error"] for row in recorded()] == wanted


def test_each_row_of_a_batch_that_fails_fails(client: Client, recorded: Callable[[], list[Row]]) -> None:
    @ll.record(client, "m", version=1, batch=True, features=["amount"])
    def predict(orders: list[Row]) -> list[float]:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        predict([ORDER, ORDER])
    rows = recorded()
    assert [(row["error"], row["features"]) for row in rows] == [("TimeoutError", {"amount": 12.5})] * 2
    assert len({row["id"] for row in rows}) == 2


def test_what_ends_a_program_is_no_failure_of_a_model(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    @ll.record(client, "m", version=1)
    def predict(order: Row) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(ORDER)
    assert recorded() == []


def test_what_an_answer_took_is_measured_or_said(server: Taking, client: Client) -> None:
    @ll.record(client, "m", version=1)
    def predict(order: Row) -> float:
        time.sleep(0.02)
        return 0.5

    predict(ORDER)
    with ll.record(client, "m", version=1) as made:
        made.y_pred, made.latency_ms = 0.5, 7.25
    assert client.flush(PATIENCE) == 0
    slept, said = (row["latency_ms"] for _, _, row in server.taken)
    assert slept >= 20
    assert said == 7.25


def broken(*args: Any) -> Any:
    raise RuntimeError("a fault of the service's")


@pytest.mark.parametrize(
    "terms",
    [
        {"id": broken}, {"unit": broken}, {"features": broken}, {"y_pred": broken}, {"version": broken},
        {"features": lambda order: object()}, {"y_pred": lambda answer: object()}, {"id": lambda order: 7},
        {"features": ["a", "b", "c"]}, {"batch": True}, {"unit": lambda: "too few arguments"},
    ],
)  # fmt: skip
def test_a_failure_to_record_never_reaches_the_prediction(
    client: Client, recorded: Callable[[], list[Row]], caplog: pytest.LogCaptureFixture, terms: Any
) -> None:
    @ll.record(client, "m", **{"version": 1, **terms})
    def predict(order: Any) -> float:
        return 0.5

    assert predict([1.0]) == 0.5
    assert (ll.last_id(), recorded(), client.backlog().lost) == (None, [], 1)
    assert caplog.messages[0].startswith("1 rows were not recorded: ")


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("", "error"),
        (TimeoutError("Ann's card"), "TimeoutError"),
        (504, "int"),
        ("half \ud800", "half ?"),
        ("long" * 100, ("long" * 100)[:256]),
    ],
)
def test_a_reason_of_any_kind_reaches_the_ledger_and_never_the_service(
    client: Client, recorded: Callable[[], list[Row]], said: Any, sent: str
) -> None:
    """Once, an exception set as the reason raised a TypeError, and an empty one was refused later."""
    with ll.record(client, "m", version=1) as made:
        made.error = said
    assert [(row["error"], row["y_pred"]) for row in recorded()] == [(sent, None)]
    assert client.backlog().lost == 0


def test_a_failure_to_say_why_something_failed_hides_nothing(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    @ll.record(client, "m", version=1, error=broken)
    def predict(order: Any) -> float:
        raise ValueError("the service's own")

    with pytest.raises(ValueError, match="the service's own"):
        predict(ORDER)
    assert (recorded(), client.backlog().lost) == ([], 1)


def test_a_full_spool_and_a_closed_client_do_not_reach_the_prediction_either(tmp_path: Path) -> None:
    client = client_of(nobody(), ll.Spool(tmp_path, most_bytes=2000))

    @ll.record(client, "m", version=1)
    def predict(order: Row) -> float:
        return 0.5

    assert [predict(ORDER) for _ in range(50)] == [0.5] * 50
    kept = client.backlog().rows
    assert 0 < kept < 20
    assert client.backlog().lost == 50 - kept
    assert client.close(0) == kept
    assert predict(ORDER) == 0.5
    assert client.backlog().lost == 51 - kept


def test_a_client_without_a_spool_is_told_when_the_service_starts(server: Taking) -> None:
    with (
        Client(server.url, token="t") as client,
        pytest.raises(ll.InputError, match="spool='lossloop-spool'"),
    ):
        ll.record(client, "m", version=1)


def test_a_block_is_recorded_once_it_has_its_prediction(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    with ll.record(client, "fraud", version=3) as made:
        made.features, made.unit = ORDER, "c-1"
        made.role, made.propensity = "challenger", 0.1
        made.y_pred = 0.02
    assert ll.last_id() == made.id
    assert recorded() == [
        {
            "id": made.id, "version": 3, "y_pred": 0.02, "unit": "c-1", "features": ORDER,
            "role": "challenger", "propensity": 0.1,
        }
    ]  # fmt: skip


def test_a_block_that_raises_is_a_failure_and_one_that_says_nothing_is_not_recorded(
    client: Client, recorded: Callable[[], list[Row]], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        with ll.record(client, "m", version=1) as made:
            made.y_pred = 0.5
            raise KeyError("amount")

    with pytest.raises(KeyError, match="amount"):
        fail()
    with ll.record(client, "m", version=1):
        pass
    with ll.record(client, "m", version=1) as made:
        made.error = "over quota"
    found = [(row["error"], row["y_pred"], row["id"] == made.id) for row in recorded()]
    assert found == [("KeyError", None, False), ("over quota", None, True)]
    assert (ll.last_id(), client.backlog().lost) == (None, 1)
    assert "set y_pred in the block" in caplog.messages[0]


def test_a_block_whose_version_cannot_be_told_still_runs(client: Client) -> None:
    with ll.record(client, "m", version=broken) as made:
        made.y_pred = 0.5
    assert client.backlog().lost == 1


def test_a_recorder_may_be_open_in_many_threads_and_in_itself(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    record = ll.record(client, "m", version=1)
    together = threading.Barrier(4)

    def work(number: int) -> None:
        with record as outer:
            together.wait(PATIENCE)
            with record as inner:
                inner.y_pred = number
            outer.y_pred = -number
            together.wait(PATIENCE)
        assert ll.last_id() == outer.id

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["y_pred"] for row in recorded()) == [-3, -2, -1, 0, 0, 1, 2, 3]


def test_async_functions_are_awaited_and_recorded(client: Client, recorded: Callable[[], list[Row]]) -> None:
    @ll.record(client, "m", version=1, id=lambda order: order["card"])
    async def predict(order: Row) -> float:
        await asyncio.sleep(0)
        return float(order["amount"])

    class Service:
        async def __call__(self, order: Row) -> float:
            return 0.5

    async def ask(number: int) -> str | None:
        assert await predict({"amount": number, "card": f"c-{number}"}) == number
        return ll.last_id()

    async def work() -> list[str | None]:
        assert await ll.record(client, "m", version=1)(Service())(ORDER) == 0.5
        return await asyncio.gather(*map(ask, range(20)))

    assert asyncio.iscoroutinefunction(predict)
    assert asyncio.run(work()) == [f"c-{number}" for number in range(20)]  # to each task its own
    assert len(recorded()) == 21


def test_an_async_function_that_raises_or_cannot_be_recorded(
    client: Client, recorded: Callable[[], list[Row]]
) -> None:
    @ll.record(client, "m", version=1, unit=lambda order: order["gone"])
    async def predict(order: Row) -> float:
        if "amount" not in order:
            raise ValueError("empty")
        return 0.5

    async def work() -> None:
        with pytest.raises(ValueError, match="empty"):
            await predict({})
        assert await predict(ORDER) == 0.5
        assert ll.last_id() is None

        with pytest.raises(ValueError, match="empty"):
            await predict({"gone": "u-1"})
        assert ll.last_id() is None

    asyncio.run(work())
    assert [(row["error"], row["unit"]) for row in recorded()] == [("ValueError", "u-1")]
    assert client.backlog().lost == 1


def test_async_functions_hand_over_in_a_thread_where_the_spool_may_take_long(
    server: Taking, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ll.AsyncClient(
            server.url, token="t", spool=ll.Spool(tmp_path, sync=True), linger=0
        ) as client:

            @ll.record(client, "m", version=1)
            async def predict(order: Row) -> float:
                return 0.5

            assert await predict(ORDER) == 0.5
            assert await client.flush(PATIENCE) == 0
            assert server.ids == [ll.last_id()]
            await client.close()
            assert await predict(ORDER) == 0.5
            assert (await client.backlog()).lost == 1

    asyncio.run(work())
