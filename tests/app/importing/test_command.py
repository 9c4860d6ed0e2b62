"""`lossloop import`: what it answers, and what it says when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lossloop.app.cli import main
from lossloop.app.cli.importbar import ImportScreen
from lossloop.app.importing import Importer, Job, Naming, Report, open_file
from lossloop.ledger.frames import Kind
from tests.app.desk import MODEL, Desk
from tests.app.importing.pasts import csv_of, happened, live, logged, parquet, predicted, text

HEAD = "id,time,version,y_pred"


@dataclass(frozen=True, kw_only=True)
class Said:
    """How the command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Import = Callable[..., Said]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return live(tmp_path / "s")


@pytest.fixture
def imports(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Import:
    """Run the command in this process."""
    monkeypatch.setenv("LOSSLOOP_STATE", str(desk.home.path))
    monkeypatch.setenv("COLUMNS", "200")

    def ran(*arguments: str | Path) -> Said:
        monkeypatch.setattr("sys.argv", ["lossloop", "import", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return Said(code=int(code), out=said.out, err=said.err)

    return ran


def test_files_are_imported_and_what_came_of_them_is_said(
    tmp_path: Path, desk: Desk, imports: Import
) -> None:
    parquet(tmp_path / "a.parquet", predicted(1200))
    csv_of(tmp_path / "b.csv", predicted(100, first=1150))
    said = imports("predictions", MODEL, tmp_path / "*.parquet", tmp_path / "b.csv")
    assert said.out.splitlines() == [
        "1,300 predictions taken, 0 rows rejected, of 2 sources",
        "50 of them were known already and change nothing",
    ]
    said = imports("predictions", MODEL, tmp_path / "a.parquet")
    assert said.out.splitlines() == [
        f"{tmp_path}/a.parquet: 1,200 rows were imported before",
        "0 predictions taken, 0 rows rejected",
    ]
    said = imports("outcomes", MODEL, csv_of(tmp_path / "y.csv", happened(1200)))
    assert said.out == "1,200 outcomes taken, 0 rows rejected\n"
    assert logged(desk.home, Kind.OUTCOME).history == {True}


def test_a_program_gets_one_document(tmp_path: Path, imports: Import) -> None:
    path = text(tmp_path / "a.csv", HEAD, "a,2021-01-01T00:00:00Z,1,0.5", "b,2021-01-01T00:00:00Z,1,5")
    found = imports("predictions", MODEL, path, "--json").json
    (source,) = found.pop("sources")
    assert found == {
        "model": MODEL, "kind": "predictions", "dry_run": False, "read": 2, "before": 0, "taken": 1,
        "rejected": 1, "superseded": 0, "folded": True, "repeats": 0, "conflicts": 0,
    }  # fmt: skip
    assert source.pop("rejects").endswith("/rejects.csv")
    assert source == {
        "source": str(path), "read": 2, "before": 0, "taken": 1, "rejected": 1, "superseded": 0,
        "bad": [{"row": 2, "column": "y_pred", "reason": "a probability lies in [0, 1]; got 5"}],
    }  # fmt: skip


def test_rejected_rows_are_shown_and_the_rest_is_where_they_are(tmp_path: Path, imports: Import) -> None:
    lines = [f"p{n},2021-01-01T00:00:00Z,1,{n}" for n in range(30)]
    said = imports("predictions", MODEL, text(tmp_path / "a.csv", HEAD, *lines)).out.splitlines()
    assert said[0] == f"{tmp_path}/a.csv, row 3, column y_pred: a probability lies in [0, 1]; got 2"
    assert said[10] == f"{tmp_path}/a.csv: ... and 18 rows more"
    assert said[11].startswith(f"{tmp_path}/a.csv: its rejected rows are in ")
    assert said[12] == "2 predictions taken, 28 rows rejected"


def test_a_dry_run_says_what_would_be(tmp_path: Path, desk: Desk, imports: Import) -> None:
    said = imports("predictions", MODEL, csv_of(tmp_path / "a.csv", predicted(10)), "--dry-run")
    assert said.out == "10 predictions would be taken, 0 rows rejected\n"
    assert not logged(desk.home, Kind.PREDICTION).rows


def test_every_way_to_say_which_column_is_what(tmp_path: Path, desk: Desk, imports: Import) -> None:
    path = text(tmp_path / "a.csv", "a;b;score;when", "UA;1;0.5;1609459200000", "UA;2;0.75;1609459200000")
    flags = [
        "--map",
        "y_pred=score",
        "--map",
        "time=when",
        "--id-from",
        "a,b",
        "--version",
        "1",
        "--time-unit",
        "ms",
    ]
    assert imports("predictions", MODEL, path, *flags).code == 0
    assert logged(desk.home, Kind.PREDICTION).values == {"UA/1": 0.5, "UA/2": 0.75}
    labels = text(tmp_path / "y.csv", "a,b,what", "UA,1,late", "UA,2,fine")
    mapping = text(tmp_path / "m.yaml", "y_true: nope", "id_from: [a, b]", "labels: {late: 1}")
    said = imports(
        "outcomes", MODEL, labels, "--mapping", mapping, "--map", "y_true=what", "--label", "fine=0"
    )
    assert said.out == "2 outcomes taken, 0 rows rejected\n"
    assert logged(desk.home, Kind.OUTCOME).values == {"UA/1": 1.0, "UA/2": 0.0}


def test_corrections_and_conflicts_are_counted(tmp_path: Path, imports: Import) -> None:
    csv_of(tmp_path / "a.csv", predicted(2))
    imports("predictions", MODEL, tmp_path / "a.csv")
    text(tmp_path / "b.csv", HEAD, "p0000001,2021-01-01T00:00:01Z,1,0.9")
    said = imports("predictions", MODEL, tmp_path / "b.csv")
    assert "1 ids were known with other content; the first one stands" in said.out
    text(tmp_path / "y.csv", "id,y_true", "p0000001,1", "p0000001,0")
    said = imports("outcomes", MODEL, tmp_path / "y.csv")
    assert (
        said.out == "2 outcomes taken, 0 rows rejected; 1 labels stand again in a later row, which counts\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predictions", MODEL], "name files, such as 'scores/*.parquet', or a query with --sql and --from"),
        (["predictions", MODEL, "a.csv", "--sql", "SELECT 1", "--from", "sqlite:///x"], "one of the two"),
        (["predictions", MODEL, "--sql", "SELECT 1"], "name files, such as"),
        (["predictions", MODEL, "gone.csv"], "gone.csv is no file; is the path right?"),
        (["predictions", "nobody", "{good}"], "unknown model 'nobody'"),
        (["predictions", MODEL, "{good}", "--version", "9"], "unknown version of m '9'; there are: 1"),
        (["predictions", MODEL, "{good}", "--map", "id=nope"], "unknown column 'nope'"),
        (["predictions", MODEL, "{good}", "--mapping", "gone.yaml"], "cannot read gone.yaml"),
        (
            ["outcomes", MODEL, "{good}"],
            "has no column 'y_true'; name it with --map y_true=COLUMN; it has: 'id'",
        ),
    ],
)
def test_an_error_names_the_way_out(
    tmp_path: Path, imports: Import, arguments: list[str], words: str
) -> None:
    good = csv_of(tmp_path / "good.csv", predicted(3))
    said = imports(*(each.replace("{good}", str(good)) for each in arguments))
    assert said.code == 1
    assert words in said.err.replace("\n", " ")
    assert "Traceback" not in said.err
    as_json = imports(*(each.replace("{good}", str(good)) for each in arguments), "--json")
    assert words in as_json.json["error"]


