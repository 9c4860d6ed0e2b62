"""What a version is made of. A manifest never changes; its digest names it."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from lossloop.core.cuts import SliceReference
from lossloop.core.errors import InputError, alternatives
from lossloop.core.estimates import Estimate
from lossloop.core.ids import digest
from lossloop.core.profile import Profile
from lossloop.core.records import Record
from lossloop.core.seasons import Season
from lossloop.core.thresholds import Thresholds
from lossloop.registry.approval import Approval
from lossloop.registry.feature import Feature, FeatureKind
from lossloop.registry.options import Options
from lossloop.registry.process import Process
from lossloop.registry.transform import Transform


class Reference(Record, frozen=True):
    """What the version's loss was on held-out data: what a regression is measured against.

    `block_means` are mean losses of consecutive blocks, rows averaged per unit first; `design_effect` the
    variance of block means over the variance of a mean of as many independent rows; `row_upper` an upper
    bound of the mean loss that takes rows as independent, for watches that judge rows.
    """

    loss: str
    mean: float
    block: str
    block_means: tuple[float, ...]
    rows: int
    design_effect: float
    row_upper: float | None = None
    estimate: Estimate | None = None
    """How the loss is estimated from a prediction; needed by watches that estimate it."""
    baseline: float | tuple[float, ...] | None = None
    """The one answer of a simple predictor, such as the share of 1; needed by watches against a baseline."""
    seasons: dict[str, tuple[float, ...]] = {}
    """By a season's name the mean loss of each of its parts, in order; limits are learned from them."""
    slices: dict[str, SliceReference] = {}
    """By the slice's name, ``carrier=UA``; a slice that is not there is measured against the whole."""

    def __post_init__(self) -> None:
        if not self.block_means or not all(map(math.isfinite, self.block_means)):
            raise InputError(
                "a reference needs one or more finite block means", field="reference.block_means"
            )
        for name, means in self.seasons.items():
            if name not in [*Season]:
                raise InputError(
                    f"there is no season {name!r}; {alternatives(name, Season)}", field="reference.seasons"
                )
            season = Season(name)
            if len(means) != len(season.names) or not all(map(math.isfinite, means)):
                raise InputError(
                    f"the season {season} needs {len(season.names)} finite means, for {season.names[0]} to "
                    f"{season.names[-1]}",
                    field=f"reference.seasons.{season}",
                )


_PLAIN = Options()


class Manifest(Record, frozen=True):
    """A version's content: artifact, feature schema, loss, reference profile, lineage.

    Raises:
        InputError: Two features have one name, or one has none.
    """

    runtime: str = ""
    """What runs the artifact: ``onnx``, ..., or ``external`` where another system serves the version; empty
    where the artifact is to tell by itself."""
    artifact: str = ""
    """Digest of the artifact's bytes; empty for external ones."""
    features: tuple[Feature, ...] = ()
    """What callers send; with a transform, what that says."""
    transform: Transform | None = None
    """How raw inputs become what the model takes."""
    options: Options = _PLAIN
    """How the artifact is asked, where it leaves a choice."""
    reference: Reference | None = None
    beside: tuple[Reference, ...] = ()
    """References under other losses: one is taken where its loss judges."""
    profile: Profile | None = None
    """What the inputs and predictions of reference rows looked like; needed by watches of drift."""
    thresholds: Thresholds | None = None
    """What is done at which score, where a loss is of what is done."""
    process: Process | None = None
    """How its own code is run, where it brings some."""
    lineage: dict[str, Any] = {}
    notes: str = ""

    def __post_init__(self) -> None:
        if self.options == _PLAIN:  # the very same object is left out of JSON, and so out of the digest
            msgspec.structs.force_setattr(self, "options", _PLAIN)
        if self.transform is not None:
            if self.features not in ((), self.transform.sent):
                raise InputError("leave features out: callers send what the transform says", field="features")
            msgspec.structs.force_setattr(self, "features", self.transform.sent)
        seen: set[str] = {""}
        for feature in self.features:
            if feature.name in seen:
                raise InputError(
                    f"each feature needs a name of its own, not {feature.name!r}", field="features"
                )
            seen.add(feature.name)

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Digests of all that a server of it needs."""
        mine = () if not self.artifact else (self.artifact,)
        return mine if self.transform is None else (*mine, self.transform.artifact)

    @property
    def digest(self) -> str:
        """The manifest's content digest, hex."""
        return digest(msgspec.json.encode(self, order="deterministic"))


class Version(Record, frozen=True):
    """An immutable candidate: `model:number`, and a digest."""

    model: str
    number: int
    digest: str
    manifest: Manifest
    registered_at: int
    approval: Approval | None = None
    """Who answers for the code that it brings, where it brings some."""

    @property
    def name(self) -> str:
        return f"{self.model}:{self.number}"


__all__ = ["Feature", "FeatureKind", "Manifest", "Reference", "Version"]
