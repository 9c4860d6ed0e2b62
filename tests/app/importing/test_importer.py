"""History goes in once, whatever is given again, and stands where its events were."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lossloop.app import operate
from lossloop.app.home import Home
from lossloop.app.importing import Importer, Job, Stopped, all_progress, open_file, read_flags
from lossloop.app.importing.progress import DOCUMENT
from lossloop.app.reading import status
from lossloop.core.clock import DAY, HOUR, parse_time
from lossloop.core.errors import InputError, InUse, StateError, UnknownName
from lossloop.ledger.facts import TIME, micros
from lossloop.ledger.frames import Kind
from lossloop.ledger.history import labelled
from lossloop.ledger.history import predicted as history
from lossloop.ledger.joined.keys import Keys
from lossloop.registry import Feature, FeatureKind, Manifest
from tests.app.desk import MODEL, START, Desk
from tests.app.importing.pasts import (
    LONG_AGO,
    bring,
    counts,
    csv_of,
    happened,
    live,
    logged,
    parquet,
    predicted,
    reasons,
    rejected,
    text,
)

P, Y = Kind.PREDICTION, Kind.OUTCOME
HEAD = "id,time,version,y_pred"
MANY = 120_000
"""Rows of three pieces."""


def row(id: str, y_pred: str = "0.5", time: str = "2021-01-01T00:00:00Z") -> str:
    return f"{id},{time},1,{y_pred}"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return live(tmp_path / "s")


def shown(desk: Desk) -> dict[str, Any]:
    """The figures of the one version that predicted."""
    with desk.books() as books:
        (found,) = status(books, MODEL)["losses"]
    return dict(found)


# What comes of it.


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz"])
def test_the_past_is_in_the_log_once_and_its_figures_are_shown(tmp_path: Path, desk: Desk, name: str) -> None:
    write = parquet if name.endswith("parquet") else csv_of
    (sent,) = bring(desk.home, P, write(tmp_path / name, predicted(3000)))
    (known,) = bring(desk.home, Y, write(tmp_path / f"y{name}", happened(2000)))
    assert (sent.read, sent.taken, sent.rejected, known.taken) == (3000, 3000, 0, 2000)
    for kind, table in ((P, predicted(3000)), (Y, happened(2000))):
        log = logged(desk.home, kind)
        assert set(log.rows.values()) == {1}
        said = table[-1 if kind is P else 1].to_pylist()
        assert log.values == dict(zip(table["id"].to_pylist(), said, strict=True))
        assert log.history == {True}
    assert counts(desk.home) == {"predictions": 3000, "outcomes": 2000, "decisions": 1}
    found = shown(desk)
    assert (found["predictions"], found["outcomes"]) == (3000, 2000)
    loss = sum((place / 1e6 - place % 2) ** 2 for place in range(2000)) / 2000
    assert found["mean"] == pytest.approx(loss, rel=1e-9)


def test_training_gets_it_and_judges_do_not(tmp_path: Path, desk: Desk) -> None:
    bring(desk.home, P, parquet(tmp_path / "p.parquet", predicted(100)))
    bring(desk.home, Y, parquet(tmp_path / "o.parquet", happened(100)))
    state = desk.home.state()
    try:
        keys = Keys(desk.home.settings().secret)
        with closing(desk.home.log.reader()) as reader:
            rows = labelled(reader, state, keys, MODEL, until=LONG_AGO + 3 * DAY, age=6 * HOUR)
    finally:
        state.close()
    assert rows["id"].to_pylist() == predicted(100)["id"].to_pylist()
    assert rows["y_true"].to_pylist() == happened(100)["y_true"].to_pylist()
    with desk.books() as books:
        assert books.cursor(MODEL).seq == 0


def test_labels_count_as_known_since_they_were(tmp_path: Path, desk: Desk) -> None:
    bring(desk.home, P, parquet(tmp_path / "p.parquet", predicted(10)))
    bring(desk.home, Y, parquet(tmp_path / "o.parquet", happened(10)))
    state = desk.home.state()
    try:
        keys = Keys(desk.home.settings().secret)
        with (
            closing(desk.home.log.reader()) as reader,
            pytest.raises(InputError, match="no predictions with"),
        ):
            labelled(reader, state, keys, MODEL, until=LONG_AGO + DAY - HOUR, age=0)
    finally:
        state.close()


def test_outcomes_may_come_first_and_of_predictions_that_are_not_history(tmp_path: Path, desk: Desk) -> None:
    bring(desk.home, Y, parquet(tmp_path / "o.parquet", happened(10)))
    assert counts(desk.home)["waiting"] == 10
    bring(desk.home, P, parquet(tmp_path / "p.parquet", predicted(10)))
    assert counts(desk.home)["outcomes"] == 10
    ids = desk.predict(0, [0.25, 0.25])
    bring(desk.home, Y, text(tmp_path / "o.csv", "id,y_true", *(f"{id},1" for id in ids)))
    assert counts(desk.home)["outcomes"] == 12


def test_features_come_along(tmp_path: Path, desk: Desk) -> None:
    lines = [f"{row(f'p{place}')},{place},{'FR' if place else 'DE'}" for place in range(3)]
    path = text(tmp_path / "a.csv", f"{HEAD},amount,land", *lines)
    bring(desk.home, P, path, maps=["features=*"])
    (batch,) = logged(desk.home, P).frames
    assert batch.column("features").to_pylist()[1] == {"amount": 1.0, "land": "FR"}


def test_a_replay_gets_the_rows_in_the_order_of_their_times(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    times = [START + (place * 7919) % 1000 * 1_000_000 for place in range(1000)]
    table = predicted(1000).set_column(1, "time", pa.array(times).cast(TIME))
    broken = text(tmp_path / "b.csv", HEAD, row("x", time="?"), "1,2", row("y", time="2024-01-02T00:00:00Z"))
    (report,) = bring(desk.home, P, parquet(tmp_path / "a.parquet", table))
    assert report.taken == 1000
    log = logged(desk.home, P)
    assert log.history == {False}
    assert micros(pc.cast(log.frames[0].column("time"), TIME)).tolist() == sorted(times)
    (report,) = bring(desk.home, P, broken)
    assert sorted(reasons(report)) == [1, 2]
    assert report.taken == 1
    with desk.books() as books:
        assert books.now() == parse_time("2024-01-02T00:00:00Z")


def test_a_replay_needs_times(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    with pytest.raises(InputError, match="a replay takes facts in the order of their times; name the column"):
        bring(desk.home, Y, text(tmp_path / "o.csv", "id,y_true", "a,1"))


# Again.


def test_the_same_again_changes_nothing_under_any_name(tmp_path: Path, desk: Desk) -> None:
    path = parquet(tmp_path / "a.parquet", predicted(500))
    bring(desk.home, P, path)
    before = desk.everything(), len(logged(desk.home, P).frames)
    (again,) = bring(desk.home, P, path)
    (renamed,) = bring(desk.home, P, Path(shutil.copy(path, tmp_path / "b.parquet")))
    assert [(each.read, each.before, each.taken) for each in (again, renamed)] == [(0, 500, 0)] * 2
    assert (desk.everything(), len(logged(desk.home, P).frames)) == before


def test_the_same_rows_in_another_file_change_nothing_but_are_counted(tmp_path: Path, desk: Desk) -> None:
    bring(desk.home, P, parquet(tmp_path / "a.parquet", predicted(500)))
    before = shown(desk)
    bring(desk.home, P, csv_of(tmp_path / "a.csv", predicted(600)))
    assert counts(desk.home) == {"predictions": 600, "repeats": 500, "decisions": 1}
    assert before["predictions"] == 500
    bring(desk.home, P, text(tmp_path / "b.csv", HEAD, row("p0000001", "0.9")))
    assert counts(desk.home)["conflicts"] == 1


def test_a_label_that_stands_again_corrects_and_what_is_given_again_does_not(
    tmp_path: Path, desk: Desk
) -> None:
    bring(desk.home, P, parquet(tmp_path / "p.parquet", predicted(2)))
    path = text(tmp_path / "o.csv", "id,y_true", "p0000000,1", "p0000001,1", "p0000000,0")
    (report,) = bring(desk.home, Y, path)
    assert (report.taken, report.superseded) == (3, 1)
    assert logged(desk.home, Y).values == {"p0000000": 0.0, "p0000001": 1.0}
    bring(desk.home, Y, path, history=False)  # as from a watched folder
    assert counts(desk.home) == {"predictions": 2, "outcomes": 2, "repeats": 2, "decisions": 1}
    bring(desk.home, Y, text(tmp_path / "o2.csv", "id,y_true", "p0000000,1"))
    assert counts(desk.home)["corrections"] == 1


def test_an_import_that_is_stopped_goes_on_where_it_was(tmp_path: Path, desk: Desk) -> None:
    path = parquet(tmp_path / "a.parquet", predicted(MANY))
    asked = iter([False, True])
    with pytest.raises(Stopped):
        bring(desk.home, P, path, stop=lambda: next(asked))
    ((_, begun),) = all_progress(desk.home)
    assert (begun.read, begun.finished) == (100_000, False)
    (checked,) = bring(desk.home, P, path, dry_run=True)
    assert (checked.before, checked.read) == (100_000, MANY - 100_000)
    (report,) = bring(desk.home, P, path)
    assert (report.before, report.read) == (100_000, MANY - 100_000)
    log = logged(desk.home, P)
    assert (len(log.rows), set(log.rows.values())) == (MANY, {1})


def test_rows_that_were_not_counted_before_a_crash_are_sent_again_and_change_nothing(
    tmp_path: Path, desk: Desk
) -> None:
    """The one moment that is not atomic: the facts are durable, and the progress is not yet."""
    lines = [row(f"p{place}", "x" if place % 100 == 7 else "0.5") for place in range(60_000)]
    path = text(tmp_path / "a.csv", HEAD, *lines)
    asked = iter([True])
    with pytest.raises(Stopped):
        bring(desk.home, P, path, stop=lambda: next(asked))
    ((folder, begun),) = all_progress(desk.home)
    rejects = (folder / "rejects.csv").read_text()
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "rejects.csv").write_text(rejects + "a line that was cut of")
    (report,) = bring(desk.home, P, path)
    assert begun.rejected == 500
    assert (report.read, report.taken, report.rejected) == (60_000, 59_400, 600)
    bad = [str(place + 1) for place in range(60_000) if place % 100 == 7]
    assert [each["reject_row"] for each in rejected(report)] == bad
    assert counts(desk.home) == {"predictions": 59_400, "repeats": 49_500, "decisions": 1}


def test_a_damaged_progress_is_none_and_costs_only_time(tmp_path: Path, desk: Desk) -> None:
    path = parquet(tmp_path / "a.parquet", predicted(10))
    bring(desk.home, P, path)
    ((folder, _),) = all_progress(desk.home)
    (folder / DOCUMENT).write_text('{"model": ')
    bring(desk.home, P, path)
    assert counts(desk.home) == {"predictions": 10, "repeats": 10, "decisions": 1}
    (folder / DOCUMENT).unlink()
    (folder / DOCUMENT).mkdir()
    with pytest.raises(StateError, match=r"cannot read .*progress.json \(Is a directory\); is it yours\?"):
        bring(desk.home, P, path)


def test_two_at_once_do_not_mix(tmp_path: Path, desk: Desk) -> None:
    path = parquet(tmp_path / "a.parquet", predicted(10))
    bring(desk.home, P, path)
    ((folder, _),) = all_progress(desk.home)
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InUse, match="another process imports the same source with the same mapping"):
            bring(desk.home, P, path)
    finally:
        os.close(held)
    bring(desk.home, P, path)


# What does not fit.


def test_good_rows_are_taken_and_bad_ones_are_kept_to_be_mended(tmp_path: Path, desk: Desk) -> None:
    lines = [row("a"), row("b", "7"), row("c", "nan"), "d,e", row("", "0.25")]
    lines += [row("e", "0.25"), row("f", '"1,5"')]
    path = text(tmp_path / "a.csv", "key,time,version,score", *lines)
    (report,) = bring(desk.home, P, path, maps=["id=key", "y_pred=score"])
    assert (report.taken, report.rejected) == (2, 5)
    assert reasons(report) == {
        2: ("score", "a probability lies in [0, 1]; got 7"),
        3: ("score", "y_pred must be finite, not nan"),
        4: ("", "2 values where the first line has 4"),
        5: ("key", "the id is empty"),
        7: ("score", "y_pred must be a number, not '1,5'"),
    }
    found = rejected(report)
    assert [each["reject_row"] for each in found] == ["2", "3", "4", "5", "7"]
    assert (found[0]["key"], found[0]["score"]) == ("b", "7")
    assert found[2]["reject_text"] == "d,e"
    assert report.rejects is not None
    mended = tmp_path / "mended.csv"
    mended.write_text(report.rejects.read_text().replace(",7,", ",0.75,"))
    (again,) = bring(desk.home, P, mended, maps=["id=key", "y_pred=score"])
    assert (again.taken, again.rejected) == (1, 4)
    assert logged(desk.home, P).values == {"a": 0.5, "e": 0.25, "b": 0.75}


def test_a_mapping_under_which_nothing_fits_takes_nothing(tmp_path: Path, desk: Desk) -> None:
    path = text(tmp_path / "a.csv", HEAD, row("a", "high"), row("b", "low"))
    words = r"not one of the first 2 rows of .*a.csv fits, so nothing was taken; is the mapping right\? Row 1"
    with pytest.raises(InputError, match=words) as found:
        bring(desk.home, P, path)
    assert (found.value.field, found.value.row) == ("y_pred", 1)
    assert not logged(desk.home, P).rows
    assert not list(all_progress(desk.home))


def test_a_dry_run_says_what_would_be_and_does_nothing(tmp_path: Path, desk: Desk) -> None:
    path = text(tmp_path / "a.csv", HEAD, *(row(f"p{place}", str(place)) for place in range(20)))
    before = desk.everything()
    (report,) = bring(desk.home, P, path, dry_run=True)
    assert (report.read, report.taken, report.rejected) == (20, 2, 18)
    assert sorted(reasons(report)) == list(range(3, 13))
    assert report.rejects is None
    assert not logged(desk.home, P).rows
    assert desk.everything() == before
    assert not (desk.home.path / "imports").exists()


def test_an_empty_file_is_an_error_and_one_without_rows_is_not(tmp_path: Path, desk: Desk) -> None:
    with pytest.raises(InputError, match="is empty; its first line must name the columns"):
        bring(desk.home, P, text(tmp_path / "a.csv"))
    (report,) = bring(desk.home, P, text(tmp_path / "b.csv", HEAD))
    assert (report.read, report.taken) == (0, 0)


def test_a_row_of_a_megabyte_is_rejected_by_itself(tmp_path: Path, desk: Desk) -> None:
    path = text(tmp_path / "a.csv", HEAD, row("a"), row("x" * 1_000_000), row("b"))
    (report,) = bring(desk.home, P, path)
    assert reasons(report) == {2: ("id", "id has 1000000 characters; at most 256 are taken")}
    assert report.taken == 2


def test_a_file_that_grows_while_it_is_read_is_taken_once_it_is_whole(tmp_path: Path, desk: Desk) -> None:
    path = csv_of(tmp_path / "a.csv", predicted(MANY))

    def grow() -> bool:
        with path.open("a") as file:
            file.write(row("late") + "\n")
        return False

    with pytest.raises(StateError, match="was changed while it was read"):
        bring(desk.home, P, path, stop=grow)
    (report,) = bring(desk.home, P, path)
    assert report.read == MANY + 1
    found = counts(desk.home)
    assert found["predictions"] == MANY + 1
    assert "conflicts" not in found


# Whose it is.


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job(model="nobody", kind=P, naming=read_flags([])), "unknown model 'nobody'"),
        (
            Job(model=MODEL, kind=P, naming=read_flags([], version=9)),
            f"unknown version of {MODEL} '9'; there are: 1",
        ),
    ],
)
def test_an_unknown_model_or_version_is_named(desk: Desk, job: Job, words: str) -> None:
    writer = desk.home.log.writer()
    with pytest.raises(UnknownName, match=words):
        Importer(desk.home, job, writer)
    writer.close()


def test_what_a_version_declares_decides_what_text_is(tmp_path: Path) -> None:
    desk = live(tmp_path / "s")
    features = (Feature(name="zip", kind=FeatureKind.CATEGORY), Feature(name="amount"))
    operate.register(desk.home, MODEL, Manifest(runtime="external", features=features))
    bring(
        desk.home,
        P,
        text(tmp_path / "a.csv", f"{HEAD},zip,amount", row("a") + ",01234,5"),
        maps=["features=*"],
    )
    (batch,) = logged(desk.home, P).frames
    assert batch.column("features").to_pylist() == [{"amount": 5.0, "zip": "01234"}]


def test_a_feature_is_what_the_first_source_says(tmp_path: Path, desk: Desk) -> None:
    """Else the model's history were no table any more, and nothing could be trained on it."""
    for name, cell in (("a", "5"), ("b", ""), ("c", "many")):
        path = text(
            tmp_path / f"{name}.csv", f"{HEAD},amount", f"{row(name)},{cell}", f"{row(name + name)},7"
        )
        bring(desk.home, P, path, maps=["features=amount,"])
    typed = predicted(2).append_column("amount", pa.array(["8", "x"]))
    (report,) = bring(desk.home, P, parquet(tmp_path / "d.parquet", typed), maps=["features=amount,"])
    assert reasons(report) == {2: ("amount", "features.amount must be a number, not 'x'")}
    with closing(desk.home.log.reader()) as reader:
        found = history(reader, MODEL)
    assert dict(zip(found["id"].to_pylist(), found["amount"].to_pylist(), strict=True)) == {
        "a": 5.0, "aa": 7.0, "b": None, "bb": 7.0, "cc": 7.0, "p0000000": 8.0,
    }  # fmt: skip


def test_why_a_source_failed_can_be_asked_later(tmp_path: Path, desk: Desk) -> None:
    writer = desk.home.log.writer()
    importer = Importer(desk.home, Job(model=MODEL, kind=Y, naming=read_flags([])), writer)
    with closing(open_file(text(tmp_path / "a.csv", "id,y_true", "a,1"))) as source:
        importer.failed(source, "no room")
    writer.close()
    ((_, found),) = all_progress(Home(path=desk.home.path))
    assert (found.error, found.finished, found.read) == ("no room", False, 0)
