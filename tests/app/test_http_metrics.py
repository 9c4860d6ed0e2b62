"""What the server counts: every row and every refusal, in a text that Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossloop.app.http.metrics import COUNTED
from tests.app.server import Server, serving, within


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, so that nobody else is counted."""
    with serving(Path(tmp_path_factory.mktemp("metrics") / "state")) as server:
        yield server


def text(server: Server) -> str:
    answer = server.pool.request(
        "GET", f"{server.up.url}/metrics", headers={"Authorization": f"Bearer {server.home.tokens.read()}"}
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.data.decode()


def figures(server: Server) -> dict[str, float]:
    lines = [line for line in text(server).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_every_line_is_what_prometheus_reads(counted: Server) -> None:
    sample = re.compile(r'lossloop_[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? [0-9.e+-]+')
    head = re.compile(r"# (HELP lossloop_[a-z_]+ .+\.|TYPE lossloop_[a-z_]+ (counter|gauge|histogram))")
    lines = text(counted).splitlines()
    assert lines
    assert not [line for line in lines if not sample.fullmatch(line) and not head.fullmatch(line)]
    for name in COUNTED:
        assert f"# TYPE lossloop_{name}_total counter" in lines


def test_rows_and_refusals_are_counted(counted: Server) -> None:
    model = counted.model(versions=0)
    good, bad = {"version": 1, "y_pred": 0.5}, {"version": 1, "y_pred": 7}
    before = figures(counted)
    counted.record(model, good, bad, good)
    counted.outcomes(model, {"id": "a", "y_true": 1})
    counted.call("POST", "/v1/outcomes", {"model": "no-such", "outcomes": [{"id": "a", "y_true": 1}]})
    counted.call("POST", "/v1/outcomes", b"{")
    counted.call("POST", "/v1/outcomes", {}, token="wrong")
    after = figures(counted)

    def more(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert more('lossloop_rows_total{kind="prediction"}') == 2
    assert more('lossloop_rows_total{kind="outcome"}') == 1
    assert more('lossloop_rows_refused_total{kind="prediction",reason="bad_row"}') == 1
    for reason in ("unknown_name", "malformed", "access_error"):
        assert more(f'lossloop_refusals_total{{reason="{reason}"}}') == 1
    requests = 'lossloop_requests_total{{method="POST",path="{}",status="{}"}}'
    assert more(requests.format("/v1/predictions", 422)) == 1
    assert more(requests.format("/v1/outcomes", 200)) == 1
    assert more(requests.format("/v1/outcomes", 404)) == 1
    assert more(requests.format("/v1/outcomes", 401)) == 1
    assert more("lossloop_recorder_group_count") == more("lossloop_recorder_group_sum") == 2


def test_what_waits_is_shown(counted: Server) -> None:
    found = figures(counted)
    assert found["lossloop_recorder_waiting"] == found["lossloop_recorder_waiting_bytes"] == 0
    assert found['lossloop_recorder_group_bucket{le="+Inf"}'] == found["lossloop_recorder_group_count"]
    within(lambda: figures(counted)["lossloop_loop_lag_seconds"] == 0)


def test_latency_and_failures_of_the_present_block_are_shown(counted: Server) -> None:
    model = counted.model(versions=0)
    rows = [{"version": 1, "y_pred": 0.5, "latency_ms": took} for took in (10.0, 20.0, 30.0, 900.0)]
    counted.record(model, *rows, {"version": 1, "error": "TimeoutError"})
    labels = f'model="{model}",version="1",role="champion"'
    within(lambda: figures(counted)[f"lossloop_failed{{{labels}}}"] == 1)
    found = figures(counted)
    assert 20 <= found[f'lossloop_latency_ms{{{labels},quantile="0.5"}}'] <= 21
    assert 860 <= found[f'lossloop_latency_ms{{{labels},quantile="0.99"}}'] <= 900


def test_rows_to_predict_are_counted_too(counted: Server) -> None:
    model = counted.model()
    before = figures(counted)
    counted.predict(model, {"features": {"x": 1}}, {"features": {}})
    after = figures(counted)
    for name in ('rows_total{kind="predict"}', 'rows_refused_total{kind="predict",reason="bad_row"}'):
        assert after[f"lossloop_{name}"] == before.get(f"lossloop_{name}", 0) + 1
