"""The contest is fair: the oracle is the known one, and every peer does what its rule says."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from river import drift

from lossloop.app.bench.contest import figures, ours, peers
from lossloop.app.bench.contest.cells import CELLS, Cell, Row, ahead, compete, healthy, median_delay, stream
from lossloop.app.bench.contest.oracle import Oracle, calibrated
from lossloop.core.errors import StateError
from lossloop.judges import Engine, parse

Flags = npt.NDArray[np.bool_]


def flags(*counts: tuple[int, int]) -> Flags:
    """One stream: windows of so many outcomes, of which so many, at the front, are 1."""
    return np.concatenate([np.arange(size) < ones for size, ones in counts])[None]


def alarm_of(make: Callable[..., Any], losses: npt.NDArray[np.bool_], **options: int) -> int:
    """When one of River's own first alarms, from 1; 0 for never."""
    detector = make(**options)
    for place, loss in enumerate(losses, start=1):
        detector.update(int(loss))
        if detector.drift_detected:
            return place
    return 0


# The oracle: statistics.md, section 3.


@pytest.mark.parametrize(("changed", "delay"), [(0.12, 2389), (0.15, 550), (0.20, 178)])
def test_the_oracle_s_delay_is_the_published_one(changed: float, delay: float) -> None:
    oracle = calibrated(0.10, changed, 2e5, states=300)
    assert oracle.mean_time_to_false_alarm() == pytest.approx(2e5, rel=1e-3)
    assert oracle.mean_delay() == pytest.approx(delay, rel=0.01)


def test_the_oracle_s_chain_is_its_simulation() -> None:
    oracle = Oracle(0.10, 0.20, 3.0, states=400)
    rng = np.random.default_rng(0)
    for risk, expected in ((0.10, oracle.mean_time_to_false_alarm()), (0.20, oracle.mean_delay())):
        up, down = math.log(2.0), math.log(0.8 / 0.9)
        value, running, total = np.zeros(900), np.ones(900, dtype=np.bool_), 0
        while running.any():
            total += int(running.sum())
            step = np.where(rng.random(900) < risk, up, down)
            value = np.maximum(value + step, 0.0)
            running &= value <= 3.0
        assert total / 900 == pytest.approx(expected, rel=0.12)


# Ours.


def test_ours_is_the_engine() -> None:
    losses = np.random.default_rng(1).random((20, 3000)) < 0.16
    engine = Engine(parse("1 per 1000 outcomes"))
    found = ours.judge(engine.promise)(losses)
    for alarm, row in zip(found, losses, strict=True):
        state, _ = engine.update(engine.start(), row / 0.1)
        assert alarm == (state.crossed or np.inf)


# The peers.


def test_failed_windows_are_counted_wherever_they_are() -> None:
    losses = flags((100, 13), (100, 12), (100, 20), (100, 0), (100, 13), (50, 50))
    assert peers.failed_windows(above=1.2, needed=3)(losses).tolist() == [500]
    assert peers.failed_windows(above=1.2, needed=4)(losses).tolist() == [np.inf]
    assert peers.failed_windows(above=1.2, needed=1)(losses[:, :90]).tolist() == [np.inf]


def test_a_peeked_t_test_is_the_usual_one() -> None:
    losses = flags((100, 14), (100, 18), (100, 10))
    means = np.array([0.14, 0.16, 0.14])
    z = (means - 0.1) / np.sqrt(means * (1 - means) / np.array([100, 200, 300]))
    assert peers.t_test_peaks(losses, 100) == pytest.approx(z.max())
    assert peers.peeked_t_test(every=100, z=float(z[0]) + 0.01)(losses).tolist() == [200]
    assert peers.peeked_t_test(every=100, z=float(z.max()) + 0.01)(losses).tolist() == [np.inf]


def test_chunk_limits_are_those_of_the_reference() -> None:
    detect = peers.chunk_limits(100, chunks=4000)
    assert detect(flags((100, 18), (100, 20), (100, 30))).tolist() == [200]
    assert np.isfinite(peers.chunk_limits(100, chunks=3)(healthy(300, 0))).mean() > 0.5


def test_kswin_s_table_is_river_s_test() -> None:
    """Over a jump from 0 to 1 no lot is drawn that matters, so both see it at the same outcome."""
    table = peers.kswin_decisions()
    assert not table.diagonal().any()
    assert (table == table.T).all()
    jump = np.concatenate((np.zeros((3, 300)), np.ones((3, 40))), axis=1) > 0.5
    place = alarm_of(drift.KSWIN, jump[0], seed=1)
    assert place == 300 + int(table[0].argmax())
    assert peers.kswin()(jump).tolist() == [place] * 3


def test_river_s_detectors_are_run_to_their_first_alarm() -> None:
    losses = np.concatenate((np.zeros((2, 500)), np.ones((2, 200))), axis=1) > 0.5
    found = peers.as_configured()["ADWIN"](losses)
    assert found[0] == found[1]
    place = alarm_of(drift.ADWIN, losses[0])
    assert found[0] == place
    for tuned in (peers.adwin(0.9), peers.page_hinkley(delta=0.01, threshold=5.0), peers.ddm(2.0)):
        assert 500 < tuned(losses)[0] <= place


def test_a_library_that_is_missing_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(StateError, match=r"River is not installed.*lossloop\[peers\]"):
        peers.as_configured()


# The contest.


def test_streams_change_when_and_as_they_should() -> None:
    cell = Cell(0.20, 2_000)
    losses = stream(cell, 300, 1_000, 0)
    assert losses.shape == (300, 3_000)
    assert losses[:, :2_000].mean() == pytest.approx(0.10, abs=0.003)
    assert losses[:, 2_000:].mean() == pytest.approx(0.20, abs=0.004)
    assert (stream(cell, 300, 1_000, 0) == losses).all()
    assert not (stream(cell, 300, 1_000, 1) == losses).all()


def test_alarms_before_the_change_are_no_delays() -> None:
    cell = Cell(0.20, 2_000)
    assert median_delay(np.array([5.0, 2_100.0, 2_300.0, np.inf, 2_000.0]), cell) == 300.0
    assert median_delay(np.array([5.0]), cell) == np.inf


def test_ahead_is_ahead_of_all_that_may_be_compared() -> None:
    mine = Row("ours", 0.02, (100.0,) * 9)
    slow = Row("slow", 0.0, (np.inf,) * 8 + (90.0,))
    wild = Row("wild", 0.06, (1.0,) * 9)
    assert ahead(mine, [slow, wild]) == list(CELLS[:8])
    assert ahead(mine, [Row("same", 0.05, (100.0,) * 9)]) == []


def test_a_row_tells_false_alarms_and_delays() -> None:
    row = compete("always", lambda losses: np.full(len(losses), 10_500.0), streams=4, until=600, seed=0)
    assert (row.false_alarms, row.allowed) == (1.0, False)
    assert row.delays == (10_500.0, 8_500.0, 500.0) * 3


def test_a_broken_promise_is_noticed() -> None:
    assert figures.Kept("5% once", "0 or 1", 0.08, 0.05, 1000).broken
    assert not figures.Kept("5% once", "0 or 1", 0.06, 0.05, 1000).broken


def test_the_worst_delay_is_near_the_best_possible() -> None:
    """Statistics.md: 230 mean outcomes to .20, 1.29 times the oracle."""
    assert figures.worst_delay(0.20, 1500) == pytest.approx(230, rel=0.08)
