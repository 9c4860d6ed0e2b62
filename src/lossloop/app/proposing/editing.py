"""A policy file with some of its values set anew; comments and order stay. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from lossloop.act.yaml import load
from lossloop.app.proposing.base import Change

_VALUE = r"(?P<value>'[^']*'|\"[^\"]*\"|[^,}}#\n]*[^,}}#\s])"


def edited(text: str, changes: Iterable[Change]) -> str:
    """The text with each change that stands on the line of its key; another is left to people."""
    document, lines = load(text), text.splitlines(keepends=True)
    for change in changes:
        line = document.lines.get(change.path)
        if line is None:
            continue
        pattern = re.compile(rf"(?P<key>(?<![\w.]){re.escape(change.path[-1])}\s*:\s*){_VALUE}")
        lines[line - 1] = pattern.sub(
            lambda found, change=change: f"{found['key']}{change.proposed}",  # type: ignore[misc]
            lines[line - 1],
            count=1,
        )
    return "".join(lines)


def diff(before: str, after: str, name: str) -> str:
    """What changes, as `diff -u` prints it; empty where nothing does."""
    found = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (proposed)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in found)
