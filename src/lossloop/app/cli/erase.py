"""`lossloop erase`: a person's rows go for good, after a question that says how many they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from lossloop.app.alone import stopped
from lossloop.app.cli.bar import byte_bar
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, answer
from lossloop.app.erasing import Erasure, erase_unit, survey
from lossloop.app.home import Home
from lossloop.core.errors import InputError


def erase(
    *,
    unit: Annotated[str, Parameter(name="--unit")],
    model: Annotated[str | None, Parameter(name="--model")] = None,
    backup: Annotated[tuple[Path, ...], Parameter(name="--backup", negative="")] = (),
    yes: Annotated[bool, Parameter(name="--yes", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Remove a unit's predictions and their outcomes from log, state and backups; counts stay.

    Parameters
    ----------
    unit
        Whose rows.
    model
        Of this model only; left out, of all.
    backup
        A bundle that was made elsewhere or moved; may be given several times.
    yes
        Do not ask.
    state
        The state directory; `lossloop up` may not run over it.
    json
        Answer as JSON; needs --yes.
    """
    if not yes and (json or not sys.stdin.isatty()):
        raise InputError("nobody is here to be asked; give --yes to erase without a question", field="yes")
    place = Home(path=state).check()
    with stopped(place) as alone:
        with byte_bar("reading", alone.size(), quiet=json) as tell:
            found = survey(alone, unit, model, more=backup, tell=tell)
        if not yes and not _agreed(found):
            print("Nothing was erased.")
            return
        done = erase_unit(alone, unit, model, more=backup)
    answer(msgspec.to_builtins(done), as_json=json, words=_words(done))


def _agreed(found: Erasure) -> bool:
    print(f"This erases for good:\n{_listed(found)}\nType yes to go on:", end=" ", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _words(done: Erasure) -> str:
    words = f"Erased:\n{_listed(done)}\nThe audit log has an entry."
    if done.rejected:
        words += f"\n{done.rejected:,} rows that an import had rejected named it, and went."
    for path in done.not_found:
        words += f"\n{path} was made from this ledger and is not there: erase in it with --backup PATH."
    return words


def _listed(found: Erasure) -> str:
    lines = [
        f"  {model}: {rows.predictions:,} predictions, {rows.outcomes:,} outcomes"
        for model, rows in found.models.items()
    ] or ["  no prediction and no outcome in the log"]
    lines += [f"  and what {path} holds of it" for path in found.backups]
    lines += [f"  and all of {name}, a backup in an older format" for name in found.removed]
    return "\n".join(lines)
