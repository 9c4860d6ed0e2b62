"""Checks over ledgers with a history: imported rows, profiles, thresholds, and what is sliced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.act.checks import Check, Finding, Status
from lossloop.act.policy import Policy
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.versions import Question, Report, check_version
from lossloop.app.versions.recent import read_recent
from lossloop.core.thresholds import Thresholds
from lossloop.judges import profile_of
from lossloop.ledger.facts import predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.registry import Manifest
from tests.app.desk import MODEL, ROLLOUT, Desk, asked, happened, moment
from tests.app.server import tiny_manifest, tiny_model

CUTS = Thresholds(actions=("pass", "block"), least=(0.5,))
ROWS = 200


def inputs(shift: float = 0.0, rows: int = ROWS) -> list[dict[str, Any]]:
    """Rows of x, spread evenly about a centre."""
    return [
        {"x": float(x), "y": 1.0, "colour": ("red", "blue")[row % 2]}
        for row, x in enumerate(np.linspace(-2.0 + shift, 2.0 + shift, rows))
    ]


def made(path: Path, *manifests: Manifest, biases: tuple[float, ...] = (0.0, 0.0), **policy: Any) -> Desk:
    """Two versions, the first of them champion, over some traffic."""
    desk = Desk.at(path / "s")
    desk.policy(**{"rollout": ROLLOUT, **policy})
    for manifest, bias in zip(manifests, biases, strict=True):
        operate.register(desk.home, MODEL, manifest, tiny_model(bias))
    desk.obey(Promote(model=MODEL, version=1, force=True, reason="the first"))
    return desk


def sent(desk: Desk, hour: float, rows: list[dict[str, Any]], **given: Any) -> list[str]:
    ids = desk.ids(len(rows))
    desk.send(asked(hour, [0.25] * len(rows), ids, features=rows, **given))
    return ids


def looked(desk: Desk, version: int = 2) -> Report:
    return check_version(desk.home, Question(model=MODEL, version=version, seconds=0.01))


def found(report: Report, check: Check) -> Finding:
    return next(each.finding for each in report.shown if each.finding.check is check)


def profiled(notes: str) -> Manifest:
    draw = np.random.default_rng(7)
    profile = profile_of(
        {"x": draw.uniform(-2, 2, 4_000), "colour": draw.choice(["red", "blue"], 4_000)},
        blocks=np.arange(4_000) // 200,
        joint=False,
    )
    return msgspec.structs.replace(tiny_manifest(notes), profile=profile)


def test_skew_of_what_is_sent_against_a_profile_of_training(tmp_path: Path) -> None:
    desk = made(tmp_path, profiled("one"), profiled("two"), check={"skew_at_most": "20%"})
    sent(desk, 1, inputs(rows=2_000))
    assert found(looked(desk), Check.SKEW).status is Status.PASSED
    sent(desk, 2, inputs(shift=3.0, rows=2_000))
    report = check_version(
        desk.home, Question(model=MODEL, version=2, seconds=0.01, policy=_other(desk, rows=2_000))
    )
    skew = found(report, Check.SKEW)
    assert skew.status is Status.FAILED
    assert skew.words.startswith("x lie further than 0.2 from the training rows")
    assert report.objections[0].startswith("skew: x lie")


def _other(desk: Desk, rows: int) -> Policy:
    """The policy in force with fewer recent rows."""
    with desk.books() as books:
        policy = books.policy(MODEL)
    assert policy.check is not None
    return msgspec.structs.replace(policy, check=msgspec.structs.replace(policy.check, rows=rows))


def test_a_loss_of_actions_sees_the_cut_offs_of_each(tmp_path: Path) -> None:
    costs = "action_cost(costs=((0, 1), (4, 0)))"
    strict = Thresholds(actions=("pass", "block"), least=(0.2,))
    one, two = (
        msgspec.structs.replace(tiny_manifest(note), thresholds=cuts)
        for note, cuts in (("one", CUTS), ("two", strict))
    )
    desk = made(tmp_path, one, two, loss=costs, check={"flips_at_most": "10%"})
    ids = sent(desk, 1, inputs())
    desk.know(2, ids, 0.0)
    report = looked(desk)
    x = np.linspace(-2.0, 2.0, ROWS)
    p = 1.0 / (1.0 + np.exp(-x))
    flips = int(np.sum((p >= 0.2) & (p < 0.5)))
    behaviour, outcomes = found(report, Check.BEHAVIOUR), found(report, Check.OUTCOMES)
    assert behaviour.figures["flips"] == flips
    assert behaviour.status is Status.FAILED
    assert outcomes.figures["difference"] == pytest.approx(flips / ROWS)
    assert found(report, Check.LOSS).status is Status.PASSED


def test_rows_that_were_imported_serve_where_nothing_came_yet(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s", clock="receipt")
    desk.policy(rollout=ROLLOUT)
    operate.register(desk.home, MODEL, tiny_manifest("one"), tiny_model())
    desk.obey(Promote(model=MODEL, version=1))
    rows = inputs(rows=30)
    batch = predictions(
        {
            "id": [f"old{row}" for row in range(30)], "version": [1] * 30, "time": [moment(1)] * 30,
            "unit": [None] * 30, "role": ["champion"] * 30, "propensity": [1.0] * 30, "y_pred": [0.5] * 30,
            "shadow_version": [None] * 30, "shadow_y_pred": [None] * 30,
            "content": [str(row).encode() for row in range(30)],
            "features": [msgspec.json.encode(row).decode() for row in rows],
        },
        model=MODEL,
    )  # fmt: skip
    brought = batch.replace_schema_metadata({**(batch.schema.metadata or {}), b"history": b"1"})
    desk.send(Frame(kind=Kind.PREDICTION, time=0, batch=brought))
    desk.send(happened(2, ["old0", "old29"], 1.0))
    state = desk.home.state()
    recent = read_recent(desk.home, state, MODEL, most=100)
    state.close()
    assert len(recent) == 30
    assert recent.features["x"].tolist() == [row["x"] for row in rows]
    assert np.flatnonzero(~np.isnan(recent.y_true)).tolist() == [0, 29]


def test_slices_where_answers_flip_are_shown_and_not_recorded(tmp_path: Path) -> None:
    desk = made(tmp_path, tiny_manifest("one"), tiny_manifest("two"), biases=(0.0, 2.0))
    sent(desk, 1, inputs())
    report = looked(desk)
    shown = next(each for each in report.shown if each.finding.check is Check.BEHAVIOUR)
    assert shown.finding.status is Status.REPORTED
    assert [detail.title for detail in shown.details] == ["Differences of answers", "Where they flip most"]
    assert all(" " not in name or "x" in name for name, *_ in shown.details[1].rows)
    assert "colour" not in shown.finding.words


def test_what_traffic_sends_beside_the_schema_breaks_a_version_without_it(tmp_path: Path) -> None:
    lean = Manifest(runtime="external", features=tiny_manifest().features[:1])
    desk = Desk.at(tmp_path / "s")
    desk.policy(rollout=ROLLOUT)
    operate.register(desk.home, MODEL, tiny_manifest("one"), tiny_model())
    operate.register(desk.home, MODEL, lean)
    desk.obey(Promote(model=MODEL, version=1))
    sent(desk, 1, inputs(rows=20))
    schema = found(looked(desk), Check.SCHEMA)
    assert schema.status is Status.FAILED
    assert "y is sent, and not known" in schema.words
    assert "colour is sent, and not known" in schema.words


def test_a_ledger_that_nobody_folded_yet_is_read_as_far_as_it_was(tmp_path: Path) -> None:
    """What came since the last fold is not among the rows; nothing breaks on it."""
    desk = made(tmp_path, tiny_manifest("one"), tiny_manifest("two"))
    sent(desk, 1, inputs(rows=40))
    writer = desk.home.log.writer()
    writer.append([asked(2, [0.25] * 3, desk.ids(3), features=inputs(rows=3))])
    writer.close()
    report = looked(desk)
    assert report.checked.rows == 40
    assert not report.objections
