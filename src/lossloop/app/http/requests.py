"""The bodies that the endpoints take. Rows stay plain here: one bad row is one problem, not the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import msgspec
import pyarrow as pa
from msgspec import UNSET, UnsetType

from lossloop.core.errors import InputError
from lossloop.registry import Approval, Manifest
from lossloop.serve.arrow import model_in, of_arrow, read_stream
from lossloop.serve.batch import Batch, of_columns, of_rows
from lossloop.serve.rowwise import OUTCOME_KEYS, OUTCOME_NEEDS, PREDICTION_KEYS, PREDICTION_NEEDS

Number = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: an unknown key is an error."""


class PredictBody(Body):
    """Rows to predict: each ``{"features": {...}}`` and, where wanted, `id`, `unit` and `time`."""

    rows: list[Any]


class PredictionsBody(Body):
    """Predictions that another system made, as rows or as columns.

    Each has `version` and `y_pred` and, where wanted, `id`, `unit`, `time`, `role`, `propensity`, `features`.
    """

    model: str
    predictions: list[Any] | UnsetType = UNSET
    columns: dict[str, Any] | UnsetType = UNSET

    def batch(self) -> Batch:
        """What was sent."""
        return _batch("predictions", self.predictions, self.columns, PREDICTION_KEYS, PREDICTION_NEEDS)


class OutcomesBody(Body):
    """What happened, as rows or as columns: each `id`, `y_true` and, where wanted, `time` and `reason`."""

    model: str
    outcomes: list[Any] | UnsetType = UNSET
    columns: dict[str, Any] | UnsetType = UNSET

    def batch(self) -> Batch:
        """What was sent."""
        return _batch("outcomes", self.outcomes, self.columns, OUTCOME_KEYS, OUTCOME_NEEDS)


def _batch(
    name: str, rows: Any, columns: Mapping[str, Any] | UnsetType, keys: Sequence[str], needs: Sequence[str]
) -> Batch:
    if columns is UNSET:
        if rows is UNSET:
            raise InputError(f"send rows under {name!r}, or lists under 'columns'", field=name)
        return of_rows(rows, keys, needs)
    if rows is not UNSET:
        raise InputError(f"send either {name!r} or 'columns'", field="columns")
    return of_columns(columns, keys, needs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """A batch as an Arrow stream; its model stands in the query, or in the schema's metadata."""

    model: str
    facts: pa.RecordBatch

    keys: ClassVar[Sequence[str]] = ()
    needs: ClassVar[Sequence[str]] = ()

    @classmethod
    def read(cls, data: bytes, model: str | None) -> Self:
        """Read a body; raise InputError where it is no such stream, or names no model, or two."""
        facts = read_stream(data)
        named = model_in(facts)
        if model is None and named is None:
            raise InputError(
                "name the model: ?model=NAME, or the key model in the schema's metadata", field="model"
            )
        if model is not None and named is not None and model != named:
            raise InputError(f"the query names the model {model!r}, the schema {named!r}", field="model")
        return cls(model=model or named or "", facts=facts)

    def batch(self) -> Batch:
        """What was sent."""
        return of_arrow(self.facts, self.keys, self.needs)


class PredictionsStream(Stream):
    """Predictions that another system made."""

    keys, needs = PREDICTION_KEYS, PREDICTION_NEEDS


class OutcomesStream(Stream):
    """What happened."""

    keys, needs = OUTCOME_KEYS, OUTCOME_NEEDS


class LossesBody(Body):
    """Predictions and what happened; nothing of it is kept."""

    loss: str
    y_pred: list[Any]
    y_true: list[Any] | None = None
    features: dict[str, list[Any]] | None = None


class PolicyBody(Body):
    """A policy file's text."""

    text: str


class LossBody(Body):
    """A policy whose loss is to judge from now on; `since` and `until` bound the past that it is tried on."""

    text: str
    reason: str = ""
    by: str = "operator"
    force: bool = False
    since: str | None = None
    until: str | None = None


class VersionBody(Body):
    """What a version is made of: a manifest, its artifact in base64, and a signature where it brings code."""

    manifest: Manifest = Manifest()
    artifact: bytes | None = None
    file: str = ""
    """The artifact's file name, which may tell its format."""
    signature: Approval | None = None


class RolloutBody(Body):
    """A version to put on its way; `plan` overrides keys of the policy's rollout."""

    version: Number
    plan: dict[str, Any] = {}
    reason: str = ""
    force: bool = False


class ArmBody(Body):
    """A version, and its share of the units."""

    version: Number
    share: float


class ExperimentBody(Body):
    """Versions to compare with the champion; `plan` overrides keys of the policy's experiment."""

    arms: list[ArmBody]
    plan: dict[str, Any] = {}
    reason: str = ""
    force: bool = False


class PromoteBody(Body):
    """A version to give all the traffic to; none for the running rollout's challenger."""

    version: Number | None = None
    reason: str = ""
    force: bool = False


class ReasonBody(Body):
    """Why."""

    reason: str = ""


class TickBody(Body):
    """How far a replay's clock moves."""

    time: str
