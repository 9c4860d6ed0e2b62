"""A bar is for a terminal; elsewhere nothing is said."""

from __future__ import annotations

import io

import pytest

from lossloop.app.cli import bar
from lossloop.app.cli.bar import byte_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_nothing_is_said_into_a_file(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    with byte_bar("sealing", 10, quiet=quiet) as tell:
        tell(4)
        tell(6)
    said = capsys.readouterr()
    assert said.out == said.err == ""


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with byte_bar("sealing", 2_000_000) as tell:
        tell(2_000_000)
    assert "sealing" in screen.getvalue()
    assert "2.0" in screen.getvalue()
    assert bar.byte_bar is byte_bar
