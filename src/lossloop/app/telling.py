"""How an experiment and a holdout stand, as plain values: the same for the terminal and HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.act.experiment import Experiment, rest
from lossloop.app.holdouts import HeldOut
from lossloop.app.releases import part_of_arm
from lossloop.core.clock import format_duration, format_time
from lossloop.core.records import Verdict


def told_experiment(experiment: Experiment | None) -> dict[str, Any] | None:
    """An experiment with what was said of each arm, the best as it looks now, and the promise on one arm."""
    if experiment is None:
        return None
    best, winner = experiment.best, experiment.winner
    return {
        "id": experiment.id, "course": str(experiment.course), "champion": experiment.champion,
        "champion_share": rest(experiment.arms), "held_out": experiment.held_out,
        "started": format_time(experiment.started), "since": format_time(experiment.since),
        "ends": format_time(experiment.started + experiment.plan.decide_within),
        "plan": {
            **msgspec.to_builtins(experiment.plan),
            "decide_within": format_duration(experiment.plan.decide_within),
        },
        "promise": part_of_arm(experiment.plan, len(experiment.arms)).promise.words,
        "best": None if best is None else best.version,
        "winner": None if winner is None else winner.version,
        "arms": [
            {"version": arm.version, "share": arm.share, "closed": arm.closed, "certified": arm.certified,
             "seen": arm.seen, "verdict": _told(arm.verdict)}
            for arm in experiment.arms
        ],
    }  # fmt: skip


def told_holdout(run: HeldOut | None) -> dict[str, Any] | None:
    """A holdout's present period, and what all others lose beside the units held out."""
    if run is None:
        return None
    return {
        "version": run.holdout.version, "share": run.holdout.share, "number": run.number,
        "since": format_time(run.since), "until": format_time(run.since + run.holdout.period),
        "held": run.held, "others": run.others, "worse": _told(run.worse), "better": _told(run.better),
    }  # fmt: skip


def _told(verdict: Verdict | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = msgspec.to_builtins(verdict)
    return found
