"""What every figure of the ledger is, where it should be on two cores, and what it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossloop.app.bench.figure import Figure
from lossloop.app.bench.target import Target

_APPEND = "the same bytes appended to a file and synced, 8 requests a write"
_BARE = "the same requests to a handler that reads the body and answers {}"
_INSERT = "SQLite, INSERT with the id as key, 1,000 a transaction, no HTTP"
_UPDATE = "SQLite, UPDATE by the id as key, a transaction per batch"
_JOIN = "NumPy: searchsorted in as many sorted keys, log loss, and 16 bytes a row synced per batch"

TARGETS: Mapping[str, Target] = {
    "http_arrow_1000": Target(
        value=500_000, unit="events/s", floor=_APPEND, peer=_INSERT,
        what="predictions over HTTP as Arrow, 1,000 a request, 8 clients, durable",
    ),
    "http_json_1000": Target(
        value=120_000, unit="events/s", floor=_BARE, peer=_INSERT,
        what="predictions over HTTP as JSON, 1,000 a request, 8 clients, durable",
    ),
    "http_json_1": Target(
        value=2_000, unit="requests/s", floor=_BARE, peer="SQLite, one INSERT a transaction, no HTTP",
        what="predictions over HTTP as JSON, one a request, 32 clients, durable",
    ),
    "http_json_1_p99_ms": Target(
        value=30, unit="ms", floor=_BARE, peer="SQLite, one INSERT a transaction, no HTTP", at_least=False,
        what="time to the acknowledgement of those, 99th percentile",
    ),
    "join_100k": Target(
        value=600_000, unit="outcomes/s", floor=_JOIN, peer=_UPDATE,
        what="outcomes joined, scored, summarised and committed, 100,000 a batch",
    ),
    "join_1k": Target(
        value=90_000, unit="outcomes/s", floor=_JOIN, peer=_UPDATE,
        what="the same, 1,000 a batch, one commit each",
    ),
    "restart_s": Target(
        value=5, unit="s", floor="reading the derived state's files", at_least=False,
        what="from the start of all processes until an outcome sent over HTTP is joined",
    ),
    "sustained_predictions": Target(
        value=120_000, unit="events/s", floor="the rate that was offered",
        what="predictions acknowledged, 1,000 a request as Arrow, while outcomes come as fast",
    ),
    "sustained_outcomes": Target(
        value=120_000, unit="events/s", floor="the rate that was offered",
        what="outcomes acknowledged, 1,000 a request as Arrow, while predictions come as fast",
    ),
    "sustained_ack_p99_ms": Target(
        value=10, unit="ms", floor="a request's bytes appended and synced, 99th percentile", at_least=False,
        what="from when a request was due to its acknowledgement, 99th percentile of both",
    ),
    "sustained_lag_s": Target(
        value=1, unit="s", at_least=False,
        floor="a request's bytes appended, synced, read back and joined by NumPy",
        what="from when facts are in the log until they are folded, 99th percentile over time",
    ),
    "memory_10m_mb": Target(
        value=1_500, unit="MB", floor="key, prediction, time and outcome as NumPy columns: 40 bytes a row",
        peer="a dict of ids to row numbers, counted for a tenth of them", at_least=False,
        what="resident memory of the applier that folded 10 million predictions, all open",
    ),
    "recompute_10m_s": Target(
        value=1, unit="s", floor="the same loss over the same rows in memory by NumPy", at_least=False,
        what="a loss recomputed over 10 million predictions with outcomes, embedded",
    ),
    "postgres_in": Target(
        value=120_000, unit="events/s",
        floor="COPY into a table without a key, 1,000 a transaction, two connections",
        peer="COPY into a table with the id as key, 1,000 a transaction, two connections",
        what="predictions logged on PostgreSQL, 1,000 a batch, two writers",
    ),
    "postgres_join": Target(
        value=35_000, unit="outcomes/s", floor=_JOIN,
        peer="PostgreSQL, UPDATE by the id as key, a transaction per batch",
        what="outcomes joined, scored, summarised and committed on PostgreSQL, 1,000 a batch",
    ),
}  # fmt: skip


def figure(
    id: str,
    value: float | None,
    *,
    floor: float | None = None,
    peer: float | None = None,
    problem: str = "",
    **more: Any,
) -> Figure:
    """A figure of the ledger, with its target."""
    return TARGETS[id].figure(id, value, floor=floor, peer=peer, problem=problem, **more)
