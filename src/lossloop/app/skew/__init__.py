"""Skew: what was sent and answered, against what the version makes of the same inputs."""

from lossloop.app.skew.asking import Found, Question, check_skew
from lossloop.app.skew.comparing import Difference

__all__ = ["Difference", "Found", "Question", "check_skew"]
