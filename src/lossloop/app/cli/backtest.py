"""`lossloop backtest`: policies tried on the past, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lossloop.act.policy import Policy, read_policy
from lossloop.app.backtest import Candidate, Question
from lossloop.app.backtest import backtest as tried
from lossloop.app.backtest.picture import render, sides
from lossloop.app.backtest.plain import plain
from lossloop.app.cli.backtables import lines
from lossloop.app.cli.bar import count_bar
from lossloop.app.cli.chart import write_page
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show
from lossloop.app.cli.models import text_of
from lossloop.core.errors import InputError


def backtest(
    *policies: Path,
    model: Annotated[str | None, Parameter(name="--model")] = None,
    since: Annotated[str | None, Parameter(name="--since")] = None,
    until: Annotated[str | None, Parameter(name="--until")] = None,
    incident: Annotated[tuple[str, ...], Parameter(name="--incident", negative="")] = (),
    html: Annotated[Path | None, Parameter(name="--html")] = None,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Try policies on the past: every verdict that they would have given, side by side.

    Parameters
    ----------
    policies
        Policy files.
    model
        Whose past; the model that the policies name if left out.
    since
        From when predictions came: a moment, a day, or how long ago, such as 30d.
    until
        Until before when they came, likewise.
    incident
        A span in which something was wrong, such as 2013-06-01..2013-06-20; may be given again.
    html
        Write the policies side by side as charts into this file, too.
    state
        The state directory.
    json
        Answer as JSON.
    """
    candidates = [Candidate(name=file.name, policy=policy_in(file)) for file in policies]
    name = model_of(candidates, model)
    question = Question(model=name, since=since, until=until, incidents=incident)
    with count_bar("replaying", quiet=json, unit="predictions") as more:
        found = tried(home(state), candidates, question, tell=more)
    if html is not None:
        write_page(html, render(found, sides(home(state), found, candidates)), option="--html")
    answer = plain(found)
    if json:
        print_json(answer)
        return
    screen = console()
    for line in lines(answer, width=screen.width):
        show(screen, line)


def policy_in(file: Path) -> Policy:
    """The policy that a file holds."""
    return read_policy(text_of(file), source=file.name)


def model_of(candidates: list[Candidate], model: str | None) -> str:
    """Whose past is asked about.

    Raises:
        InputError: There is no policy, or they name several models and none is chosen.
    """
    if not candidates:
        raise InputError("name one or more policy files", field="policies")
    if model is not None:
        return model
    names = sorted({candidate.policy.model for candidate in candidates})
    if len(names) > 1:
        raise InputError(
            f"the policies are of several models ({', '.join(names)}); choose one with --model", field="model"
        )
    return names[0]
