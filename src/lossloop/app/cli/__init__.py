"""The command line: `lossloop`. Each command is imported when it is called, so that `--help` is quick."""

from lossloop.app.cli.program import app, main

__all__ = ["app", "main"]
