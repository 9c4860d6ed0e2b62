"""Every reader of losses reads what was done, once a policy's loss is of that: watches, figures, replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.act.policy import read_policy
from lossloop.app import operate
from lossloop.app.backtest import Candidate, backtest
from lossloop.app.backtest import Question as Past
from lossloop.app.commands import Promote
from lossloop.app.gates import check_actions, check_rollout, scores_of
from lossloop.app.judging import Lens, actions_of
from lossloop.app.planning import plan
from lossloop.app.reading import prediction, status
from lossloop.app.rebuilding import rebuild
from lossloop.core.errors import Conflict, InputError
from lossloop.core.thresholds import Thresholds
from lossloop.judges import calibration
from lossloop.ledger.joined.keys import Keys
from lossloop.registry import Manifest, Reference, Version
from tests.app.desk import DAY, MODEL, Desk, asked, happened, policy_text, ticked

COSTS = ((0.0, 3.0, 10.0), (40.0, 3.0, 0.0))
LOSS = "action_cost(costs=((0, 3, 10), (40, 3, 0)))"
CUT = Thresholds(actions=("pass", "review", "block"), least=(0.2, 0.7))
OTHER = Thresholds(actions=("pass", "review", "block"), least=(0.05, 0.5))
DAYS, ROWS = 10, 30
CALM = np.random.default_rng(5).random(1500)
REFERENCE = Reference(
    loss=LOSS, mean=6.0, block="1d", block_means=(5.0, 6.0, 7.0, 6.0, 5.5, 6.5, 6.0, 6.0), rows=240,
    design_effect=1.0, row_upper=7.0, baseline=0.5, seasons={"weekday": (6.0,) * 7},
    estimate=calibration((np.random.default_rng(6).random(1500) < CALM).astype(np.float64), CALM, most=40.0),
)  # fmt: skip
BLOCKS = "1 per 3650 blocks"
WATCHES: dict[str, dict[str, Any]] = {
    "guardrail": {"kind": "guardrail", "limit": 20.0, "promise": BLOCKS},
    "rows": {"kind": "guardrail", "limit": 20.0, "promise": "1 per 100,000 outcomes"},
    "regression": {"kind": "regression", "tolerance": 5.0, "promise": BLOCKS},
    "seasonal": {"kind": "seasonal", "season": "weekday", "limit": 20.0, "promise": BLOCKS},
    "slices": {"kind": "slices", "limit": 20.0, "promise": "5% false among alarms"},
    "baseline": {"kind": "baseline", "tolerance": 3.0, "promise": "5% ever"},
    "estimate": {"kind": "estimate", "limit": 20.0, "promise": BLOCKS},
}


def scores_and_labels() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    draw = np.random.default_rng(3)
    scores = draw.random((DAYS, ROWS))
    return scores, draw.random((DAYS, ROWS)) < scores


SCORES, LABELS = scores_and_labels()
DONE = (SCORES >= 0.2).astype(int) + (SCORES >= 0.7)
SPENT = np.where(LABELS, np.array(COSTS[1])[DONE], np.array(COSTS[0])[DONE])
"""What was done cost this much, counted without the product's code."""


def external(cut: Thresholds | None = CUT, **given: Any) -> Manifest:
    return Manifest(runtime="external", thresholds=cut, reference=REFERENCE, **given)


