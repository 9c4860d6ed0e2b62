"""Retrain targets, as a user's own package has them."""

from __future__ import annotations

import os

from lossloop.act.retrain import Trained, TrainingData
from lossloop.registry import Reference

REFERENCE = Reference(
    loss="brier", mean=0.1, block="1d", block_means=(0.1, 0.1, 0.1), rows=30, design_effect=1.0
)


def train(data: TrainingData) -> Trained:
    """Remember what was given; the version is served elsewhere."""
    lineage = {
        "rows_seen": len(data.rows),
        "columns": data.rows.column_names,
        "secret": "SECRET" in os.environ,
    }
    return Trained(artifact=b"", runtime="external", features=(), reference=REFERENCE, lineage=lineage)


def fail(data: TrainingData) -> Trained:
    """Not today."""
    raise RuntimeError("the trainer found no disk")


def answer_something_else(data: TrainingData) -> int:
    """Not a version."""
    return len(data.rows)


def leave(data: TrainingData) -> Trained:
    """End the process without a word."""
    os._exit(7)
