"""The demo's flights from March to July without its server: version 1 answers all, the fold judges them.

In the demo a canary took ten of these flights. All else is the same: its policy, its version, its outcomes,
and features in the log.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from lossloop.act.settings import Settings
from lossloop.app.commands import Promote
from lossloop.app.demo import flights
from lossloop.app.demo.compare import _predict
from lossloop.app.demo.replay import MODEL
from lossloop.app.demo.story import POLICY
from lossloop.app.demo.target import FIRST, LAST, make
from lossloop.app.fold import Folding
from lossloop.app.home import Home, init
from lossloop.app.operate import obey, register, set_policy
from lossloop.core.clock import DAY
from lossloop.ledger.facts import outcomes, predictions, tick
from lossloop.ledger.frames import Frame, Kind
from lossloop.registry import Manifest

BEGIN, END = date(2013, 3, 1), date(2013, 8, 1)
TARGET = {"flights:train": "lossloop.app.demo.target:train"}
WATCHED = """
  where: {kind: slices, tolerance: 0.02, promise: 5% false among alarms}
  inputs: {kind: drift, promise: 1 per 3650 blocks}
  answers: {kind: prediction_shift, promise: 1 per 3650 blocks}
  expected: {kind: estimate, tolerance: 0.02, promise: 1 per 3650 blocks}
  audited: {kind: estimate, tolerance: 0.02, audit: 5%, promise: 1 per 3650 blocks}
  skill: {kind: baseline, tolerance: 0, promise: 1 per 3650 blocks}
  weekly: {kind: seasonal, season: weekday, limit: 0.6, promise: 1 per 3650 blocks}
"""
"""Every other kind of watch, as a person would put it into the demo's policy."""


def fly(path: Path) -> Home:
    """A state directory as the demo's would be on 1 August, in mode observe."""
    table = flights.load()
    trained = make(flights.between(table, FIRST, LAST), loss="log_loss(cap=5)")
    home = init(path, Settings(clock="event", salt="flights", notify={"oncall": "log"}, retrain=TARGET))
    set_policy(home, POLICY.replace("mode: act", "mode: observe"))
    manifest = Manifest(
        runtime=trained.runtime, features=trained.features, reference=trained.reference,
        profile=trained.profile, lineage=trained.lineage,
    )  # fmt: skip
    register(home, MODEL, manifest, trained.artifact)
    _fold(home, [tick(flights.midnight(BEGIN), now=0)])
    obey(home, Promote(model=MODEL, version=1, reason="the first version goes live"))
    season = flights.between(table, BEGIN, END - timedelta(days=1))
    answers = np.asarray(_predict(trained.artifact, season), dtype=np.float64)
    _fold(home, _facts(season, answers))
    return home


def _facts(season: pa.Table, answers: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[Frame]:
    """Half a day at a time: what had arrived by its beginning, then the flights that leave in it."""
    leave, known = season["time"].to_numpy(), season.filter(season["late"].is_valid()).sort_by("outcome_time")
    arrive, first = known["outcome_time"].to_numpy(), flights.midnight(BEGIN)
    moments = np.arange(first, flights.midnight(END) + DAY, DAY // 2)
    frames = []
    for start, end in pairwise(moments.tolist()):
        came = known.slice(*_between(arrive, start - DAY // 2, start))
        if len(came):
            times = came["outcome_time"].to_pylist()
            frames.append(
                _frame(
                    Kind.OUTCOME,
                    outcomes(came["id"].to_pylist(), came["late"].to_pylist(), times, model=MODEL),
                )
            )
        place, rows = _between(leave, start, end)
        if rows:
            frames.append(
                _frame(Kind.PREDICTION, _asked(season.slice(place, rows), answers[place : place + rows]))
            )
    return [*frames, tick(int(moments[-1]), now=0)]


def _asked(rows: pa.Table, answers: np.ndarray[tuple[int], np.dtype[np.float64]]) -> pa.RecordBatch:
    names, count = [feature.name for feature in flights.FEATURES], len(rows)
    ids = rows["id"].to_pylist()
    return predictions(
        {
            "id": ids, "version": [1] * count, "time": rows["time"].to_pylist(), "unit": ids,
            "role": ["champion"] * count, "propensity": [1.0] * count, "y_pred": answers.tolist(),
            "shadow_version": [None] * count, "shadow_y_pred": [None] * count,
            "content": [id.encode() for id in ids],
            "features": pa.StructArray.from_arrays([rows[name].combine_chunks() for name in names], names),
        },
        model=MODEL,
    )  # fmt: skip


def _between(times: np.ndarray[tuple[int], np.dtype[np.int64]], start: int, end: int) -> tuple[int, int]:
    """The first of sorted times from `start` on, and how many lie before `end`."""
    first, last = np.searchsorted(times, (start, end))
    return int(first), int(last - first)


def _frame(kind: Kind, batch: pa.RecordBatch) -> Frame:
    return Frame(kind=kind, time=0, batch=batch)


def _fold(home: Home, frames: list[Frame]) -> None:
    writer = home.log.writer()
    writer.append(frames)
    writer.close()
    folding = Folding(home)
    folding.drain()
    folding.close()
