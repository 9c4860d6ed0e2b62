"""Summaries: mergeable digests of losses, for figures and for judging from sums alone. Pure."""

from lossloop.summaries.base import Summary
from lossloop.summaries.digest import Digest
from lossloop.summaries.scale import Scale

__all__ = ["Digest", "Scale", "Summary"]
