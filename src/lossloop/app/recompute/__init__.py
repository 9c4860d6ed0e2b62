"""A loss over history: read from derived state, computed in pieces; the figures are the same wherever."""

from lossloop.app.recompute.asking import Answer, Question, recompute
from lossloop.app.recompute.figures import Figure
from lossloop.app.recompute.floor import plain_pass

__all__ = ["Answer", "Figure", "Question", "plain_pass", "recompute"]
