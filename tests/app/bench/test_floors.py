"""Floors and peers do the same work as what they stand beside."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lossloop import losses
from lossloop.app.bench.floors import Joined, appended, log_loss
from lossloop.app.bench.keyed import keyed
from lossloop.app.bench.memory import _dict_mb


def test_every_piece_is_appended_and_timed(tmp_path: Path) -> None:
    times = appended(tmp_path, [b"a" * 100, b"b" * 50])
    assert len(times) == 2
    assert min(times) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_floor_of_a_join_joins(tmp_path: Path) -> None:
    joined = Joined(1_000, tmp_path)
    keys, y_true = joined.batch(50)
    assert joined.take(keys, y_true) > 0
    assert 0 < joined.loss < 50 * -math.log(0.01)
    assert joined.rate(10, 3) > 0
    joined.close()


def test_the_floors_loss_is_the_loss() -> None:
    y_true, y_pred = np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.01])
    values, problems = losses.parse("log_loss(cap=5)").rows(y_true, y_pred)
    assert not problems
    assert log_loss(y_true, y_pred) == pytest.approx(values)


def test_the_peer_inserts_and_updates_by_key(tmp_path: Path) -> None:
    with keyed(tmp_path, 100) as table:
        assert len(table.insert(np.arange(100, 130), 10)) == 3
        assert len(table.update(np.arange(0, 130, 2), 20)) == 4
        with pytest.raises(Exception, match="UNIQUE"):
            table.insert(np.array([5]), 1)
        assert table.counts() == (130, 65)
    assert list(tmp_path.iterdir()) == []


def test_a_dict_grows_with_what_is_in_it() -> None:
    assert 0 < _dict_mb(10_000) < _dict_mb(100_000)