def days(desk: Desk, first: int, last: int) -> None:
    for day in range(first, last):
        ids = [f"d{day}r{row}" for row in range(ROWS)]
        features = [{"place": "north" if row % 2 else "south"} for row in range(ROWS)]
        desk.send(asked(day * DAY + 8, (SCORES[day] ** 2).tolist(), ids, features=features))
        for label in (False, True):
            mine = [id for id, one in zip(ids, LABELS[day].tolist(), strict=True) if one == label]
            desk.send(happened(day * DAY + 9, mine, float(label)))
        desk.send(ticked(day * DAY + DAY + 7))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Ten days under a watch of every kind that looks at losses."""
    made = Desk.at(tmp_path_factory.mktemp("done") / "s")
    made.send(ticked(0))
    made.policy(loss=LOSS, slices=["place"])
    operate.register(made.home, MODEL, external())
    made.obey(Promote(model=MODEL, version=1))
    made.policy(loss=LOSS, slices=["place"], watches=WATCHES)
    days(made, 0, DAYS)
    return made


# Watches.


@pytest.mark.parametrize("name", ["guardrail", "regression", "seasonal", "slices"])
def test_a_watch_of_blocks_judges_what_each_day_cost(desk: Desk, name: str) -> None:
    found = [point.mean for point in desk.points(name)]
    assert found == pytest.approx(SPENT.mean(axis=1).tolist())


def test_a_watch_of_rows_judges_what_each_row_cost(desk: Desk) -> None:
    points = desk.points("rows")
    assert sum(point.rows for point in points) == DAYS * ROWS
    total = sum((point.mean or 0.0) * point.rows for point in points)
    assert total == pytest.approx(SPENT.sum())


def test_a_baseline_is_cut_as_its_version_cuts(desk: Desk) -> None:
    """One answer of .5 for all: everything is reviewed, at 3 a row."""
    found = [point.mean for point in desk.points("baseline")]
    assert found == pytest.approx((SPENT - 3.0).mean(axis=1).tolist())


def test_an_estimate_expects_what_will_be_done_to_cost(desk: Desk) -> None:
    points = desk.points("estimate")
    assert points
    expected = np.where(DONE == 0, SCORES * 40.0, np.where(DONE == 1, 3.0, (1.0 - SCORES) * 10.0)).mean()
    found = np.average([point.mean or 0.0 for point in points], weights=[point.rows for point in points])
    assert found == pytest.approx(expected, rel=0.15), "calibration is learned from 1,500 rows"


def test_no_watch_errs_and_none_lacks_data(desk: Desk) -> None:
    with desk.books() as books:
        watches = status(books, MODEL)["watches"]
    assert {watch["kind"] for watch in watches.values()} <= {"healthy", "inconclusive", "better"}


# Figures.


def test_the_status_has_the_same_mean_and_says_the_thresholds(desk: Desk) -> None:
    with desk.books() as books:
        found = status(books, MODEL)
    (losses,) = found["losses"]
    assert losses["mean"] == pytest.approx(SPENT.mean())
    (version,) = found["versions"]
    assert msgspec.convert(version["thresholds"], Thresholds) == CUT


@pytest.mark.parametrize("row", range(6))
def test_a_trace_says_what_was_done(desk: Desk, row: int) -> None:
    state, log = desk.home.state(), desk.home.log.reader()
    try:
        keys = Keys(desk.home.settings().secret)
        found = prediction(state, log, keys, MODEL, f"d2r{row}")
    finally:
        log.close()
        state.close()
    assert found is not None
    assert found["action"] == CUT.actions[DONE[2, row]]
    assert found["y_pred"] == pytest.approx(SCORES[2, row])


# Replays.


def test_a_backtest_gives_the_verdicts_that_were_given(desk: Desk) -> None:
    text = policy_text(loss=LOSS, slices=["place"], watches=WATCHES)
    found = backtest(desk.home, [Candidate(name="p", policy=read_policy(text))], Past(model=MODEL))
    (outcome,) = found.outcomes
    for account in outcome.accounts:
        name = account.replayed.watch
        live = [(point.at, point.evidence) for point in desk.points(name)]
        assert [(point.at, point.evidence) for point in account.replayed.points] == live
    assert [day.mean for day in outcome.days] == pytest.approx(SPENT.mean(axis=1).tolist())


def test_a_plan_draws_from_what_was_paid(desk: Desk) -> None:
    policy = read_policy(policy_text(loss=LOSS, watches={"guardrail": WATCHES["guardrail"]}))
    found = plan(desk.home, Candidate(name="p", policy=policy), MODEL, futures=10)
    (watch,) = found.watches
    assert watch.mean == pytest.approx(SPENT.mean())
    assert found.unit == "USD"


def test_a_rebuild_comes_to_the_same(desk: Desk) -> None:
    before = desk.everything()
    rebuild(desk.home)
    assert desk.everything() == before


# What is told apart.


def test_each_version_is_cut_by_its_own_thresholds() -> None:
    scores = np.array([0.1, 0.1, 0.6, 0.6, 0.6, np.nan])
    version = np.array([1, 2, 1, 2, 3, 1])
    found = actions_of(((1, CUT), (2, OTHER)), scores, version)
    assert found[:5].tolist() == [0.0, 1.0, 1.0, 2.0, 0.6], "version 3 has none: its answer stands"
    assert np.isnan(found[5])


def test_a_loss_of_scores_is_not_touched() -> None:
    brier = Lens(policy=read_policy(policy_text()), thresholds=((1, CUT),))
    scores, labels, version = np.array([0.3, 0.8]), np.array([0.0, 1.0]), np.array([1, 1])
    assert not brier.of_actions
    assert brier.scores(labels, scores, version).tolist() == pytest.approx([0.09, 0.04])
    costs = Lens(policy=read_policy(policy_text(loss=LOSS)), thresholds=((1, CUT),))
    assert costs.scores(labels, scores, version).tolist() == [3.0, 0.0]
    assert np.isnan(costs.scores(labels, scores)).all(), "taken as they stand, these are no actions"
    assert costs.scores(labels, np.array([1.0, 0.0])).tolist() == [3.0, 40.0]


def version(number: int, manifest: Manifest) -> Version:
    return Version(model=MODEL, number=number, digest=manifest.digest, manifest=manifest, registered_at=0)


def test_scores_of_follows_the_lineage_and_nothing_else() -> None:
    assert scores_of(version(4, external())) == 4
    assert scores_of(version(4, external(lineage={"scores_of": 2}))) == 2
    assert scores_of(version(4, external(lineage={"scores_of": "2"}))) == 4


def test_actions_without_costs_are_refused() -> None:
    lens = Lens(policy=read_policy(policy_text(loss=LOSS)))
    check_actions(lens, version(1, external()))
    check_actions(lens, version(1, external(None)))
    two = Thresholds(actions=("pass", "block"), least=(0.5,))
    with pytest.raises(InputError, match="choose among 2 actions, and action_cost has costs of 3"):
        check_actions(lens, version(1, external(two)))
    check_actions(Lens(policy=read_policy(policy_text())), version(1, external(two)))


def test_the_same_artifact_under_a_loss_that_sees_no_actions_is_refused(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=1)
    onnx = msgspec.structs.replace(external(), runtime="onnx", artifact="ab" * 32)
    with desk.books() as books:
        check_rollout(books, version(2, external()))
        check_rollout(books, version(2, onnx))
        stranger = version(2, msgspec.structs.replace(external(), lineage={"scores_of": 1}))
        with pytest.raises(Conflict, match="only in its thresholds"):
            check_rollout(books, stranger)


def test_manifests_without_thresholds_keep_their_digest() -> None:
    """Versions that were registered before there were thresholds stay what they are."""
    plain = external(None)
    assert b"thresholds" not in msgspec.json.encode(plain)
    assert plain.digest != external().digest
    assert external(OTHER).digest != external().digest
