"""One input of a version."""

from __future__ import annotations

from enum import StrEnum

from lossloop.core.records import Record


class FeatureKind(StrEnum):
    """What values a feature takes."""

    NUMBER = "number"
    CATEGORY = "category"


class Feature(Record, frozen=True):
    """One input of a version. A nullable one may be null or absent; the model imputes it."""

    name: str
    kind: FeatureKind = FeatureKind.NUMBER
    nullable: bool = False
