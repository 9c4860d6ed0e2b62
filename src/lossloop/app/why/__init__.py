"""Why did the loss move: which slices carry it, which features moved, and inputs against answers."""

from lossloop.app.why.asking import Question, Why, why

__all__ = ["Question", "Why", "why"]
