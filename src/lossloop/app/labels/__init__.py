"""How late a model's labels come, what those that did not come can hide, and which are wanted."""

from lossloop.app.labels.telling import label_delay, label_delay_at
from lossloop.app.labels.wanted import wanted_at

__all__ = ["label_delay", "label_delay_at", "wanted_at"]
