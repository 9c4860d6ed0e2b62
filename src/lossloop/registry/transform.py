"""What a manifest says of its transform: how raw inputs become what the model takes."""

from __future__ import annotations

import re
from enum import StrEnum

from lossloop.core.errors import InputError, alternatives
from lossloop.core.records import Record
from lossloop.registry.feature import Feature

RUNTIMES = ("onnx", "python")
_NAME = re.compile(r"[A-Za-z_]\w*")


class By(StrEnum):
    """Who applies a transform when a version is asked."""

    SERVER = "server"
    """Callers send raw inputs, and Lossloop makes the features of them."""
    CALLER = "caller"
    """Callers make the features themselves; the transform says what they should have made."""


class Transform(Record, frozen=True):
    """One feature code for training, serving and batches.

    Raises:
        InputError: A runtime that there is not, a name that is none, or features that stand twice.
    """

    runtime: str
    """``onnx``: a graph; ``python``: a function of columns, which runs in a child process."""
    inputs: tuple[Feature, ...]
    """What it takes: the raw inputs."""
    features: tuple[Feature, ...]
    """What it makes: what the model takes, in the model's order."""
    artifact: str = ""
    """Digest of the graph's or the source's bytes: one file, which reaches nothing else of a project."""
    entry: str = "transform"
    """The function's name, in Python."""
    by: By = By.SERVER

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            words = f"no transform runs on {self.runtime!r}; {alternatives(self.runtime, RUNTIMES)}"
            raise InputError(words, field="transform.runtime")
        if not _NAME.fullmatch(self.entry):
            raise InputError(f"{self.entry!r} is no name of a function", field="transform.entry")
        for field in ("inputs", "features"):
            names = [feature.name for feature in getattr(self, field)]
            if not names or len(set(names)) < len(names) or "" in names:
                raise InputError("list one or more features, each with a name of its own",
                                 field=f"transform.{field}")  # fmt: skip

    @property
    def sent(self) -> tuple[Feature, ...]:
        """What callers send."""
        return self.inputs if self.by is By.SERVER else self.features