@pytest.mark.parametrize("arguments", [[], ["labels", MODEL, "a.csv"], ["predictions"]])
def test_a_command_that_is_none_is_refused(imports: Import, arguments: list[str]) -> None:
    assert imports(*arguments).code == 2


# How it looks while it runs.


@dataclass(frozen=True)
class Sized:
    name: str
    size: int


def test_away_from_a_terminal_a_line_per_million_rows_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with ImportScreen() as screen:
        for item in screen.each([Sized("a", 10), Sized("b", 20)]):
            for read in range(400_000, 1_300_000, 400_000):
                screen.progress(Report(source=item.name, read=read), read / 1_200_000)
        screen.phase("folding [what] was imported")
    said = capsys.readouterr().err
    assert said == "1,200,000 rows read\n2,000,000 rows read\nfolding [what] was imported\n"


def test_on_a_terminal_there_is_a_bar_with_rows_and_speed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "120"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    with ImportScreen() as screen:
        for item in screen.each([Sized("first.csv", 100), Sized("query", 0)]):
            screen.progress(Report(source=item.name, read=50_000), 0.5 if item.size else None)
            screen._bar.refresh()
    said = capsys.readouterr().err
    assert "first.csv" in said
    assert "50,000 rows, " in said
    assert "100,000 rows, " in said
    assert "50%" in said


def test_nothing_is_said_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with ImportScreen(quiet=True) as screen:
        screen.progress(Report(source="a", read=5_000_000), 0.5)
        screen.phase("x")
    assert capsys.readouterr().err == ""


# What was imported.


def test_status_shows_what_was_imported_last(
    tmp_path: Path,
    desk: Desk,
    imports: Import,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imports("predictions", MODEL, csv_of(tmp_path / "a.csv", predicted(1500)))
    imports("outcomes", MODEL, text(tmp_path / "y.csv", "id,y_true", "p0000000,1", "p0000001,7"))
    writer = desk.home.log.writer()
    importer = Importer(desk.home, Job(model=MODEL, kind=Kind.OUTCOME, naming=Naming()), writer)
    with closing(open_file(text(tmp_path / "z.csv", "id", "a"))) as source:
        importer.failed(source, "it has no labels")
    writer.close()
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["lossloop", "status", MODEL])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    assert f"{tmp_path}/z.csv: not imported to its end, 0 outcomes, 0 rows rejected; it has no labels" in said
    assert f"{tmp_path}/y.csv: imported, 1 outcomes, 1 rows rejected" in said
    assert f"{tmp_path}/a.csv: imported, 1,500 predictions, 0 rows rejected" in said
    monkeypatch.setattr("sys.argv", ["lossloop", "status", MODEL, "--json"])
    with pytest.raises(SystemExit):
        main()
    found = json.loads(capsys.readouterr().out)["imports"]
    assert [each["error"] for each in found] == ["it has no labels", "", ""]
    assert found[1]["rejects"].endswith("rejects.csv")
    assert [each["finished"] for each in found] == [False, True, True]
