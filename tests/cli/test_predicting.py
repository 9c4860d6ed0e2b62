"""What `lossloop predict` says of a batch, which columns it was told, and how far its bar has come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lossloop.app.books import Counts
from lossloop.app.cli.predicting import Columns, Screen, _answer, _lines, _more
from lossloop.app.importing.checking import Bad
from lossloop.app.predicting import Input, Naming, Report
from lossloop.app.predicting.progress import Batch, Read

BATCH = Batch(
    id="b", key="k", model="late", version=2, digest="d", inputs=(Read(name="o.csv", digest="x"),),
    output="answers.csv", role="champion", began=1, at=1, rows=1_004, taken=1_003, rejected=1, finished=True,
)  # fmt: skip
NONE = {"repeats": 0, "conflicts": 0}


def told(report: Report, *, folded: bool = True, **more: int) -> dict[str, Any]:
    return _answer(report, on="embedded", folded=folded) | NONE | more


def lines(report: Report, **more: Any) -> list[str]:
    return list(_lines(told(report, **more)))


def test_columns_that_were_not_named_are_none() -> None:
    assert Columns().naming() == Naming()


def test_every_column_reaches_the_batch() -> None:
    said = {"id": "order", "unit": "who", "time": "asked", "timezone": "UTC", "time_unit": "ms"}
    naming = Columns(**said).naming()
    assert {name: getattr(naming, name) for name in said} == said


@pytest.mark.parametrize(
    ("keep", "columns"),
    [("", ()), ("city", ("city",)), ("a,b", ("a", "b")), ("a,,b,", ("a", "b")), ("a,b,a", ("a", "b"))],
)
def test_kept_columns_are_each_named_once_in_their_order(keep: str, columns: tuple[str, ...]) -> None:
    assert Columns(keep=keep).naming().keep == columns


def test_a_batch_says_who_answered_how_many_and_where_to() -> None:
    assert lines(Report(batch=BATCH, read=1_004)) == [
        "late:2 answered 1,003 rows, 1 rejected: answers.csv"
    ]  # fmt: skip


def test_a_bad_row_is_named_with_its_column_where_it_has_one() -> None:
    bad = [
        ("o.csv", Bad(row=3, column="distance", reason="must be a number")),
        ("p.csv", Bad(row=9, column="", reason="the model raised")),
    ]
    first, second, *_ = lines(Report(batch=BATCH, read=1_004, bad=bad))
    assert first == "o.csv, row 3, column distance: must be a number"
    assert second == "p.csv, row 9: the model raised"


def test_rejected_rows_are_somewhere() -> None:
    found = lines(Report(batch=BATCH, read=1_004, rejects=Path("state/rejects.csv")))
    assert "rejected rows are in state/rejects.csv" in found
    assert told(Report(batch=BATCH))["rejects"] is None


def test_a_batch_that_was_done_says_that_nothing_was_left() -> None:
    found = lines(Report(batch=BATCH, before=1_004))
    assert found[0] == "1,004 rows were answered before; nothing was left to do"
    assert not any("left to do" in line for line in lines(Report(batch=BATCH, before=4, read=1_000)))
    assert not any("left to do" in line for line in lines(Report(batch=BATCH)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"repeats": 1_500}, "1,500 of them were known already and change nothing"),
        ({"conflicts": 2}, "2 ids were known with another answer; the ledger keeps the first one"),
        ({"folded": False}, "The log holds them; the loop that runs has not come to them yet."),
    ],
)
def test_what_the_loop_said_of_the_rows_stands_behind(more: dict[str, Any], words: str) -> None:
    found = lines(Report(batch=BATCH, read=1_004), **more)
    assert found[-1] == words
    assert len(found) == 2


def test_only_what_changed_meanwhile_is_of_this_batch() -> None:
    before = msgspec.convert({}, Counts)
    after = msgspec.structs.replace(before, repeats=before.repeats + 3, conflicts=before.conflicts + 1)
    assert _more(before, after) == {"repeats": 3, "conflicts": 1}
    assert _more(after, after) == NONE


def test_json_has_the_same_keys_whatever_became_of_it() -> None:
    done = told(Report(batch=BATCH, before=1_004))
    bad = told(Report(batch=BATCH, read=4, bad=[("o.csv", Bad(row=1, column="x", reason="why"))]))
    assert done.keys() == bad.keys()
    assert bad["bad"] == [{"input": "o.csv", "row": 1, "column": "x", "reason": "why"}]
    assert (bad["answered"], bad["rejected"], bad["rows"]) == (1_003, 1, 1_004)
    assert bad["answered"] + bad["rejected"] == bad["rows"]
    assert msgspec.json.decode(msgspec.json.encode(bad)) == bad


@pytest.mark.parametrize(
    ("place", "share", "done"), [(0, 0.0, 0), (0, 0.5, 50), (1, 0.0, 100), (1, 0.25, 175), (1, 1.0, 400)]
)
def test_the_bar_goes_by_what_was_read_of_all_inputs(place: int, share: float, done: float) -> None:
    screen = Screen([Input(name="a", size=100), Input(name="b", size=300)], quiet=True)
    with screen:
        screen.show(7, place, share)
    (task,) = screen._bar.tasks
    assert (task.completed, task.total, task.fields["rows"]) == (done, 400, 7)


def test_inputs_of_no_size_have_a_bar_without_an_end() -> None:
    screen = Screen([Input(name="a", size=0)], quiet=True)
    assert screen._bar.tasks[0].total is None


def test_a_quiet_command_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Screen([], quiet=True).say("[bold]folding[/]")
    assert capsys.readouterr().err == ""
    Screen([], quiet=False).say("[bold]folding[/]")
    assert "[bold]folding[/]" in capsys.readouterr().err
