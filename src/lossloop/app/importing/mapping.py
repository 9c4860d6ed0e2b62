"""Which column of a source is what: read from flags and a YAML file, held against the source's columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from lossloop.act.yaml import load
from lossloop.core.errors import InputError, PolicyError, UnknownName, alternatives
from lossloop.core.records import Record
from lossloop.ledger.frames import Kind
from lossloop.serve.rowwise import OUTCOME_KEYS, PREDICTION_KEYS

KEYS: Mapping[Kind, tuple[str, ...]] = {Kind.PREDICTION: PREDICTION_KEYS, Kind.OUTCOME: OUTCOME_KEYS}
NEEDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.PREDICTION: ("y_pred", "time"),
    Kind.OUTCOME: ("y_true",),
}
NAMED = ("error",)
"""What is taken only where somebody says so: a column of this name is often how far off a prediction was."""
LISTS = ("y_pred", "y_true", "features")
"""What several columns may make up together."""
OTHERS = "*"
"""As features: all columns that are nothing else."""
TIME_UNITS = ("s", "ms", "us", "ns")

Columns = str | tuple[str, ...]


class Naming(Record, frozen=True):
    """What a person says of a source's columns; what is left out has its own name there."""

    columns: dict[str, Columns] = {}
    """Our name to the source's: a column, or several that make up a list or the features."""
    id_from: tuple[str, ...] = ()
    """Columns of which ids are made."""
    version: int | None = None
    """Of every row, where no column says it."""
    timezone: str = ""
    """Of times that say none."""
    time_unit: str = ""
    """Of times that are numbers since 1970."""
    labels: dict[str, float] = {}
    """Numbers of labels that are written as words."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which column of one source is what.

    Args:
        kind: Predictions or outcomes.
        columns: Our name to the source's.
        naming: What else was said.
        several: Which of our names have several columns, also where that is one.
    """

    kind: Kind
    columns: Mapping[str, tuple[str, ...]]
    naming: Naming
    several: frozenset[str] = frozenset()

    @property
    def wanted(self) -> list[str]:
        """The source's columns that are read, each once."""
        read = [name for names in self.columns.values() for name in names]
        return list(dict.fromkeys([*read, *self.naming.id_from]))

    def shown(self, field: str) -> str:
        """The source's name for one of our fields, such as a row's problem has."""
        if field.startswith("features."):
            return field.removeprefix("features.")
        if field == "id" and self.naming.id_from:
            return ",".join(self.naming.id_from)
        return ",".join(self.columns.get(field, (field,)))


def read_flags(
    pairs: Iterable[str], *, id_from: str = "", labels: Iterable[str] = (), **others: Any
) -> Naming:
    """What flags say: ``y_pred=score``, ``features=a,b``, ``fraud=1``.

    Raises:
        InputError: One is not of this form, or says what is not possible.
    """
    columns: dict[str, Any] = {}
    for pair in pairs:
        ours, _, theirs = pair.partition("=")
        if not ours or not theirs:
            raise InputError(f"{pair!r} is no mapping; write NAME=COLUMN, such as y_pred=score", field="map")
        columns[ours] = list(filter(None, theirs.split(","))) if "," in theirs else theirs
    said: dict[str, Any] = {}
    for pair in labels:
        word, _, number = pair.rpartition("=")
        said[word] = number
    given = {name: value for name, value in others.items() if value not in (None, "")}
    return _checked(
        {**columns, "labels": said, "id_from": list(filter(None, id_from.split(","))), **given}, "map"
    )


def read_file(text: str, *, source: str = "mapping") -> Naming:
    """What a YAML file says.

    Raises:
        PolicyError: It cannot be read; with the line where there is one.
    """
    found = load(text, source=source).value
    if not isinstance(found, dict):
        raise PolicyError("must be a mapping of names to columns", source=source)
    try:
        return _checked(found, source)
    except InputError as error:
        raise PolicyError(str(error), source=source) from None


def combined(file: Naming, flags: Naming) -> Naming:
    """Both; a flag goes before the file."""
    return Naming(
        columns={**file.columns, **flags.columns},
        id_from=flags.id_from or file.id_from,
        version=file.version if flags.version is None else flags.version,
        timezone=flags.timezone or file.timezone,
        time_unit=flags.time_unit or file.time_unit,
        labels={**file.labels, **flags.labels},
    )


def _checked(said: Mapping[str, Any], place: str) -> Naming:
    """A naming of plain values, as YAML has them."""
    rest = dict(said)
    version = rest.get("version")
    if isinstance(version, int) and not isinstance(version, bool):
        del rest["version"]
    else:
        version = None
    id_from, labels = rest.pop("id_from", None), rest.pop("labels", None)
    zone, unit = rest.pop("timezone", None) or "", rest.pop("time_unit", None) or ""
    if unit and unit not in TIME_UNITS:
        raise InputError(f"time_unit is one of {', '.join(TIME_UNITS)}, not {unit!r}", field="time_unit")
    return Naming(
        columns={_ours(name, place): _columns(name, value) for name, value in rest.items()},
        id_from=_names("id_from", id_from or []),
        version=version,
        timezone=_zone(zone),
        time_unit=unit,
        labels=_labels(labels or {}),
    )


