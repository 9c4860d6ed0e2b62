"""How answers came, counted batch by batch: the same figures however the rows are cut into batches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.app.answers import Answered, answered, answers, count_answers, errors
from lossloop.client.exchange import why_failed
from lossloop.ledger.facts import predictions
from lossloop.ledger.joined.join import Arrivals
from lossloop.ledger.joined.table import ROLES
from lossloop.ledger.memory import MemoryStore
from lossloop.summaries import Latencies

MODEL = "m"
Row = tuple[int, int, int, float | None, str | None]
"""Version, role, block, latency, and why it failed."""
ROWS = st.lists(
    st.tuples(
        st.integers(1, 2), st.integers(0, 1), st.integers(0, 2),
        st.none() | st.sampled_from([0.0, 0.5, 20.0, 1e12]), st.none() | st.sampled_from(["slow", "down"]),
    ),
    min_size=1, max_size=20,
)  # fmt: skip


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    columns: dict[str, Any] = {
        "id": [str(place) for place in range(len(rows))],
        "version": [version for version, *_ in rows],
        "time": [0] * len(rows),
        "y_pred": [None if why else 0.5 for *_, why in rows],
        "latency_ms": [took for *_, took, _ in rows],
        "error": [why for *_, why in rows],
    }
    return predictions(columns, model=MODEL)


def arrived(rows: list[Row], places: list[int]) -> Arrivals:
    """Some rows of a batch that are new: others had come before."""
    chosen = [rows[place] for place in places]
    version, role, block, _, why = (list(column) for column in zip(*chosen, strict=True))
    return Arrivals(
        place=np.array(places), seq=np.array(places) + 1, version=np.array(version),
        role=np.array(role, np.int8), block=np.array(block), unit=np.zeros(len(places), np.int64),
        y_pred=np.array([np.nan if each else 0.5 for each in why]),
    )  # fmt: skip


def counted(*batches: list[Row]) -> MemoryStore:
    store = MemoryStore()
    for rows in batches:
        count_answers(store, MODEL, batch_of(rows), [arrived(rows, list(range(len(rows))))])
    return store


def shown(store: MemoryStore) -> dict[tuple[int, str, int], Answered]:
    return {(each.version, each.role, each.block): each for each in answered(store, MODEL)}


@given(ROWS, st.integers(0, 20))
@settings(max_examples=40)
def test_figures_are_those_of_a_recount_however_rows_are_cut(rows: list[Row], cut: int) -> None:
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    one, other = counted(rows), counted(*parts)
    assert {key: each.failed for key, each in shown(one).items()} == {
        key: each.failed for key, each in shown(other).items()
    }
    for (version, role, block), each in shown(other).items():
        mine = [row for row in rows if (row[0], ROLES[row[1]], row[2]) == (version, role, block)]
        times = [row[3] for row in mine if row[3] is not None and not row[4]]
        assert each.failed == sum(row[4] is not None for row in mine)
        assert each.latency.count == len(times)
        assert each.latency.cells == Latencies().add(np.array(times)).cells
    assert errors(other, MODEL) == dict(Counter(row[4] for row in rows if row[4]))


def test_only_new_rows_are_counted() -> None:
    rows: list[Row] = [(1, 0, 0, 5.0, None), (1, 0, 0, 7.0, None), (1, 0, 0, None, "down")]
    store = MemoryStore()
    count_answers(store, MODEL, batch_of(rows), [arrived(rows, [1])])
    (each,) = answered(store, MODEL)
    assert (each.failed, each.latency.count, each.latency.total) == (0, 1, 7.0)
    assert errors(store, MODEL) == {}


def test_models_are_counted_apart_and_blocks_together() -> None:
    rows: list[Row] = [(1, 0, 0, 5.0, None), (1, 0, 1, 15.0, None), (2, 1, 1, None, "down")]
    store = counted(rows)
    assert answered(store, "n") == []
    first, second = answers(store, MODEL)
    assert (first["version"], first["failed"], first["latency_ms"]["mean"]) == (1, 0, 10.0)
    assert (second["role"], second["failed"], second["latency_ms"]) == ("challenger", 1, None)


@pytest.mark.parametrize(
    ("status", "why"),
    [(200, None), (404, None), (422, None), (499, None), (500, "HTTP 500"), (503, "HTTP 503")],
)
def test_of_a_route_only_the_services_own_fault_is_a_failure(status: int, why: str | None) -> None:
    assert why_failed(status) == why
