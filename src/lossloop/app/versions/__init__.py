"""Versions held against scenarios, recent traffic and the champion, before they take traffic."""

from lossloop.app.versions.asking import Question, check_version
from lossloop.app.versions.base import Report

__all__ = ["Question", "Report", "check_version"]
