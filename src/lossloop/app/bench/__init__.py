"""Benchmarks that anyone can run: what is promised, held against this machine."""

from lossloop.app.bench.figure import Figure, as_json
from lossloop.app.bench.ledger import run as run_ledger
from lossloop.app.bench.machine import Machine
from lossloop.app.bench.screen import Quiet, Screen
from lossloop.app.bench.sizes import FULL, QUICK, Sizes
from lossloop.app.bench.targets import TARGETS

__all__ = [
    "FULL",
    "QUICK",
    "TARGETS",
    "Figure",
    "Machine",
    "Quiet",
    "Screen",
    "Sizes",
    "as_json",
    "run_ledger",
]
