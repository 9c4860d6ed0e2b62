"""How an experiment and a holdout stand, as lines of `lossloop status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossloop.app.holdouts import only_words

_ENDED = {"promoted": "ended with the promotion of", "stopped": "was stopped"}


def arms_lines(found: dict[str, Any]) -> Iterator[str]:
    """The experiment that runs, or how the last one ended, and who is held out."""
    if (experiment := found["experiment"]) is not None:
        yield from _experiment(experiment)
    if (holdout := found["holdout"]) is not None:
        yield _holdout(holdout)
    if only := (found["traffic"] or {}).get("only"):
        yield f"drawn: rows {only_words(only)}; the champion answers all others, which are not compared"


def _experiment(experiment: dict[str, Any]) -> Iterator[str]:
    if experiment["course"] != "running":
        won = f" version {experiment['winner']}" if experiment["course"] == "promoted" else ""
        yield f"the last experiment {_ENDED[experiment['course']]}{won} at {experiment['since']}"
        return
    yield (
        f"experiment until {experiment['ends']}, champion at {_percent(experiment['champion_share'])}; "
        f"each arm is judged with {experiment['promise']}"
    )
    for arm in experiment["arms"]:
        stands = f"{_stands(arm)}{_best(experiment, arm)}"
        yield f"  version {arm['version']} at {_percent(arm['share'])}: {stands}"


def _best(experiment: dict[str, Any], arm: dict[str, Any]) -> str:
    return "; the best so far" if arm["version"] == experiment["best"] else ""


def _stands(arm: dict[str, Any]) -> str:
    words = _difference(arm["verdict"], "nothing was judged yet")
    return (
        f"{words}{'; shown to be better' if arm['certified'] else ''}{'; given up' if arm['closed'] else ''}"
    )


def _holdout(holdout: dict[str, Any]) -> str:
    words = _difference(holdout["worse"], "nothing was judged yet")
    kinds = {"worse": holdout["worse"], "better": holdout["better"]}
    shown = [name for name, verdict in kinds.items() if verdict and verdict["kind"] in ("alarm", "better")]
    return (
        f"holdout: version {holdout['version']} for {_percent(holdout['share'])} of the units "
        f"until {holdout['until']}; "
        f"all others beside it: {words}{f'; shown to be {shown[0]}' if shown else ''} "
        f"({holdout['held']:,} and {holdout['others']:,} units)"
    )


def _difference(verdict: dict[str, Any] | None, nothing: str) -> str:
    effect = None if verdict is None else verdict.get("effect")
    if verdict is None:
        return nothing
    if effect is None:
        return "too few outcomes for an interval"
    low, high, level = effect["low"], effect["high"], effect.get("level", 0.95)
    return f"loss {effect['estimate']:+.4g} ({low:+.4g} to {high:+.4g} at {level:.0%})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
