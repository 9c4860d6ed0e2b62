"""Benchmarks that anyone can run: what is promised, held against this machine. Each is a module of its own.

What is here is light: processes that a bench starts import it too.
"""

from lossloop.app.bench.figure import Figure, as_json
from lossloop.app.bench.machine import Machine

__all__ = ["Figure", "Machine", "as_json"]
