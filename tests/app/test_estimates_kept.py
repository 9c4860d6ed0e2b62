"""Estimates of every kind of task, and that what was judged is found again however the ledger is folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.act.policy import Policy, read_policy
from lossloop.app.books import Point
from lossloop.app.charts import read_history, watch_charts
from lossloop.app.commands import Promote
from lossloop.app.judging import Lens
from lossloop.app.labels import label_delay_at, wanted_at
from lossloop.app.rebuilding import rebuild
from lossloop.app.watches import judge_of, kind_of, of_arrivals, of_outcomes
from lossloop.app.watches.estimates import AuditedKind, EstimateKind, estimated
from lossloop.app.watches.seasons import limits_of
from lossloop.core.errors import InputError
from lossloop.core.estimates import Estimate
from lossloop.judges import Audited, Estimated, calibration, direct
from lossloop.ledger.files.sealing import seal
from lossloop.registry import Manifest, Reference, Version
from tests.app.desk import CALM, DAY, MODEL, Desk, happened, policy_text
from tests.app.test_estimates import JANUARY, RICH

WATCHES: dict[str, Any] = {
    "expected": {"kind": "estimate", "tolerance": 0.02, "promise": "1 per 200 blocks"},
    "arriving": {"kind": "estimate", "limit": 0.2, "promise": "1 per 5000 outcomes"},
    "audited": {"kind": "estimate", "limit": 0.2, "audit": "40%", "promise": "1 per 5000 outcomes"},
    "by block": {"kind": "estimate", "limit": 0.2, "audit": "20%", "promise": "5% ever"},
    "monthly": {"kind": "seasonal", "season": "month", "limit": 0.2, "promise": "1 per 200 blocks"},
    "skill": {"kind": "baseline", "tolerance": 0.0, "promise": "1 per 5000 outcomes"},
}


def lens(**changes: Any) -> Lens:
    return Lens(policy=read_policy(policy_text(**changes)))


def champion(reference: Reference | None) -> Version:
    manifest = Manifest(runtime="external", reference=reference)
    return Version(model=MODEL, number=1, digest=manifest.digest, manifest=manifest, registered_at=0)


def watching(path: Path) -> Desk:
    desk = Desk.at(path / "s")
    desk.tick(0)
    desk.policy()
    desk.register("version 1", RICH)
    desk.obey(Promote(model=MODEL, version=1))
    assert desk.policy(watches=WATCHES).ok
    return desk


def lived(desk: Desk, days: int = 6) -> Desk:
    """Days of a few predictions, some of whose outcomes come late, wrong at first, or never."""
    rng = np.random.default_rng(3)
    for day in range(days):
        ids = desk.predict(day * DAY + 8, rng.uniform(0.0, 0.5, 12).tolist())
        more = desk.predict(day * DAY + 9, rng.uniform(0.0, 0.9, 5).tolist(), units=["u"] * 5)
        desk.know(day * DAY + 10, [*ids[:8], *more[:3]], float(day % 2))
        desk.know(day * DAY + 11, ids[2:3], 1.0)
        desk.know(day * DAY + 23, ids[8:10], 1.0)
        desk.tick(day * DAY + DAY + 7)
    return desk


def points(desk: Desk) -> list[Point]:
    return [point for name in WATCHES for point in desk.points(name)]


# However the ledger is folded.


def test_all_of_them_judge_and_a_rebuild_finds_the_same_points(tmp_path: Path) -> None:
    desk = lived(watching(tmp_path))
    before = points(desk)
    assert {point.watch for point in before} == set(WATCHES)
    assert len({point.kind for point in before}) >= 1
    rebuild(desk.home, accept=True)
    assert points(desk) == before


def test_sealed_segments_are_folded_to_the_same_points(tmp_path: Path) -> None:
    desk = lived(watching(tmp_path))
    before = points(desk)
    seal(desk.home.segments.directory)
    rebuild(desk.home, accept=True)
    assert points(desk) == before


def test_the_same_facts_sent_twice_change_nothing(tmp_path: Path) -> None:
    once, twice = watching(tmp_path / "a"), watching(tmp_path / "b")
    for desk, times in ((once, 1), (twice, 2)):
        ids = desk.ids(10)
        for _ in range(times):
            desk.sent -= 10
            desk.predict(8, [0.2] * 10)
        for _ in range(times):
            desk.send(happened(9, ids))
        desk.tick(DAY + 7)
    assert points(once) == points(twice)


def test_an_audit_is_judged_by_what_was_known_at_the_judging_age(tmp_path: Path) -> None:
    """A correction that comes later, or a label that does, is no evidence."""
    found = {}
    for name, late in (("plain", False), ("late", True)):
        desk = watching(tmp_path / name)
        ids = desk.predict(8, [0.2] * 40)
        desk.know(9, ids[:30])
        if late:
            desk.know(8 + 6.5, ids, 1.0)  # the others, and all of them corrected
        desk.tick(DAY + 7)
        found[name] = [
            (point.watch, point.mean, point.evidence)
            for point in points(desk)
            if point.watch in ("audited", "by block")
        ]
    assert found["plain"]
    assert found["late"] == found["plain"]


def test_a_champion_without_the_reference_is_refused_while_such_watches_are_there(tmp_path: Path) -> None:
    desk = watching(tmp_path)
    desk.register("version 2", CALM)
    with pytest.raises(InputError, match="version"):
        _refused(desk.obey(Promote(model=MODEL, version=2)))


def _refused(result: Any) -> None:
    if not result.ok:
        raise InputError(f"version: {result.message}")


# Which labels are wanted.


def test_wanted_are_found_across_segments_sealed_or_not(tmp_path: Path) -> None:
    desk = watching(tmp_path)
    sent = []
    for hour in range(8, 13):  # every batch is a segment of its own
        sent += desk.predict(hour, [0.1] * 30)
        if hour == 10:
            seal(desk.home.segments.directory)
    wanted = [each["id"] for each in wanted_at(desk.home, MODEL)["wanted"]]
    assert 20 < len(wanted) < 100
    assert wanted == [id for id in sent if id in set(wanted)], "the oldest first"
    seal(desk.home.segments.directory)
    assert [each["id"] for each in wanted_at(desk.home, MODEL)["wanted"]] == wanted


def test_wanted_of_two_models_do_not_mix(tmp_path: Path) -> None:
    desk = watching(tmp_path)
    desk.policy(model="other")
    desk.predict(8, [0.1] * 30, model="other")
    mine = desk.predict(8.5, [0.1] * 30)
    desk.predict(9, [0.1] * 30, model="other")
    wanted = [each["id"] for each in wanted_at(desk.home, MODEL)["wanted"]]
    assert wanted
    assert set(wanted) <= set(mine)


def test_a_challenger_is_not_audited(tmp_path: Path) -> None:
    desk = watching(tmp_path)
    desk.predict(8, [0.1] * 30, version=2, role="challenger", propensity=0.5)
    assert wanted_at(desk.home, MODEL)["wanted"] == []


def test_before_any_prediction_nothing_is_wanted(tmp_path: Path) -> None:
    found = wanted_at(watching(tmp_path).home, MODEL)
    assert (found["wanted"], found["waiting"], found["share"]) == ([], 0, 0.4)


def test_the_delay_of_labels_warns_of_the_tolerances_of_losses_only(tmp_path: Path) -> None:
    desk = watching(tmp_path)
    desk.predict(1, [0.1] * 40)
    desk.tick(12)
    (warning,) = label_delay_at(desk.home, MODEL)["judged"]["warnings"]
    assert warning.startswith("watch skill: 100% without a label"), "the tolerance of an estimate is another"


# Every kind of task.


def classes(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet((1.0, 2.0, 1.0), rows)
    return (rng.random(rows)[:, None] > shares.cumsum(axis=1)).sum(axis=1).astype(np.float64), shares


def test_classes_are_each_tried_as_the_true_one() -> None:
    labels, shares = classes(5_000, 0)
    fresh_labels, fresh = classes(5_000, 1)
    view = lens(task="multiclass", loss="brier_multiclass")
    found = estimated(view, calibration(labels, shares, most=2.0), fresh)
    assert found.mean() == pytest.approx(view.scores(fresh_labels, fresh).mean(), rel=0.05)


def test_predictions_with_other_classes_have_no_estimate() -> None:
    labels, shares = classes(500, 0)
    view = lens(task="multiclass", loss="brier_multiclass")
    estimate = calibration(labels, shares, most=2.0)
    mixed = np.array([[0.2, 0.3, 0.5, np.nan], [0.5, 0.5, np.nan, np.nan], [0.1, 0.2, 0.3, 0.4]])
    assert np.isnan(estimated(view, estimate, mixed)).tolist() == [False, True, True]
    assert np.isnan(estimated(view, estimate, mixed[1:2, :2])).all()


def test_numbers_have_the_loss_that_the_reference_had_around_them() -> None:
    rng = np.random.default_rng(2)
    pred = rng.uniform(0.0, 10.0, 4_000)
    estimate = direct(np.abs(rng.normal(0.0, 1.0 + pred)), pred)
    view = lens(task="regression", loss="absolute")
    found = estimated(view, estimate, np.array([1.0, 9.0, np.nan]))
    assert found[0] == pytest.approx(2.0 * 0.798, rel=0.25)
    assert found[1] == pytest.approx(10.0 * 0.798, rel=0.25)
    assert np.isnan(found[2])
    assert np.isnan(estimated(view, estimate, np.ones((2, 3)))).all(), "a list is no number"


@pytest.mark.parametrize("loss", ["brier", "log_loss(cap=5)", "warning_cost(missed=20, false_alarm=10)"])
def test_two_classes_under_any_loss(loss: str) -> None:
    rng = np.random.default_rng(4)
    chances = rng.random(6_000)
    labels = (rng.random(6_000) < chances).astype(np.float64)
    view = lens(loss=loss)
    estimate = calibration(labels, chances, most=view.bound)
    found = estimated(view, estimate, chances)
    assert found.mean() == pytest.approx(view.scores(labels, chances).mean(), rel=0.06)
    assert ((found >= view.floor) & (found <= view.bound)).all()


def test_an_unbounded_loss_can_be_estimated_and_audited() -> None:
    """An alarm needs no bound of the loss, and an estimate may be cut anywhere."""
    rng = np.random.default_rng(5)
    pred = rng.uniform(0.0, 1.0, 500)
    reference = msgspec.structs.replace(
        CALM, loss="squared", estimate=direct(np.square(rng.normal(0, 1, 500)), pred)
    )
    watch = {"kind": "estimate", "limit": 3.0, "audit": "10%", "promise": "5% ever"}
    view = lens(task="regression", loss="squared", watches={"w": watch})
    judge = judge_of(view, view.policy.watches["w"], champion(reference))
    assert isinstance(judge, Audited)
    losses = np.full(400, 1e60)
    _, verdict = judge.update(judge.start(), judge.audits(np.zeros(400), losses, np.arange(400) % 10 == 0))
    assert verdict.kind == "alarm"


# Which kind judges what.


def watch_of(policy: Policy, name: str = "w") -> Any:
    return policy.watches[name]


def test_an_estimate_is_judged_on_arrival_and_with_audits_at_the_judging_age() -> None:
    for audit, kind, judge in ((None, EstimateKind, Estimated), ("5%", AuditedKind, Audited)):
        keys = {"kind": "estimate", "tolerance": 0.02, "promise": "5% ever", "audit": audit}
        view = lens(watches={"w": {key: value for key, value in keys.items() if value is not None}})
        watch = watch_of(view.policy)
        assert isinstance(kind_of(watch), kind)
        assert (of_outcomes(watch) is None) is (audit is None)
        assert (of_arrivals(watch) is None) is (audit is not None)
        made = judge_of(view, watch, champion(RICH))
        assert isinstance(made, judge)
        # The reference has 8 blocks of .1 each: their t-bound is .1.
        assert made.limit == pytest.approx(0.12)


@pytest.mark.parametrize("name", WATCHES)
def test_each_says_what_it_cannot_see_and_keeps_its_promise_in_words(name: str) -> None:
    view = lens(watches=WATCHES)
    watch = watch_of(view.policy, name)
    assert len(kind_of(watch).cannot_see) > 20
    judge = judge_of(view, watch, champion(RICH))
    assert judge.start() is not None
    assert watch.promise in WATCHES[name]["promise"]


def test_a_learned_limit_is_the_limit_times_the_shape_of_the_season() -> None:
    view = lens(watches=WATCHES)
    limits = limits_of(view, watch_of(view.policy, "monthly"), champion(RICH))
    assert limits.tolist() == pytest.approx([0.2 * mean / RICH.mean for mean in JANUARY])


def test_an_estimate_of_another_kind_than_the_predictions_is_an_honest_nothing() -> None:
    """A reference for three classes, and answers for two: no estimate, and never a pass."""
    three = Estimate(by="calibrated", knots=((0.0, 1.0),) * 3, values=((0.0, 1.0),) * 3, most=1.0)
    view = lens(watches={"w": WATCHES["expected"]})
    with pytest.raises(InputError, match="3 maps, the predictions need 1"):
        estimated(view, three, np.array([0.5]))


def test_estimates_are_drawn_with_their_limit_and_all_with_their_evidence(tmp_path: Path) -> None:
    desk = lived(watching(tmp_path), days=4)
    with desk.books() as books:
        charts = {chart.title: chart for chart in watch_charts(read_history(books, MODEL))}
    for name in WATCHES:
        assert f"Watch '{name}' on version 1" in charts
    for name, limit in (("expected", 0.12), ("audited", 0.2)):
        assert charts[f"Watch '{name}' on version 1: mean loss"].data["limits"][0][2] == pytest.approx(limit)
