"""Which column is what: flags and files say it, and what is missing or unknown is named with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from lossloop.app.importing.mapping import Naming, combined, plan, read_file, read_flags
from lossloop.core.errors import InputError, PolicyError, UnknownName
from lossloop.ledger.frames import Kind

NAMES = ["transaction", "score", "at", "who", "amount", "land"]
MAPS = ["id=transaction", "y_pred=score", "time=at"]


def planned(*maps: str, kind: Kind = Kind.PREDICTION, names: list[str] = NAMES, **said: Any) -> Any:
    said = {"version": 3, **said} if kind is Kind.PREDICTION else said
    return plan(read_flags(maps, **said), kind, names, source="a.csv")


def test_columns_go_by_their_own_names_or_by_those_that_are_said() -> None:
    found = planned(*MAPS, "unit=who", names=[*NAMES, "role", "propensity"])
    assert found.columns == {
        "id": ("transaction",), "y_pred": ("score",), "time": ("at",), "unit": ("who",), "role": ("role",),
        "propensity": ("propensity",),
    }  # fmt: skip
    assert set(found.wanted) == {"transaction", "score", "at", "who", "role", "propensity"}
    assert found.shown("y_pred") == "score"
    assert found.shown("features.amount") == "amount"


def test_several_columns_make_a_list_or_the_features() -> None:
    found = planned("id=transaction", "time=at", "y_pred=score,amount", "features=land,")
    assert found.columns["y_pred"] == ("score", "amount")
    assert found.columns["features"] == ("land",)
    assert found.several == {"y_pred", "features"}
    assert found.shown("y_pred") == "score,amount"


def test_a_comma_may_be_part_of_a_name() -> None:
    names = ["id", "time", "score, calibrated", "a", "b", "a,b"]
    found = planned("y_pred=score, calibrated", "features=a,b", names=names)
    assert found.columns["y_pred"] == ("score, calibrated",)
    assert found.columns["features"] == ("a", "b")
    assert found.several == {"features"}


def test_a_star_is_all_that_is_nothing_else() -> None:
    found = planned(*MAPS, "features=*")
    assert found.columns["features"] == ("who", "amount", "land")


def test_ids_can_be_made_of_columns() -> None:
    found = planned("y_pred=score", "time=at", id_from="who,at", names=[*NAMES, "id"])
    assert "id" not in found.columns
    assert found.wanted == ["score", "at", "who"]
    assert found.shown("id") == "who,at"


def test_a_file_says_the_same_as_flags_and_flags_go_before_it() -> None:
    file = read_file(
        "id: transaction\ny_pred: [p0, p1]\ntime: at\nversion: 7\ntimezone: Europe/Paris\ntime_unit: ms\n"
        "labels: {fraud: 1, fine: 0}\nid_from: [a, b]\n"
    )
    assert file == Naming(
        columns={"id": "transaction", "y_pred": ("p0", "p1"), "time": "at"}, version=7,
        timezone="Europe/Paris", time_unit="ms", labels={"fraud": 1.0, "fine": 0.0}, id_from=("a", "b"),
    )  # fmt: skip
    flags = read_flags(["y_pred=score"], version=8, timezone="UTC", labels=["odd=1"])
    both = combined(file, flags)
    assert both.columns == {"id": "transaction", "y_pred": "score", "time": "at"}
    assert (both.version, both.timezone, both.time_unit) == (8, "UTC", "ms")
    assert both.labels == {"fraud": 1.0, "fine": 0.0, "odd": 1.0}


def test_a_version_is_a_number_or_a_column() -> None:
    assert read_file("version: 7").version == 7
    assert read_file("version: model_version").columns == {"version": "model_version"}
    assert read_flags(["version=v"]).columns == {"version": "v"}


@pytest.mark.parametrize(
    ("maps", "said", "words"),
    [
        (["y_pred"], {}, r"'y_pred' is no mapping; write NAME=COLUMN"),
        (["score=y_pred"], {}, r"'score' is nothing that is imported; there are: error, features, id"),
        (["y_true=x"], {}, r"predictions have no 'y_true'; did you mean"),
        (["id=transactoin"], {}, r"unknown column 'transactoin'; did you mean 'transaction'"),
        (["id=transaction,who"], {}, r"id is one column, not 2"),
        ([], {"timezone": "Mars"}, r"'Mars' is no time zone; write UTC, or one such as Europe/Paris"),
        ([], {"timezone": "../../etc"}, r"is no time zone"),
        ([], {"time_unit": "h"}, r"time_unit is one of s, ms, us, ns, not 'h'"),
        ([], {"labels": ["fraud"]}, r"a label is WORD=NUMBER, such as fraud=1|labels are words"),
        ([], {"labels": ["fraud=yes"]}, r"labels are words and their numbers, such as fraud=1"),
        (
            ["id=who"],
            {"id_from": "who"},
            r"an id is a column or made of some: give --map id=... or --id-from",
        ),
        ([], {"id_from": "whom"}, r"unknown column 'whom'; did you mean 'who'"),
        (
            ["y_pred=score", "time=at"],
            {},
            r"a.csv has no column 'id'; name it with --map id=COLUMN, or make ids",
        ),
        (
            ["id=who", "time=at"],
            {},
            r"a.csv has no column 'y_pred'; name it with --map y_pred=COLUMN; it has: 't",
        ),
        (["id=who", "y_pred=score"], {}, r"a.csv has no column 'time'; name it with --map time=COLUMN"),
        (
            MAPS,
            {"version": None},
            r"a.csv does not say which version predicted; say it with --version NUMBER",
        ),
    ],
)
def test_what_cannot_be_is_named_with_the_way_out(maps: list[str], said: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        planned(*maps, **said)


def test_an_unknown_column_has_the_flag_that_named_it() -> None:
    with pytest.raises(UnknownName) as found:
        planned("id=nope")
    assert found.value.field == "map.id"


def test_a_column_that_stands_twice_is_refused_where_it_is_read() -> None:
    with pytest.raises(InputError, match=r"a.csv has the column 'score' 2 times"):
        planned(*MAPS, names=[*NAMES, "score"])
    assert planned(*MAPS, names=[*NAMES, "land"]).columns["id"] == ("transaction",)


def test_outcomes_need_an_id_and_a_label() -> None:
    assert planned("id=who", "y_true=score", kind=Kind.OUTCOME).columns == {
        "id": ("who",),
        "y_true": ("score",),
    }
    with pytest.raises(InputError, match="has no column 'y_true'"):
        planned("id=who", kind=Kind.OUTCOME)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "mapping: must be a mapping of names to columns"),
        ("id: {a: b}\n", "mapping: id must be a column or a list of columns"),
        ("id: ''\n", "mapping: id must be a column"),
        ("yes: no\n", "mapping: 'yes' is nothing that is imported"),
        ("labels: 3\n", "mapping: labels are words and their numbers"),
        ("id: a\nid: b\n", "mapping, line 2: 'id' is written twice"),
        ("id: [\n", "mapping, line 2: not readable as YAML"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        read_file(text)
