"""A model behind its transform, as one runtime: raw inputs in, predictions out."""

from __future__ import annotations

from lossloop.serve.runtimes.base import Columns, Floats, Runtime
from lossloop.serve.transforms.base import Transforming


class Applied:
    """One lane for both: they run after each other, with nothing copied between.

    Args:
        transform: Makes the features.
        model: Is asked with them.
    """

    def __init__(self, transform: Transforming, model: Runtime) -> None:
        self.native = transform.native and model.native
        self.transform = transform
        self.model = model

    def predict(self, columns: Columns) -> Floats:
        return self.model.predict(self.transform.apply(columns))

    def close(self) -> None:
        """Give back what both hold."""
        for each in (self.transform, self.model):
            close = getattr(each, "close", None)
            if close is not None:
                close()
