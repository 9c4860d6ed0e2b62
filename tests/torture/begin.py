"""A ledger to torture: models that another system serves, of two versions each.

python -m tests.torture.begin STATE
"""

from __future__ import annotations

import sys
from pathlib import Path

from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import Home, init
from lossloop.registry import Manifest
from tests.torture.events import MODELS

POLICY = """\
model: {model}
task: binary
loss: brier
block: 1m
labels: {{mature_after: 1s}}
watches:
  bad: {{kind: guardrail, limit: 0.99, promise: "1 per 3650 blocks"}}
"""
"""The guardrail is judged all the time, and never fires: a prediction costs a third on average."""


def begin(home: Home) -> Home:
    """Make the models."""
    for model in MODELS:
        operate.set_policy(home, POLICY.format(model=model))
        for notes in ("one", "two"):
            operate.register(home, model, Manifest(runtime="external", notes=notes))
        operate.obey(home, Promote(model=model, version=1))
    return home


if __name__ == "__main__":
    begin(init(Path(sys.argv[1])))
