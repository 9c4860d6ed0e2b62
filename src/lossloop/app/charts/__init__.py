"""Charts of verdicts: one function from a history to what pages, the report and notebooks draw."""

from lossloop.app.charts.history import History, history_of, read_history
from lossloop.app.charts.spec import Chart
from lossloop.app.charts.watches import watch_charts

__all__ = ["Chart", "History", "history_of", "read_history", "watch_charts"]
