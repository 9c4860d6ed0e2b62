"""Files as sources: any row can be the first that is read, and no file ends the program."""

from __future__ import annotations

import csv
import gzip
import io
import os
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossloop.app.importing.sources import Malformed, Piece, Source, matching, open_file
from lossloop.app.importing.sources.base import BYTES_AT_ONCE, ROWS_AT_ONCE
from lossloop.app.importing.sources.csv import BLOCK
from lossloop.core.errors import InputError, StateError
from tests.app.importing.pasts import csv_of, parquet, predicted, text

FILES = ("p.parquet", "p.csv", "p.csv.gz")


def past(folder: Path, name: str, count: int) -> Path:
    """Predictions as a file of any kind."""
    table = predicted(count)
    return (
        parquet(folder / name, table, group=700) if name.endswith("parquet") else csv_of(folder / name, table)
    )


def read(path: Path, *wanted: str, after: int = 0) -> list[Piece]:
    with closing(open_file(path)) as source:
        return list(source.pieces(wanted or source.columns(), after=after))


def column(pieces: list[Piece], name: str) -> list[str]:
    """A column as text."""
    found = [value for piece in pieces for value in piece.columns[name].to_pylist()]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in found]


def rows(pieces: list[Piece]) -> list[int]:
    return [row for piece in pieces for row in piece.rows.tolist()]


def malformed(pieces: list[Piece]) -> list[Malformed]:
    return [each for piece in pieces for each in piece.malformed]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_in_its_order_from_any_row_on(tmp_path: Path, name: str) -> None:
    path = past(tmp_path, name, 2500)
    ids = [f"p{place:07d}" for place in range(2500)]
    for after in (0, 1, 699, 700, 701, 2499, 2500):
        found = read(path, "id", "y_pred", after=after)
        assert column(found, "id") == ids[after:]
        assert rows(found) == list(range(after + 1, 2501))
        assert not found or found[-1].read == 2500
    assert read(path, after=0)[-1].share == 1.0


