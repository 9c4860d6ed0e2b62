"""A transform as plain Python: a function of columns, in a child process like all code that a version brings.

The function takes a mapping of NumPy arrays, as runtimes take columns, and returns one: an array of n numbers
for each feature that it makes. A feature that it does not make is the raw input of its name; a category is
always such a one.
"""

from __future__ import annotations

import msgspec
import numpy as np

from lossloop.core.errors import InputError
from lossloop.registry import FeatureKind, Manifest, Transform
from lossloop.registry.process import Process
from lossloop.serve.runtimes.base import Columns
from lossloop.serve.runtimes.child import ChildRuntime
from lossloop.serve.runtimes.permits import Permit

_MODULE = "transform"
_ENTRY = "lossloop_matrix"
_ADAPTER = """

def {entry}(columns):
    import numpy
    made = {function}(columns)
    rows = len(next(iter(columns.values())))
    known = {{name: made[name] if name in made else columns[name] for name in {names!r}}}
    arrays = [numpy.asarray(each, dtype=numpy.float64) for each in known.values()]
    return numpy.column_stack([numpy.broadcast_to(each, (rows,)) for each in arrays])
"""
"""What turns the function's columns into the one matrix that comes back from a child."""


class PythonTransform:
    """A function in a process of its own.

    Raises:
        InputError: A category is no raw input, or no number is made.
        ModelRaised: The source cannot be loaded; says what it raised.
    """

    native = False

    def __init__(
        self, artifact: bytes, transform: Transform, process: Process | None, permit: Permit
    ) -> None:
        raw = {feature.name: feature.kind for feature in transform.inputs}
        self._features = [feature.name for feature in transform.features]
        self._numbers = [each.name for each in transform.features if each.kind is FeatureKind.NUMBER]
        for name in self._features:
            if name not in self._numbers and raw.get(name) is not FeatureKind.CATEGORY:
                words = f"a transform in Python makes numbers; the category {name!r} has to be a raw input"
                raise InputError(words, field="transform.features")
        if not self._numbers:
            raise InputError("a transform in Python makes one number or more", field="transform.features")
        adapter = _ADAPTER.format(entry=_ENTRY, function=transform.entry, names=self._numbers)
        limits = msgspec.structs.replace(process or Process(), entry=f"{_MODULE}:{_ENTRY}")
        manifest = Manifest(runtime="python", features=transform.inputs, process=limits)
        self._inputs = list(raw)
        self._child = ChildRuntime("python", artifact + adapter.encode(), manifest, permit)

    def apply(self, columns: Columns) -> Columns:
        made = self._child.predict({name: columns[name] for name in self._inputs})
        table = made.reshape(len(made), -1)
        if table.shape[1] != len(self._numbers):
            raise InputError("the transform made another number of columns", field="transform")
        places = {name: place for place, name in enumerate(self._numbers)}
        return {
            name: np.ascontiguousarray(table[:, places[name]]) if name in places else columns[name]
            for name in self._features
        }

    def close(self) -> None:
        """End the process."""
        self._child.close()
