"""Predictions and outcomes in every shape and encoding that is taken, over real HTTP."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from lossloop.app.http.bodies import MOST_BYTES
from lossloop.app.http.endpoints import ARROW
from lossloop.core.ids import new_id
from tests.app.server import Reply, Server


def post(server: Server, path: str, body: bytes, *, wait: float = 10, **headers: str) -> Reply:
    """Send bytes under headers; `content_type` stands for Content-Type."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    all_headers = {"Authorization": f"Bearer {server.home.tokens.read()}", "Prefer": f"wait={wait}", **named}
    answer = server.pool.request("POST", server.up.url + path, body=body, headers=all_headers)
    return Reply(status=answer.status, headers=answer.headers, body=json.loads(answer.data))


def stream(columns: Mapping[str, Any], **metadata: str) -> bytes:
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def arrow(server: Server, path: str, columns: Mapping[str, Any], **metadata: str) -> Reply:
    return post(server, path, stream(columns, **metadata), content_type=ARROW)


def packed(raw: bytes, codec: str) -> bytes:
    if codec == "gzip":
        return gzip.compress(raw)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as packing:
        packing.write(raw)
    return bytes(sink.getvalue().to_pybytes())


@pytest.fixture(scope="module")
def recorded(server: Server) -> str:
    """A model of another system."""
    return server.model(versions=0)


def labels(server: Server, model: str, *ids: str) -> list[Any]:
    return [(server.kept(model, id) or {}).get("y_true") for id in ids]


# Columns.


def test_columns_are_taken_like_rows(server: Server, recorded: str) -> None:
    ids = [new_id(), new_id()]
    columns = {
        "id": ids, "version": [1, 1], "y_pred": [0.25, 1], "unit": ["ann", None],
        "role": ["challenger", None], "propensity": [0.5, None],
        "time": ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00"],
        "features": {"plan": ["pro", None], "visits": [3, 4.5]},
    }  # fmt: skip
    reply = server.call("POST", "/v1/predictions", {"model": recorded, "columns": columns}, wait=10)
    assert (reply.status, reply.body["accepted"]) == (200, 2)
    one, two = (server.kept(recorded, id) for id in ids)
    assert one is not None
    assert two is not None
    assert {key: one[key] for key in ("y_pred", "unit", "role", "propensity", "time")} == {
        "y_pred": 0.25, "unit": "ann", "role": "challenger", "propensity": 0.5, "time": "2024-01-01T00:00:00Z"
    }  # fmt: skip
    assert {key: two[key] for key in ("y_pred", "unit", "role", "propensity", "time")} == {
        "y_pred": 1.0, "unit": None, "role": "champion", "propensity": 1.0, "time": "2024-01-01T00:00:00Z"
    }  # fmt: skip
    happened = {"id": [*ids, ids[0]], "y_true": [True, None, 0], "reason": [None, "lost", None]}
    reply = server.call("POST", "/v1/outcomes", {"model": recorded, "columns": happened}, wait=10)
    assert (reply.status, reply.errors, reply.body["accepted"]) == (422, [(2, "id")], 2)
    assert labels(server, recorded, *ids) == [1.0, None]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "outcomes", "send rows under 'outcomes', or lists under 'columns'"),
        ({"outcomes": [], "columns": {}}, "columns", "send either 'outcomes' or 'columns'"),
        ({"columns": {"id": ["a"]}}, "columns.y_true", "the column 'y_true' is missing"),
        ({"columns": {"id": ["a"], "y_true": [1, 0]}}, "columns.y_true", "y_true has 2 values, id 1"),
        ({"columns": {"id": [], "y_true": []}}, "rows", "send a list of one row or more"),
        ({"columns": {"id": ["a"] * 100_001, "y_true": [1] * 100_001}}, "rows", "100001 rows in one request"),
    ],
)
def test_what_are_no_columns_is_refused_as_a_whole(
    server: Server, recorded: str, body: dict[str, Any], field: str, words: str
) -> None:
    reply = server.call("POST", "/v1/outcomes", {"model": recorded, **body})
    assert (reply.status, reply.body["field"]) == (422, field)
    assert words in reply.detail


# Arrow.


def test_an_arrow_stream_is_taken_and_its_bad_rows_are_named(server: Server, recorded: str) -> None:
    ids = [new_id() for _ in range(4)]
    columns = {"id": ids, "version": [1, 1, 9, 1], "y_pred": [0.25, 1.5, 0.5, 0.75]}
    reply = arrow(server, "/v1/predictions", columns, model=recorded)
    assert (reply.status, reply.body["accepted"]) == (422, 2)
    assert reply.errors == [(1, "y_pred"), (2, "version")]
    assert [each["detail"] for each in reply.body["errors"]] == [
        "a probability lies in [0, 1]; got 1.5", f"unknown version of {recorded} '9'; there are: 1"
    ]  # fmt: skip
    reply = arrow(server, f"/v1/outcomes?model={recorded}", {"id": ids, "y_true": [1.0, 0.0, 1.0, None]})
    assert (reply.status, reply.body["accepted"]) == (200, 4)
    assert labels(server, recorded, *ids) == [1.0, None, None, None]


