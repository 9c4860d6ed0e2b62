"""A policy tried on the past: the verdicts it would have given, and what they would have been worth."""

from lossloop.app.backtest.asking import Question, backtest
from lossloop.app.backtest.base import Account, Alarm, Backtest, Candidate, Incident, Outcome, Replayed

__all__ = [
    "Account",
    "Alarm",
    "Backtest",
    "Candidate",
    "Incident",
    "Outcome",
    "Question",
    "Replayed",
    "backtest",
]
