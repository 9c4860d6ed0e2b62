"""Training-serving skew that was sown is found and named; where there is none, none is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from lossloop.app import operate
from lossloop.app.home import Home
from lossloop.app.skew import Found, Question, check_skew
from lossloop.core.errors import InputError, UnknownName
from lossloop.ledger.facts import predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.registry import By
from tests.app.processes import lossloop
from tests.app.skew.scenes import MODEL, ROWS, Row, house, right, rows, said, serve, warehouse


def checked(home: Home, raw: Path | None = None, **said: Any) -> Found:
    given = {"raw": (str(raw),), "id": "order"} if raw is not None else {}
    return check_skew(home, Question(**{"model": MODEL, **given, **said}))


def in_metres(row: Row) -> Row:
    """A unit error: nobody divided."""
    return {**right(row), "kilometres": row["metres"]}


def in_another_zone(row: Row) -> Row:
    """Hours of another time zone."""
    return {**right(row), "hour": right(row)["hour"] + 2.0}


def with_a_default(row: Row) -> Row:
    """Nobody's income is sent as -1."""
    found = right(row)
    return {**found, "income": -1.0 if found["income"] is None else found["income"]}


def other_words(row: Row) -> Row:
    """Another spelling."""
    found = right(row)
    return {**found, "paint": "RED" if found["paint"] == "red" else found["paint"]}


def forgetful(row: Row) -> Row:
    """A join that found nothing."""
    return {**right(row), "paint": None}


@pytest.mark.parametrize(
    ("service", "name", "share", "pattern"),
    [
        (in_metres, "kilometres", 399 / 400, "what was sent is 1000 times what should be"),
        (in_another_zone, "hour", 1.0, "what was sent is what should be plus 2"),
        (with_a_default, "income", 0.25, "a value was sent where there is none: -1"),
        (other_words, "paint", 133 / 400, "'RED' was sent for 'red'"),
        (forgetful, "paint", 266 / 400, "nothing was sent where there is a value"),
    ],
)
def test_a_sown_skew_is_found_and_named(
    tmp_path: Path, service: Callable[[Row], Row], name: str, share: float, pattern: str
) -> None:
    home = house(tmp_path / "s")
    serve(home, service)
    found = checked(home, warehouse(tmp_path / "raw.parquet"))
    assert found.skewed == (name,)
    assert not found.fine
    (wrong,) = [each for each in found.features if each.name == name]
    assert wrong.share.estimate == pytest.approx(share, abs=0.003)
    assert wrong.share.low <= share <= wrong.share.high
    assert wrong.pattern == pattern
    assert len(wrong.examples) == 5
    # What was answered fits what was sent: the skew is in the features, and not in the model.
    assert found.answers is not None
    assert found.answers.differing == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_where_there_is_none_none_is_found(tmp_path: Path, as_json: bool) -> None:
    home = house(tmp_path / "s")
    serve(home, right, as_json=as_json)
    found = checked(home, warehouse(tmp_path / "raw.parquet"))
    assert found.fine
    assert (found.rows, found.matched, found.unread) == (ROWS, ROWS, 0)
    assert [each.differing for each in found.features] == [0, 0, 0, 0]
    assert all(0.005 < each.share.high < 0.01 for each in found.features)


def test_answers_that_the_version_does_not_give_are_found(tmp_path: Path) -> None:
    """Another model answered than the one that was registered."""
    home = house(tmp_path / "s")
    serve(home, right, answer=lambda row: said(row) + (1.0 if row["hour"] > 20 else 0.0))
    found = checked(home)
    assert found.skewed == ("y_pred",)
    assert found.answers is not None
    assert found.answers.pattern == "what was sent is what should be plus 1"
    assert found.answers.share.estimate == 0.1
    assert found.features == ()


def test_a_few_rows_may_be_allowed_to_differ(tmp_path: Path) -> None:
    home, raw = house(tmp_path / "s"), warehouse(tmp_path / "raw.parquet")
    serve(home, lambda row: in_metres(row) if row["order"] in ("o1", "o2") else right(row))
    assert checked(home, raw).skewed == ("kilometres",)
    assert checked(home, raw, allow=0.01).fine
    assert checked(home, raw, tolerance=0.999).skewed == ()