def test_many_rows_at_once_are_all_there(server: Server) -> None:
    model = server.model(versions=0)
    ids = [new_id() for _ in range(100_000)]
    columns = {"id": ids, "version": pa.array([1] * len(ids)), "y_pred": pa.array([0.5] * len(ids))}
    assert arrow(server, "/v1/predictions", columns, model=model).body["accepted"] == len(ids)
    counts = server.call("GET", f"/v1/models/{model}").body["counts"]
    assert counts["predictions"] == len(ids)
    assert server.kept(model, ids[-1]) is not None


@pytest.mark.parametrize(
    ("query", "metadata", "status", "words"),
    [
        ("", {}, 422, "name the model: ?model=NAME, or the key model in the schema's metadata"),
        ("?model=a&model=b", {}, 422, "name one model"),
        ("?model=a", {"model": "b"}, 422, "the query names the model 'a', the schema 'b'"),
        ("?model=no-such", {}, 404, "unknown model 'no-such'"),
    ],
)
def test_a_stream_needs_one_model(
    server: Server, query: str, metadata: dict[str, str], status: int, words: str
) -> None:
    reply = arrow(server, f"/v1/outcomes{query}", {"id": ["a"], "y_true": [1.0]}, **metadata)
    assert (reply.status, reply.body["field"]) == (status, "model")
    assert words in reply.detail


def test_a_column_of_the_wrong_type_is_refused_as_a_whole(server: Server, recorded: str) -> None:
    reply = arrow(server, "/v1/outcomes", {"id": [1], "y_true": [1.0]}, model=recorded)
    assert (reply.status, reply.body["field"]) == (422, "id")
    assert reply.detail == "the column 'id' has type int64; send text"


def test_what_is_no_stream_or_not_wanted_as_one_is_refused(server: Server, model: str) -> None:
    assert "the body is no Arrow stream" in post(server, "/v1/outcomes", b"{}", content_type=ARROW).detail
    reply = post(server, f"/v1/models/{model}/predict", b"{}", content_type=f"{ARROW}; charset=utf-8")
    assert (reply.status, reply.detail) == (415, "this endpoint takes JSON")


# Encodings.


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("kind", ["json", "arrow"])
def test_bodies_may_be_compressed(server: Server, recorded: str, codec: str, kind: str) -> None:
    id = new_id()
    server.record(recorded, {"id": id, "version": 1, "y_pred": 0.5})
    if kind == "json":
        raw, content = (
            json.dumps({"model": recorded, "outcomes": [{"id": id, "y_true": 1}]}).encode(),
            "application/json",
        )
    else:
        raw, content = stream({"id": [id], "y_true": [1.0]}, model=recorded), ARROW
    reply = post(server, "/v1/outcomes", packed(raw, codec), content_type=content, content_encoding=codec)
    assert (reply.status, reply.body["accepted"]) == (200, 1)
    assert labels(server, recorded, id) == [1.0]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_is_unpacked(server: Server, codec: str) -> None:
    bomb = packed(b" " * (4 * MOST_BYTES), codec)
    assert len(bomb) < MOST_BYTES / 10
    reply = post(server, "/v1/outcomes", bomb, content_encoding=codec)
    assert reply.status == 413
    assert reply.detail == f"the body has more than {MOST_BYTES} bytes: send smaller batches"


@pytest.mark.parametrize(
    ("encoding", "body", "status", "words"),
    [
        ("gzip", b"{}", 400, "the body is not gzip"),
        ("zstd", gzip.compress(b"{}", mtime=0), 400, "the body is not zstd"),
        ("gzip", gzip.compress(b'{"model": "m"}' * 99, mtime=0)[:-9], 400, "the body is not gzip: Truncated"),
        ("br", b"{}", 415, "the Content-Encoding 'br' is not taken; use gzip, deflate or zstd"),
        ("gzip, zstd", b"{}", 415, "the Content-Encoding 'gzip, zstd' is not taken"),
        ("identity", b"{}", 400, "Object missing required field `model`"),
    ],
)
def test_what_is_not_packed_as_it_says_is_refused(
    server: Server, encoding: str, body: bytes, status: int, words: str
) -> None:
    reply = post(server, "/v1/outcomes", body, content_encoding=encoding)
    assert reply.status == status
    assert words in reply.detail


# At once.


def test_rows_sent_by_many_at_once_are_all_there(server: Server) -> None:
    model = server.model(versions=0)
    refused: list[Any] = []

    def send(thread: int) -> None:
        for number in range(50):
            row = {
                "id": f"{thread}-{number}",
                "version": 1,
                "y_pred": 0.5,
                "unit": f"u{thread}" if thread % 2 else None,
            }
            body = json.dumps({"model": model, "predictions": [row]}).encode()
            reply = post(server, "/v1/predictions", body, wait=0)
            if reply.status != 200:
                refused.append(reply.body)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused
    server.outcomes(model, {"id": "0-0", "y_true": 1})
    assert server.call("GET", f"/v1/models/{model}").body["counts"]["predictions"] == 400
    assert labels(server, model, "0-0") == [1.0]
