"""What others have sent is shown, and gives the terminal no orders."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.table import Table
from rich.text import Text

from lossloop.app import operate
from lossloop.app.cli import main
from lossloop.app.cli.terminal import Screen, printable
from lossloop.app.commands import Promote
from lossloop.judges import profile_of
from lossloop.registry import Manifest
from tests.app.desk import DAY, MODEL, WATCH, Desk, asked, external, happened, ticked

CLEAR = "\x1b[2J"
NAMES = ("[/]", "[bold red]x[/bold red]", f"{CLEAR}gone", "\u202eback", "a\nb")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"), (CLEAR, "\\x1b[2J"), ("\u202e", "\\u202e"), ("two\nlines", "two\nlines"),
        ("\r\x00", "\\r\\x00"), ("日本 é █", "日本 é █"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_a_table_of_ids_cannot_clear_the_screen_and_keeps_its_colours() -> None:
    file = io.StringIO()
    table = Table("id")
    table.add_row(Text(f"{CLEAR}id", style="red"))
    screen = Screen(file=file, force_terminal=True, color_system="standard", width=60)
    screen.print(table)
    screen.print(f"a line {CLEAR}", markup=False, soft_wrap=True)
    assert CLEAR not in file.getvalue()
    assert "\x1b[31m\\x1b[" in file.getvalue()
    assert "a line \\x1b" in file.getvalue()


def sent(desk: Desk, day: int, loss: float, rng: np.random.Generator) -> None:
    ids = desk.ids(40)
    features: list[dict[str, Any]] = [
        {name: float(rng.normal(day / 4)) for name in NAMES} | {"[/]": rng.choice(["[/]", CLEAR, "[b]"])}
        for _ in ids
    ]
    hour = day * DAY
    losses = np.clip(rng.normal(loss, 0.01, len(ids)), 0, 1).tolist()
    desk.send(
        asked(hour + 8, losses, ids, features=features), happened(hour + 9, ids), ticked(hour + DAY + 7)
    )


def test_names_of_features_are_neither_markup_nor_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    profile = profile_of(
        {name: rng.normal(size=600) for name in NAMES}, blocks=np.arange(600) // 60, block="1d"
    )
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    desk.policy()
    reference = external().reference
    operate.register(desk.home, MODEL, Manifest(runtime="external", profile=profile, reference=reference))
    desk.obey(Promote(model=MODEL, version=1))
    desk.policy(watches={"inputs": {"kind": "drift", "promise": "1 per 1000 blocks"}, "worse": WATCH})
    for day in range(12):
        sent(desk, day, 0.1 if day < 8 else 0.5, rng)
    for command in (["status", MODEL], ["why", MODEL, "--since", "2024-01-09"]):
        main_of(*command, "--state", str(desk.home.path))
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[/]" in shown


def main_of(*words: str) -> None:
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr("sys.argv", ["lossloop", *words])
        main()
