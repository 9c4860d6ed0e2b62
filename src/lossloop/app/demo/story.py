"""The demo's cast and stage: what is trained, and what is set up for it.

It runs as a process of its own, so that the memory which training took is given back before the replay.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import pyarrow as pa
from pyarrow import feather

from lossloop.act.retrain import Trained
from lossloop.act.settings import Settings
from lossloop.app.commands import Promote
from lossloop.app.demo import flights
from lossloop.app.demo.replay import FLIGHTS, MODEL
from lossloop.app.demo.run import moments
from lossloop.app.demo.target import FIRST, LAST, make
from lossloop.app.demo.train import artifact
from lossloop.app.fold import Folding
from lossloop.app.home import Home, init
from lossloop.app.operate import obey, register, set_policy
from lossloop.core.clock import Micros
from lossloop.ledger.facts import tick
from lossloop.registry import Manifest

POLICY = resources.files("lossloop.app.demo").joinpath("policy.yaml").read_text()


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The two versions that people made; the third is the loop's own."""

    first: Trained
    second: Trained
    """Trained alike, but its artifact reads 1745 where training used 17."""


def train_cast(table: pa.Table) -> Cast:
    """Train version 1 on January and February; version 2 is the same without the cut of the hour."""
    winter = flights.between(table, FIRST, LAST)
    first = make(winter, loss="log_loss(cap=5)")
    return Cast(first=first, second=replace(first, artifact=artifact(winter, cut_hour=False)))


def set_stage(path: Path, cast: Cast, *, salt: str) -> Home:
    """A state directory with the policy and both versions; version 1 is the champion."""
    target = {"flights:train": "lossloop.app.demo.target:train"}
    home = init(path, Settings(retrain=target, notify={"oncall": "log"}, salt=salt, clock="event"))
    set_policy(home, POLICY, source="policy.yaml")
    for trained in (cast.first, cast.second):
        manifest = Manifest(
            runtime=trained.runtime,
            features=trained.features,
            reference=trained.reference,
            profile=trained.profile,
            lineage=trained.lineage,
        )
        register(home, MODEL, manifest, trained.artifact)
    _move_clock(home, moments()[0])
    obey(home, Promote(model=MODEL, version=1, reason="the first version goes live"))
    return home


def _move_clock(home: Home, moment: Micros) -> None:
    """Let a replay's clock stand at a moment before anything has happened in it."""
    folding = Folding(home)
    folding.append(tick(moment, now=moment))
    folding.drain()
    folding.close()


def main() -> None:
    """Train and set the stage in the directory that is named; the flights' file comes last."""
    path, salt = Path(sys.argv[1]), sys.argv[2]
    table = flights.load()
    home = set_stage(path, train_cast(table), salt=salt)
    draft = home.path / f".{FLIGHTS}"
    feather.write_feather(table, draft, compression="uncompressed")
    draft.rename(home.path / FLIGHTS)


if __name__ == "__main__":
    main()
