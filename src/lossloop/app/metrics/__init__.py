"""Metrics that are no means of rows, from sums over history: by version and slice, with intervals."""

from lossloop.app.metrics.asking import Answer, Question, measure, measure_at
from lossloop.app.metrics.figures import Estimate, Figure

__all__ = ["Answer", "Estimate", "Figure", "Question", "measure", "measure_at"]
