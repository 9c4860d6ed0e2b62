"""Follows a page of the docs as a reader would: writes its files, types its commands, compares what it sees.

- a fenced block with a title is a file, written under that name;
- a `console` block is typed; what it shows below a command has to appear, numbers apart;
- a `console` block with "terminal" in its title keeps running beside the others until the page ends, or until
  another block uses the same terminal.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lossloop.app.system import free_port
from tests.house.repository import ROOT

_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PATIENCE = 60.0
PORT = "8765"
LOOKS = ("lossloop status", "lossloop decisions", "cat ")
"""What may be typed again until it shows what the page shows."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block."""

    language: str
    title: str
    text: str


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = _FENCE.findall(path.read_text())
    return [Block(language=language, title=title, text=text) for language, title, text in found]


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """What a console block types, each with what it shows."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        typed, _, shown = part.partition("\n")
        while typed.endswith("\\"):
            more, _, shown = shown.partition("\n")
            typed = typed[:-1] + more
        yield typed, [line for line in shown.splitlines() if line.strip() not in ("", "...")]


def alike(line: str) -> str:
    """A line without what changes from run to run: numbers, signs before them, widths of columns."""
    line = re.sub(r"[+-]?\d[\d.,:+TZ-]*", "#", line)
    return re.sub(r"[\s─]+", " ", line).strip()


def missing(shown: list[str], seen: str) -> list[str]:
    """Lines that a page shows and that were not seen."""
    lines = {alike(line) for line in seen.splitlines()}
    return [line for line in shown if alike(line) not in lines]


@dataclass(kw_only=True)
class Reader:
    """Somebody who follows pages in a directory of their own, with a port of their own."""

    place: Path
    commands: Path
    """The folder of the `lossloop` that they type."""
    port: str = field(default_factory=lambda: str(free_port("127.0.0.1")))
    _terminals: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def follow(self, path: Path) -> None:
        """Do all that a page says."""
        for block in blocks(path):
            if block.language == "console" and "terminal" in block.title:
                self._start(block.title, block.text)
            elif block.language == "console":
                for typed, shown in commands(block.text):
                    self._type(typed, shown)
            elif block.title:
                (self.place / block.title).parent.mkdir(parents=True, exist_ok=True)
                (self.place / block.title).write_text(self.here(block.text))

    def close(self) -> None:
        """Stop what was left running, the last first."""
        for title in reversed(list(self._terminals)):
            self._stop(title)

    def _stop(self, title: str) -> None:
        process = self._terminals.pop(title, None)
        if process is not None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE)

    def here(self, text: str) -> str:
        """A text with the port that this reader uses."""
        return text.replace(PORT, self.port)

    def _command(self, typed: str) -> list[str]:
        typed = re.sub(r"^lossloop up\b", f"lossloop up --port {self.port}", self.here(typed))
        return ["bash", "-c", typed]

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join((str(self.commands), str(Path(sys.executable).parent), os.environ["PATH"]))
        source = str(ROOT / "src")
        return {**os.environ, "PATH": path, "PYTHONPATH": source, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}

    def _type(self, typed: str, shown: list[str]) -> None:
        shown = [self.here(line) for line in shown]
        until = time.monotonic() + (PATIENCE if typed.startswith(LOOKS) else 0.0)
        while True:
            done = subprocess.run(
                self._command(typed), cwd=self.place, env=self._environment(), check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
            )  # fmt: skip
            seen = done.stdout.decode()
            if not (lacking := missing(shown, seen)):
                break
            assert time.monotonic() < until, f"$ {typed}\n{seen}\nthe page shows: {lacking}"
            time.sleep(0.5)
        refused = any(line.startswith("error:") for line in shown)
        assert (done.returncode == 0) != refused, f"$ {typed}\n{seen}"

    def _start(self, title: str, text: str) -> None:
        self._stop(title)
        ((typed, shown),) = commands(text)
        out = self.place / f".{title}"
        with out.open("wb") as file:
            process = subprocess.Popen(
                self._command(typed), cwd=self.place, env=self._environment(), stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._terminals[title] = process
        until = time.monotonic() + PATIENCE
        while missing([self.here(line) for line in shown], out.read_text()):
            assert time.monotonic() < until, f"$ {typed}\n{out.read_text()}\nthe page shows: {shown}"
            assert process.poll() is None, f"$ {typed} ended:\n{out.read_text()}"
            time.sleep(0.1)