def test_raw_inputs_that_were_sent_are_held_against_those_of_a_file(tmp_path: Path) -> None:
    """Where Lossloop makes the features, what can be skewed is what callers send."""
    home = house(tmp_path / "s", by=By.SERVER)
    sent = [{**row, "minute": row["minute"] + 120.0} for row in rows()]
    names = ("metres", "minute", "income", "paint")
    columns = [pa.array([row[name] for row in sent]) for name in names]
    batch = predictions(
        {
            "id": [row["order"] for row in sent],
            "version": [1] * ROWS,
            "time": list(range(ROWS)),
            "y_pred": [said(right(row)) for row in sent],
            "features": pa.StructArray.from_arrays(columns, names),
        },
        model=MODEL,
    )  # fmt: skip
    writer = home.log.writer()
    writer.append([Frame(kind=Kind.PREDICTION, time=1, batch=batch)])
    writer.close()
    operate.fold_here(home)
    found = checked(home, warehouse(tmp_path / "raw.parquet"))
    assert found.skewed == ("minute",)
    assert found.features[1].pattern == "what was sent is what should be plus 120"
    assert found.answers is not None
    assert found.answers.differing == 0


def test_a_version_that_is_served_elsewhere_has_its_features_compared(tmp_path: Path) -> None:
    home = house(tmp_path / "s", runtime="external")
    serve(home, in_metres)
    found = checked(home, warehouse(tmp_path / "raw.parquet"))
    assert found.answers is None
    assert found.skewed == ("kilometres",)


def test_a_sample_is_drawn_and_the_same_every_time(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    serve(home, in_another_zone)
    one, other = (checked(home, warehouse(tmp_path / "raw.parquet"), rows=50) for _ in range(2))
    assert one == other
    assert (one.rows, one.seen) == (50, ROWS)
    assert one.skewed == ("hour",)


def test_only_rows_of_which_there_are_raw_inputs_count(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    serve(home, right)
    table = pa.Table.from_pylist(rows(40)).append_column("more", pa.array(["x"] * 40))
    table = table.set_column(1, "metres", pa.array([None, *[100.0 * place for place in range(1, 40)]]))
    pa_csv.write_csv(table, tmp_path / "raw.csv")
    found = checked(home, tmp_path / "raw.csv")
    assert (found.rows, found.matched, found.unread) == (39, 39, 1)
    assert found.fine


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    with pytest.raises(InputError, match="the log has no predictions by m:1 with their features"):
        checked(home)
    serve(home, right)
    with pytest.raises(InputError, match="say which column of the raw inputs has the ids"):
        Question(model=MODEL, raw=("raw.csv",))
    (tmp_path / "raw.csv").write_text("id,metres,minute\no1,1,2\n")
    with pytest.raises(UnknownName, match="unknown column 'order'"):
        checked(home, tmp_path / "raw.csv")
    (tmp_path / "raw.csv").write_text("order,metres,minute\nelsewhere,1,2\n")
    with pytest.raises(InputError, match="no predictions of these ids by m:1"):
        checked(home, tmp_path / "raw.csv")
    with pytest.raises(UnknownName, match="m:7"):
        checked(home, version=7)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"allow": 1.0}, {"tolerance": -0.1}])
def test_numbers_of_a_question_lie_within_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Question(model=MODEL, **wrong)


def test_the_command_names_it_and_ends_with_1(tmp_path: Path) -> None:
    home, raw = house(tmp_path / "s"), warehouse(tmp_path / "raw.parquet")
    serve(home, in_metres)
    done = lossloop("check", "skew", MODEL, "--raw", str(raw), "--id", "order", state=home.path)
    assert done.returncode == 1, done.stderr
    assert "  kilometres: SKEW in 99.75% of 400 rows (95%: 98.615% to 99.994%)" in done.stdout
    assert "    what was sent is 1000 times what should be" in done.stdout
    assert "  y_pred: the same in all 400 rows (95%: at most 0.918% differ)" in done.stdout
    plain = lossloop("check", "skew", MODEL, "--json", state=home.path)
    assert plain.returncode == 0, plain.stdout
    told = json.loads(plain.stdout)
    assert (told["fine"], told["skewed"], told["answers"]["differing"]) == (True, [], 0)