def _ours(name: str, place: str) -> str:
    known = dict.fromkeys([*PREDICTION_KEYS, *OUTCOME_KEYS])
    if name not in known:
        raise InputError(f"{name!r} is nothing that is imported; {alternatives(name, known)}", field=place)
    return name


def _columns(name: str, value: Any) -> Columns:
    if isinstance(value, str) and value:
        return value
    return _names(name, [value] if isinstance(value, str) else value)


def _names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise InputError(f"{name} must be a column or a list of columns, not {value!r}", field=name)
    return tuple(value)


def _zone(name: Any) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):  # one is raised for a name like a path
        return ZoneInfo(str(name)).key if name else ""
    raise InputError(f"{name!r} is no time zone; write UTC, or one such as Europe/Paris", field="timezone")


def _labels(said: Any) -> dict[str, float]:
    try:
        found = {str(word): float(number) for word, number in dict(said).items()}
    except (TypeError, ValueError):
        raise InputError("labels are words and their numbers, such as fraud=1", field="labels") from None
    if "" in found:
        raise InputError("a label is WORD=NUMBER, such as fraud=1", field="labels")
    return found


def plan(naming: Naming, kind: Kind, names: Sequence[str], *, source: str) -> Plan:
    """Hold a naming against the columns of a source.

    Raises:
        UnknownName: A column that was named is not there.
        InputError: A column that is needed is neither there nor named, or stands twice.
    """
    if "id" in naming.columns and naming.id_from:
        raise InputError("an id is a column or made of some: give --map id=... or --id-from", field="id_from")
    naming = msgspec.structs.replace(
        naming, columns={ours: _whole(theirs, names) for ours, theirs in naming.columns.items()}
    )
    columns, several = _found(naming, kind, names), set()
    for ours, theirs in naming.columns.items():
        if isinstance(theirs, tuple):
            several.add(ours)
            if ours not in LISTS and len(theirs) > 1:
                raise InputError(f"{ours} is one column, not {len(theirs)}", field=f"map.{ours}")
    if columns.get("features") == (OTHERS,):
        taken = {name for ours, theirs in columns.items() if ours != "features" for name in theirs}
        columns["features"] = tuple(name for name in names if name not in taken)
        several.add("features")
    found = Plan(kind=kind, columns=columns, naming=naming, several=frozenset(several))
    _check_needs(found, names, source)
    for name in found.wanted:
        if names.count(name) > 1:
            raise InputError(f"{source} has the column {name!r} {names.count(name)} times", field="map")
    return found


def _whole(theirs: Columns, names: Sequence[str]) -> Columns:
    """A column whose name has a comma in it, where what lies between commas is no column."""
    name = ",".join(theirs) if isinstance(theirs, tuple) else theirs
    return name if name in names and not set(theirs) <= set(names) else theirs


def _found(naming: Naming, kind: Kind, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    keys, columns = KEYS[kind], {}
    for ours, theirs in naming.columns.items():
        if ours not in keys:
            words = f"{kind.name.lower()}s have no {ours!r}; {alternatives(ours, keys)}"
            raise InputError(words, field=f"map.{ours}")
        columns[ours] = (theirs,) if isinstance(theirs, str) else theirs
    for ours in keys:
        made = (ours == "id" and naming.id_from) or (ours == "version" and naming.version is not None)
        if ours not in columns and ours in names and not made and ours not in NAMED:
            columns[ours] = (ours,)
    asked = [(f"map.{ours}", name) for ours, theirs in columns.items() for name in theirs if name != OTHERS]
    asked += [("id_from", name) for name in naming.id_from]
    for field, name in asked:
        if name not in names:
            raise UnknownName("column", name, names, field=field)
    return columns


def _check_needs(plan: Plan, names: Sequence[str], source: str) -> None:
    there = f"it has: {', '.join(map(repr, names[:12]))}{', ...' if len(names) > 12 else ''}"
    if "id" not in plan.columns and not plan.naming.id_from:
        raise InputError(
            f"{source} has no column 'id'; name it with --map id=COLUMN, or make ids of what stands in other "
            f"columns with --id-from COLUMN,COLUMN; {there}",
            field="map.id",
        )
    for ours in NEEDS[plan.kind]:
        if ours not in plan.columns:
            raise InputError(
                f"{source} has no column {ours!r}; name it with --map {ours}=COLUMN; {there}",
                field=f"map.{ours}",
            )
    if plan.kind is Kind.PREDICTION and "version" not in plan.columns and plan.naming.version is None:
        raise InputError(
            f"{source} does not say which version predicted; say it with --version NUMBER, or name a column "
            f"with --map version=COLUMN; {there}",
            field="version",
        )
