"""The demo under many salts: how far does the bad release get, and is a healthy one ever rolled back?

    python -m benchmarks.demo.salts [--salts 20] [--until 2013-09-01] [--json]

Each row is one whole replay through the real HTTP server, so 20 salts take about half an hour.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from lossloop.app.demo import run
from lossloop.app.demo.replay import MODEL
from lossloop.app.home import Home
from lossloop.app.showing import shown


class Silent:
    """A screen that shows nothing."""

    def phase(self, words: str) -> None:
        """Nothing."""

    def progress(self, day: date, done: float) -> None:
        """Nothing."""

    def decided(self, decision: dict[str, Any]) -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of both releases under one salt."""

    salt: str
    ended: str
    """What became of version 2."""
    step: int
    """The highest canary step that version 2 reached, from 1."""
    outcomes: int
    """How many flights had been judged when it was decided."""
    exposed: int
    """How many flights version 2 answered."""
    alarm: str
    third: str
    """What became of version 3, which is healthy."""


def play(salt: str, until: date, folder: Path) -> Row:
    """One replay."""
    told = run.play(folder / "state", Silent(), salt=salt, until=until)
    state = Home(path=folder / "state").state()
    exposed = sum(part.predictions for part in shown(state, MODEL) if part.version == 2)
    state.close()
    second = [d for d in told.decisions if d.get("version") == 2 and d["action"] != "start_rollout"]
    third = [d for d in told.decisions if d.get("version") == 3 and d["action"] in ENDS]
    alarms = [d["at"][:10] for d in told.decisions if d["action"] == "retrain"]
    last = next((d for d in second if d["action"] in ENDS), None)
    return Row(
        salt=salt,
        ended=last["action"] if last else "running",
        step=1 + sum(d["action"] == "ramp" for d in second),
        outcomes=last["verdict"]["count"] if last and "verdict" in last else 0,
        exposed=exposed,
        alarm=", ".join(alarms),
        third=third[0]["action"] if third else "running",
    )


ENDS = ("promote", "refuse", "roll_back")


def main() -> None:
    """Print a row per salt and the summary that the issue asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--salts", type=int, default=20)
    parser.add_argument("--until", type=date.fromisoformat, default=date(2013, 9, 1))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for number in range(given.salts):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(play(f"salt-{number:02d}", given.until, Path(folder)))
        if not given.json:
            print(rows[-1], flush=True)
    summary = {
        "rolled_back": sum(row.ended == "roll_back" for row in rows),
        "highest_step": max(row.step for row in rows),
        "median_outcomes": median(row.outcomes for row in rows),
        "median_exposed": median(row.exposed for row in rows),
        "healthy_rolled_back": sum(row.third == "roll_back" for row in rows),
        "healthy_promoted": sum(row.third == "promote" for row in rows),
    }
    if given.json:
        print(msgspec.json.encode({"rows": [asdict(row) for row in rows], "summary": summary}).decode())
    else:
        print(summary)


if __name__ == "__main__":
    main()
