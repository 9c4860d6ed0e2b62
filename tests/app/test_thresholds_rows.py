"""Scores and outcomes from files, whatever is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossloop.app.thresholds.rows import Scored, from_file, missing_by_action
from lossloop.core.errors import InputError
from lossloop.core.thresholds import Thresholds

CUT = Thresholds(actions=("pass", "block"), least=(0.5,))
OUTCOMES = st.one_of(st.none(), st.sampled_from([0, 1]))
QUICK = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(rows=st.lists(st.tuples(st.floats(0, 1), OUTCOMES, st.sampled_from("abc")), min_size=1, max_size=12))
def test_csv_and_parquet_give_the_same(rows: list[tuple[float, int | None, str]], tmp_path: Path) -> None:
    scores, outcomes, blocks = (list(each) for each in zip(*rows, strict=True))
    table = pa.table({"y_pred": scores, "y_true": pa.array(outcomes, pa.int64()), "block": blocks})
    pq.write_table(table, tmp_path / "f.parquet")
    lines = [f"{score!r},{'' if out is None else out},{block}" for score, out, block in rows]
    (tmp_path / "f.csv").write_text("\n".join(["y_pred,y_true,block", *lines]) + "\n")
    for name in ("f.parquet", "f.csv"):
        found = from_file(tmp_path / name, CUT)
        assert found.score.tolist() == scores
        assert np.isnan(found.outcome).tolist() == [each is None for each in outcomes]
        assert found.block is not None
        firsts = list(dict.fromkeys(blocks))
        assert found.block.tolist() == [firsts.index(each) for each in blocks], "in the order of the file"
        assert found.done.tolist() == [float(score >= 0.5) for score in scores]
        assert len(found.known) == sum(each is not None for each in outcomes)


def test_without_thresholds_nobody_knows_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("y_true,y_pred,more\n1,0.5,x\n,0.25,y\n")
    found = from_file(path, None)
    assert np.isnan(found.done).all()
    assert found.block is None
    assert found.known.block is None
    assert found.known.score.tolist() == [0.5]
    assert missing_by_action(found, 2) == [(0, 0), (0, 0)]


def test_missing_outcomes_are_counted_by_what_was_done() -> None:
    found = Scored(
        score=np.array([0.1, 0.2, 0.8, 0.9, 0.9]), outcome=np.array([0.0, np.nan, np.nan, np.nan, 1.0]),
        block=None, done=np.array([0.0, 0.0, 1.0, 1.0, np.nan]),
    )  # fmt: skip
    assert missing_by_action(found, 3) == [(2, 1), (2, 2), (0, 0)]


@pytest.mark.parametrize("name", ["held_out.txt", "nowhere.csv", "nowhere.parquet"])
def test_a_file_that_is_none_says_so(tmp_path: Path, name: str) -> None:
    if name.endswith(".txt"):
        (tmp_path / name).write_text("y_pred,y_true\n")
    with pytest.raises(InputError, match=r"must end with one of|cannot read"):
        from_file(tmp_path / name, None)


def test_a_parquet_file_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"y_pred": [0.5], "y_true": [1]}), path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        from_file(path, None)
