"""`lossloop demo`: a year of real flights in two minutes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lossloop.app.cli.common import Json, console, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.cli.screen import DemoScreen
from lossloop.app.cli.tables import comparison_table, decisions_table
from lossloop.app.demo.report import write_report
from lossloop.app.demo.run import Told, play
from lossloop.app.home import Home
from lossloop.core.errors import StateError

PLACE = Path("lossloop-demo")


def demo(
    *,
    state: Annotated[Path, Parameter(name="--state")] = PLACE,
    report: Annotated[Path, Parameter(name="--report")] = Path("lossloop-demo.html"),
    salt: Annotated[str, Parameter(name="--salt")] = "demo",
    resume: Annotated[bool, Parameter(name="--resume", negative="")] = False,
    keep: Annotated[bool, Parameter(name="--keep", negative="")] = False,
    json: Json = False,
) -> None:
    """Replay a year of flights: a bad release is rolled back, a better one promoted, nobody asked.

    Parameters
    ----------
    state
        The demo's state directory; removed at the end unless it is to be kept.
    report
        Where the report is written, one HTML file.
    salt
        Draws which flights meet a canary.
    resume
        Go on where a demo was cut off.
    keep
        Keep the state directory, for `lossloop status` and `lossloop up`.
    json
        Answer as JSON; the same decisions every time, elapsed times apart from them.
    """
    if not resume:
        _clear(state)
    with DemoScreen() as screen:
        told = play(state, screen, salt=salt, resume=resume)
        write_report(Home(path=state), told, report)
    if json:
        print_json(told.plain())
    else:
        _show(told, report)
    if keep:
        print(f"\nThe state is kept: lossloop status --state {state}", flush=True) if not json else None
    else:
        shutil.rmtree(state)


def _clear(state: Path) -> None:
    """Remove what an earlier demo left; never anything else."""
    if not state.exists():
        return
    if not (state / "format").exists() and any(state.iterdir()):
        raise StateError(f"{state} holds other things than a demo; choose another place with --state")
    if (state / "format").exists() and Home(path=state).settings().clock != "event":
        raise StateError(f"{state} is a state directory in use, not a demo's; choose another with --state")
    shutil.rmtree(state)


def _show(told: Told, report: Path) -> None:
    screen = console()
    show_table(screen, decisions_table(told.decisions))
    show_table(screen, comparison_table(told.plain()["comparison"]))
    for line in _times(told.timings):
        print(line)
    print(f"Report: {report}")


def _times(timings: dict[str, Any]) -> list[str]:
    safe = [each["ms"] for each in timings["safe_traffic_ms"] if each["action"] == "roll_back"]
    speed = f"{timings['replay_s']:.0f} s ({timings['rows_per_s']:,.0f} rows/s)"
    waiting = f"{timings['waited_for_retraining_s']:.0f} s of it waiting for retraining"
    sent = f"{timings['rows']:,} rows in {timings['requests']:,} HTTP requests"
    lines = [f"Replayed {sent} in {speed}; {waiting}."]
    if safe:
        lines.append(f"From the deciding outcome to safe traffic: {min(safe):.1f} ms.")
    return lines
