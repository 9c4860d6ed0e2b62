"""Anybody's tools open what is sealed: DuckDB and Polars read the rows, their features and their models."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest

from lossloop.ledger.files.manifests import sealed_directory
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog
from tests.ledger.anyframes import write
from tests.ledger.samples import features, outcome_frame, prediction_frame


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Two models, of which one declares its features, and two segments."""
    log = SegmentLog(tmp_path / "log")
    given = features([{"distance": 3.0, "city": "Köln"}, {"distance": 14.0, "city": None}])
    write(
        log,
        [
            [
                prediction_frame(["a", "b"], [0.25, 0.75], model="late", time=1_000_000, features=given),
                outcome_frame({"a": 0.0, "b": 1.0}, model="late", time=2_000_000),
                prediction_frame(["c"], [0.5], model="churn.v2", unit=["ada"]),
            ],
            [prediction_frame(["d"], [0.9], model="late", time=3_000_000, features=given.slice(1))],
        ],
    )
    seal(log.directory)
    return sealed_directory(log.directory)


def asked(query: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        return list(connection.execute(query).fetchall())


def test_duckdb_joins_predictions_and_outcomes(sealed: Path) -> None:
    found = asked(
        f"""
        SELECT p.id, p.y_pred, p.features.distance AS distance, p.features.city AS city, o.y_true,
               epoch_us(p.frame_time) AS received
        FROM read_parquet('{sealed}/predictions/model=late/*.parquet') AS p
        LEFT JOIN read_parquet('{sealed}/outcomes/model=late/*.parquet') AS o USING (id)
        ORDER BY p.id
        """
    )
    assert found == [
        ("a", 0.25, 3.0, "Köln", 0.0, 1_000_000),
        ("b", 0.75, 14.0, None, 1.0, 1_000_000),
        ("d", 0.9, 14.0, None, None, 3_000_000),
    ]


def test_duckdb_reads_all_models_by_the_name_of_their_directory(sealed: Path) -> None:
    found = asked(
        f"""
        SELECT model, count(*), count(DISTINCT frame_end) FROM
            read_parquet('{sealed}/predictions/*/*.parquet', hive_partitioning=true, union_by_name=true)
        GROUP BY model ORDER BY model
        """
    )
    assert found == [("churn.v2", 1, 1), ("late", 3, 2)]


def test_polars_scans_what_it_needs(sealed: Path) -> None:
    lazy = pl.scan_parquet(
        sealed / "predictions" / "**" / "*.parquet",
        hive_partitioning=True,
        missing_columns="insert",
        extra_columns="ignore",
    )
    found = lazy.filter(pl.col("y_pred") > 0.6).select("model", "id", "y_pred").sort("id").collect()
    assert found.rows() == [("late", "b", 0.75), ("late", "d", 0.9)]


def test_polars_reads_features_as_a_struct(sealed: Path) -> None:
    frame = pl.read_parquet(sealed / "predictions" / "model=late" / "*.parquet", hive_partitioning=False)
    assert frame.select(pl.col("features").struct.field("distance")).to_series().to_list() == [
        3.0,
        14.0,
        14.0,
    ]
    assert frame.schema["time"] == pl.Datetime("us", "UTC")


def test_arrow_sees_the_models_as_partitions(sealed: Path) -> None:
    found = ds.dataset(sealed / "outcomes", partitioning="hive").to_table(columns=["model", "id", "y_true"])
    assert sorted(found.column("id").to_pylist()) == ["a", "b"]
    assert set(found.column("model").to_pylist()) == {"late"}
