"""`lossloop import`: predictions and outcomes of the past, from files and queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lossloop.app.books import Books, Counts
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, home, print_json
from lossloop.app.cli.importbar import ImportScreen
from lossloop.app.home import Home
from lossloop.app.importing import (
    Importer,
    Job,
    Naming,
    Report,
    Source,
    SqlSource,
    address,
    combined,
    matching,
    open_file,
    read_file,
    read_flags,
    settle,
)
from lossloop.app.operate import fold_here
from lossloop.core.errors import InputError
from lossloop.ledger.frames import Kind

KINDS = {"predictions": Kind.PREDICTION, "outcomes": Kind.OUTCOME}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column of the source is what.

    Attributes:
        map: Our name and the source's column, such as y_pred=score; several columns with commas make a list,
            or the features, of which * are all that are nothing else.
        mapping: A YAML file that says the same.
        id_from: Columns of which ids are made, where no column has one.
        version: The version that predicted, where no column says it.
        timezone: The time zone of times that say none, such as Europe/Paris.
        time_unit: What times count that are numbers since 1970: s, ms, us or ns.
        label: A label that is a word, and its number, such as fraud=1.
    """

    map: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = ()
    mapping: Annotated[Path | None, Parameter(name="--mapping")] = None
    id_from: Annotated[str, Parameter(name="--id-from")] = ""
    version: Annotated[int | None, Parameter(name="--version")] = None
    timezone: Annotated[str, Parameter(name="--timezone")] = ""
    time_unit: Annotated[str, Parameter(name="--time-unit")] = ""
    label: Annotated[tuple[str, ...], Parameter(name="--label", negative="")] = ()

    def naming(self) -> Naming:
        """All that was said."""
        flags = read_flags(
            self.map, id_from=self.id_from, labels=self.label, version=self.version,
            timezone=self.timezone, time_unit=self.time_unit,
        )  # fmt: skip
        if self.mapping is None:
            return flags
        try:
            text = self.mapping.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {self.mapping}: {error}", field="mapping") from None
        return combined(read_file(text, source=self.mapping.name), flags)


def import_history(
    kind: Literal["predictions", "outcomes"],
    model: str,
    /,
    *source: str,
    sql: Annotated[str, Parameter(name="--sql")] = "",
    database: Annotated[str, Parameter(name="--from")] = "",
    columns: Columns = Columns(),
    dry_run: Annotated[bool, Parameter(name="--dry-run", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Bring in predictions or outcomes of the past, from Parquet, CSV or a query.

    Give the same command again after it was stopped, or killed: it goes on where it was.

    Parameters
    ----------
    kind
        predictions or outcomes.
    model
        The model.
    source
        Files, or globs of them: .parquet, .csv, .csv.gz.
    sql
        A query instead of files.
    database
        Where the query is asked: postgresql://..., sqlite:///FILE, duckdb:///FILE, or env:NAME of a variable
        that has such an address.
    columns
        Which column of the source is what.
    dry_run
        Look at all rows, say what would be done, and do nothing.
    state
        The state directory.
    json
        Answer as JSON.
    """
    job = Job(model=model, kind=KINDS[kind], naming=columns.naming())
    found = home(state)
    before = _counts(found, model)
    with ImportScreen(quiet=json) as screen:
        reports = _run(found, job, _sources(source, sql, database), screen, dry_run=dry_run)
        position = next((each.position for each in reversed(reports) if each.position is not None), None)
        folded = True
        if position is not None:
            screen.phase("folding what was imported")
            folded = settle(found, position)
        elif not dry_run:
            fold_here(found)  # an import that was killed may have left facts that nobody has folded
    answer = _answer(job, reports, folded=folded, dry_run=dry_run)
    answer |= {name: number for name, number in _more(before, _counts(found, model)).items() if not dry_run}
    if json:
        print_json(answer)
    else:
        print(_words(answer, dry_run=dry_run))


def _run(
    found: Home, job: Job, sources: Sequence[Opening], screen: ImportScreen, *, dry_run: bool
) -> list[Report]:
    writer = found.log.writer()
    reports = []
    try:
        importer = Importer(found, job, writer, tell=screen.progress)
        for opening in screen.each(sources):
            with closing(opening.open()) as source:
                reports.append(importer.check(source) if dry_run else importer.run(source))
    except KeyboardInterrupt:
        screen.phase("stopped; give the same command again, and it goes on where it was")
        raise
    finally:
        writer.close()
    return reports


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A source that is opened when its turn comes."""

    name: str
    size: int
    path: Path | None = None
    query: tuple[str, str] = ("", "")

    def open(self) -> Source:
        return open_file(self.path) if self.path else SqlSource(address(self.query[0]), self.query[1])


def _sources(patterns: Sequence[str], sql: str, database: str) -> list[Opening]:
    if bool(sql) != bool(database) or bool(patterns) == bool(sql):
        raise InputError(
            "name files, such as 'scores/*.parquet', or a query with --sql and --from; one of the two",
            field="source",
        )
    if sql:
        address(database)
        return [Opening(name=database, size=0, query=(database, sql))]
    return [Opening(name=str(path), size=path.stat().st_size, path=path) for path in matching(patterns)]


def _counts(found: Home, model: str) -> Counts:
    state = found.state()
    try:
        return Books(state).counts(model)
    finally:
        state.close()


def _more(before: Counts, after: Counts) -> dict[str, int]:
    """What the loop said to the rows, whoever sent them: it may have had others to fold meanwhile."""
    return {name: getattr(after, name) - getattr(before, name) for name in ("repeats", "conflicts")}


def _answer(job: Job, reports: Sequence[Report], *, folded: bool, dry_run: bool) -> dict[str, Any]:
    totals = ("read", "before", "taken", "rejected", "superseded")
    return {
        "model": job.model,
        "kind": f"{job.kind.name.lower()}s",
        "dry_run": dry_run,
        **{name: sum(getattr(report, name) for report in reports) for name in totals},
        "folded": folded,
        "sources": [
            {
                "source": report.source,
                **{name: getattr(report, name) for name in totals},
                "rejects": str(report.rejects) if report.rejects else None,
                "bad": [{"row": bad.row, "column": bad.column, "reason": bad.reason} for bad in report.bad],
            }
            for report in reports
        ],
    }


def _words(answer: dict[str, Any], *, dry_run: bool) -> str:
    return "\n".join(_lines(answer, dry_run=dry_run))


def _lines(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    for found in answer["sources"]:
        if found["before"]:
            yield f"{found['source']}: {found['before']:,} rows were imported before"
        for bad in found["bad"]:
            column = f", column {bad['column']}" if bad["column"] else ""
            yield f"{found['source']}, row {bad['row']}{column}: {bad['reason']}"
        if found["rejected"] > len(found["bad"]):
            yield f"{found['source']}: ... and {found['rejected'] - len(found['bad']):,} rows more"
        if found["rejects"]:
            yield f"{found['source']}: its rejected rows are in {found['rejects']}"
    verb = "would be taken" if dry_run else "taken"
    files = len(answer["sources"])
    words = f"{answer['taken']:,} {answer['kind']} {verb}, {answer['rejected']:,} rows rejected"
    words += f", of {files} sources" if files > 1 else ""
    if answer["superseded"]:
        words += f"; {answer['superseded']:,} labels stand again in a later row, which counts"
    yield words
    if answer.get("repeats"):
        yield f"{answer['repeats']:,} of them were known already and change nothing"
    if answer.get("conflicts"):
        yield f"{answer['conflicts']:,} ids were known with other content; the first one stands"
    if not answer["folded"]:
        yield "The log holds them; the loop that runs has not come to them yet."
