"""Where answers go: a file, or a table of a database; one contract."""

from lossloop.app.predicting.outputs.base import Output
from lossloop.app.predicting.outputs.opening import open_output

__all__ = ["Output", "open_output"]
