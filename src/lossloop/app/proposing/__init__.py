"""A policy checked against the past: block, tolerance and limits proposed, and what they cost in delay."""

from lossloop.app.proposing.asking import check_policy
from lossloop.app.proposing.base import Change, Checked, Span

__all__ = ["Change", "Checked", "Span", "check_policy"]
