"""What a server counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lossloop.app.answers import QUANTILES, present
from lossloop.app.running import Running
from lossloop.core.clock import SECOND
from lossloop.serve.breaker import State
from lossloop.serve.counters import Counters, Sizes

COUNTED: Mapping[str, str] = {
    "requests": "Requests answered, by endpoint and status.",
    "refusals": "Requests refused as a whole, by reason.",
    "rows": "Rows that are durable, by kind.",
    "rows_refused": "Rows refused, by kind and reason.",
    "limited": "Answers that a limit or a constraint cut or stopped, by version and what was done then.",
}
"""What stands in Counters, and what it means."""


def metrics(running: Running) -> str:
    """All figures."""
    waiting, size = running.recorder.depth()
    lines = [
        *_counters(running.service.counters),
        *_gauge("recorder_waiting", "Appends that wait for the disk.", waiting),
        *_gauge("recorder_waiting_bytes", "Bytes that wait for the disk.", size),
        *_sizes("recorder_group", "Appends in one durable write.", running.recorder.groups),
        *_gauge("loop_lag_seconds", "How far the loop is behind what is durable.", _lag(running)),
        *_answers(running),
        *_circuits(running),
    ]
    return "\n".join(lines) + "\n"


def _lag(running: Running) -> float:
    """Seconds since the receipt of what was folded last; 0 where nothing waits to be folded."""
    if not running.behind():
        return 0.0
    return max(running.clock.now() - running.books.now(), 0) / SECOND


def _answers(running: Running) -> Iterator[str]:
    """How answers came in the present block, of versions that have traffic."""
    found = [
        (f'model="{model}",version="{each.version}",role="{each.role}"', each)
        for model in running.books.models()
        for each in present(running.books, model)
    ]
    yield from _head("failed", "Predictions that failed in the present block.", "gauge")
    for labels, each in found:
        yield f"lossloop_failed{{{labels}}} {each.failed}"
    yield from _head("latency_ms", "What answers took in the present block.", "gauge")
    for labels, each in found:
        for share in QUANTILES.values() if each.latency.count else ():
            yield f'lossloop_latency_ms{{{labels},quantile="{share:g}"}} {each.latency.quantile(share):g}'


def _circuits(running: Running) -> Iterator[str]:
    """Which versions are not asked, or on trial, by this process."""
    yield from _head("circuit", "0 where a version is asked, 1 on trial, 2 where it is not asked.", "gauge")
    fleet = running.service.fleet
    for model in running.books.models():
        for number in fleet.ready(model):
            state = fleet.guarding.circuits.circuit((model, number)).state
            yield f'lossloop_circuit{{model="{model}",version="{number}"}} {_STATES.index(state)}'


_STATES = (State.CLOSED, State.HALF_OPEN, State.OPEN)


def _counters(counters: Counters) -> Iterator[str]:
    for name, words in COUNTED.items():
        yield from _head(f"{name}_total", words, "counter")
        found = sorted((labels, count) for (each, labels), count in counters.values.items() if each == name)
        for labels, count in found:
            said = ",".join(f'{key}="{value}"' for key, value in labels)
            yield f"lossloop_{name}_total{{{said}}} {count}"


def _gauge(name: str, words: str, value: float) -> Iterator[str]:
    yield from _head(name, words, "gauge")
    yield f"lossloop_{name} {value:g}"


def _sizes(name: str, words: str, sizes: Sizes) -> Iterator[str]:
    yield from _head(name, words, "histogram")
    for bound, count in sizes.up_to().items():
        yield f'lossloop_{name}_bucket{{le="{bound}"}} {count}'
    yield f'lossloop_{name}_bucket{{le="+Inf"}} {sizes.count}'
    yield f"lossloop_{name}_sum {sizes.total}"
    yield f"lossloop_{name}_count {sizes.count}"


def _head(name: str, words: str, kind: str) -> Iterator[str]:
    yield f"# HELP lossloop_{name} {words}"
    yield f"# TYPE lossloop_{name} {kind}"