def test_a_piece_is_small_enough_for_a_frame(tmp_path: Path) -> None:
    many = predicted(ROWS_AT_ONCE * 2 + 1)
    for path in (parquet(tmp_path / "a.parquet", many, group=10**9), csv_of(tmp_path / "a.csv", many)):
        found = read(path, "id")
        assert max(map(len, found)) <= ROWS_AT_ONCE
        assert rows(found) == list(range(1, len(many) + 1))
    wide = pa.table({"id": ["x" * (BYTES_AT_ONCE // 8)] * 12})
    for path in (parquet(tmp_path / "b.parquet", wide), csv_of(tmp_path / "b.csv", wide)):
        found = read(path)
        assert all(sum(each.nbytes for each in piece.columns.values()) <= BYTES_AT_ONCE for piece in found)
        assert rows(found) == list(range(1, 13))


Cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(st.lists(Cell, min_size=1, max_size=4), max_size=12),
    delimiter=st.sampled_from(",;\t|"), end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(), after=st.integers(0, 5),
)  # fmt: skip
def test_a_csv_is_what_a_program_wrote_as_one(
    tmp_path: Path, table: list[list[str]], delimiter: str, end: str, bom: bool, after: int
) -> None:
    made = io.StringIO(newline="")
    writer = csv.writer(made, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["one", "two", "three"], *table])
    path = tmp_path / "a.csv"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + made.getvalue().encode())
    found = read(path, "one", "three", after=after)
    good = {place: row for place, row in enumerate(table, 1) if len(row) == 3 and place > after}
    assert rows(found) == list(good)
    assert column(found, "one") == [row[0] for row in good.values()]
    assert column(found, "three") == [row[2] for row in good.values()]
    bad = [place for place, row in enumerate(table, 1) if len(row) != 3 and place > after]
    assert [each.row for each in malformed(found)] == bad


def test_rows_with_too_few_or_too_many_values_are_named_by_their_number(tmp_path: Path) -> None:
    lines = [f"{place},{place}" if place % 1000 else f"{place}" for place in range(1, 120_001)]
    lines[6] = "7,7,7"
    found = read(text(tmp_path / "a.csv", "a,b", *lines))
    bad = malformed(found)
    assert [each.row for each in bad] == [7, *range(1000, 120_001, 1000)]
    assert bad[0].reason == "3 values where the first line has 2"
    assert bad[0].text == "7,7,7"
    assert column(found, "a") == list(map(str, rows(found)))
    assert found[-1].read == 120_000
    again = read(tmp_path / "a.csv", after=50_000)
    assert [each.row for each in malformed(again)] == list(range(51_000, 120_001, 1000))


def test_a_csv_of_which_no_line_is_a_row(tmp_path: Path) -> None:
    found = read(text(tmp_path / "a.csv", "a,b", "1", "2", "3"))
    assert [each.row for each in malformed(found)] == [1, 2, 3]
    assert [(len(piece), piece.read) for piece in found] == [(0, 3)]


@pytest.mark.parametrize("header", ["a;b;c", "a\tb\tc", '"a";"b,x";"c"'])
def test_the_delimiter_is_the_one_of_the_first_line(tmp_path: Path, header: str) -> None:
    delimiter = "\t" if "\t" in header else ";"
    path = text(tmp_path / "a.csv", header, delimiter.join(["1,5", "2", "3"]))
    with closing(open_file(path)) as source:
        assert source.columns()[0] == "a"
    assert column(read(path, "a"), "a") == ["1,5"]


def test_a_first_line_may_be_long(tmp_path: Path) -> None:
    """Names behind its first 64 KiB were not seen: the column was said to be missing."""
    names = ["id", *(f"feature_{number}" for number in range(20_000)), "y_true"]
    text(tmp_path / "a.csv", ",".join(names), ",".join(map(str, range(len(names)))))
    assert column(read(tmp_path / "a.csv", "id", "y_true"), "y_true") == ["20001"]
    (tmp_path / "b.csv").write_text("x" * 200_000)
    with pytest.raises(InputError, match=r"the first line of .*b\.csv names no columns"):
        read(tmp_path / "b.csv", "id")


def test_a_field_of_a_megabyte_is_read(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "a,b", f"1,{'x' * 1_000_000}", "2,y")
    assert list(map(len, column(read(path), "b"))) == [1_000_000, 1]


@pytest.mark.parametrize("line", ["1," + "x" * (2 * BLOCK), '1,"' + "y\n" * BLOCK])
def test_a_row_that_does_not_end_is_named_and_what_stands_before_is_read(tmp_path: Path, line: str) -> None:
    lines = [f"{place},{'z' * 100}" for place in range(200_000)]
    path = text(tmp_path / "a.csv", "a,b", *lines, line)
    words = r"a.csv cannot be read behind row \d+: a row has more than 8 MB, or a quote is not closed"
    with closing(open_file(path)) as source:
        pieces = source.pieces(["a"])
        first = next(pieces)
        with pytest.raises(InputError, match=words):
            list(pieces)
    assert len(first) == ROWS_AT_ONCE


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("a.csv", b"", r"a.csv is empty; its first line must name the columns"),
        ("a.csv", b"\n\n", r"a.csv is empty"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), r"a.csv is not text in UTF-8"),
        ("a.csv", "ä,b\n1,2\n".encode("latin-1"), r"the first line of .*a.csv is not text in UTF-8"),
        ("a.csv.gz", b"a,b\n", r"a.csv.gz cannot be read as gzip"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], r"a.csv.gz cannot be read"),
        ("a.parquet", b"", r"a.parquet cannot be read as Parquet"),
        ("a.parquet", b"PAR1" + b"x" * 100 + b"PAR1", r"a.parquet cannot be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, name: str, raw: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(InputError, match=words):
        read(tmp_path / name)


def test_a_parquet_file_that_is_broken_in_the_middle_says_so(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", predicted(50_000))
    raw = bytearray(path.read_bytes())
    raw[10_000:60_000] = os.urandom(50_000)
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a.parquet cannot be read as Parquet"):
        read(path)


def test_a_first_line_alone_has_no_rows(tmp_path: Path) -> None:
    assert read(text(tmp_path / "a.csv", "a,b")) == []
    assert read(parquet(tmp_path / "a.parquet", predicted(0))) == []


# A file that does not stay as it was.


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_written_to_while_it_is_read_is_not_read_on(tmp_path: Path, name: str) -> None:
    path = past(tmp_path, name, ROWS_AT_ONCE * 2)
    with closing(open_file(path)) as source:
        source.digest()
        pieces = source.pieces(["id"])
        next(pieces)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(StateError, match=r"was changed while it was read; .* give the same"):
            list(pieces)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_another_one_replaces_is_read_to_its_own_end(tmp_path: Path, name: str) -> None:
    path = past(tmp_path, name, ROWS_AT_ONCE + 10)
    with closing(open_file(path)) as source:
        digest, pieces = source.digest(), source.pieces(["id"])
        found = [next(pieces)]
        (tmp_path / "new").mkdir()
        past(tmp_path / "new", name, 3).replace(path)
        found += list(pieces)
        assert len(rows(found)) == ROWS_AT_ONCE + 10
        assert source.digest() == digest
    with closing(open_file(path)) as source:
        assert source.digest() != digest


def test_a_digest_is_of_what_is_in_a_file(tmp_path: Path) -> None:
    def digest(path: Path) -> str:
        with closing(open_file(path)) as source:
            return source.digest()

    first = digest(text(tmp_path / "a.csv", "a", "1"))
    assert digest(text(tmp_path / "b.csv", "a", "1")) == first
    assert digest(text(tmp_path / "a.csv", "a", "2")) != first


# Which files.


def test_files_are_named_by_paths_and_globs_each_once(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.parquet"):
        (tmp_path / name).write_text("a\n")
    (tmp_path / "d.csv").mkdir()
    found = matching([str(tmp_path / "b.csv"), str(tmp_path / "*.csv"), str(tmp_path / "**/*.parquet")])
    assert [path.name for path in found] == ["b.csv", "a.csv", "c.parquet"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("nope*.csv", r"nope\*.csv is no file; is the path right\?"), ("", r" is a directory; name its files")],
)
def test_a_pattern_that_names_no_file_is_refused(tmp_path: Path, pattern: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        matching([str(tmp_path / pattern) if pattern else str(tmp_path)])


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end with one of: .arrow, .csv, .csv.gz, .feather, .parquet"):
        open_file(text(tmp_path / "a.json", "{}"))
    with pytest.raises(InputError, match="cannot read"):
        open_file(tmp_path / "gone.csv")


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    source: Source = open_file(text(tmp_path / "a.csv", "a"))
    source.close()
    source.close()
