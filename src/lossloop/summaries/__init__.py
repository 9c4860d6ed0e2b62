"""Summaries: mergeable digests of losses, and of outcomes with predictions. Pure."""

from lossloop.summaries.base import Metrics, Summary
from lossloop.summaries.confusion import Confusion
from lossloop.summaries.digest import Digest
from lossloop.summaries.latencies import Latencies
from lossloop.summaries.lifetimes import Lifetimes
from lossloop.summaries.residuals import Residuals
from lossloop.summaries.scale import Scale
from lossloop.summaries.scores import Scores

__all__ = [
    "Confusion",
    "Digest",
    "Latencies",
    "Lifetimes",
    "Metrics",
    "Residuals",
    "Scale",
    "Scores",
    "Summary",
]
