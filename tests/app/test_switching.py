"""The loss that judges is switched: a fact, with evidence begun anew, and taken back by the same command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.policy import read_policy
from lossloop.app import operate
from lossloop.app.backtest import Candidate, Question, backtest
from lossloop.app.charts import read_history, watch_charts
from lossloop.app.cli import main
from lossloop.app.commands import Promote, Result, RollBack
from lossloop.app.eras import era
from lossloop.app.judging import Lens
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.app.references import version_under
from lossloop.app.rehearsing import rehearse
from lossloop.app.showing import beside, judging, shown
from lossloop.app.switching import SwitchLoss
from lossloop.core.errors import Conflict, LossloopError, PolicyError
from lossloop.core.records import Decision
from lossloop.losses import parse
from lossloop.registry import Reference, versions
from tests.app.desk import (
    CALM,
    DAY,
    MODEL,
    ROLLOUT,
    WATCH,
    Desk,
    asked,
    external,
    happened,
    policy_text,
    ticked,
)
from tests.app.server import Server
from tests.app.test_beside import COST, LOG
from tests.app.test_drift import ANSWERS
from tests.app.test_drift import version as drifting
from tests.app.test_estimates import CALIBRATION
from tests.app.test_forgetting import erase

DEAR = {"kind": "regression", "tolerance": 0.3, "promise": "1 per 20 blocks"}
OLD: dict[str, Any] = {"watches": {"worse": WATCH}, "on": {"worse": [{"notify": "log"}]}, "beside": [COST]}
NEW: dict[str, Any] = {**OLD, "watches": {"worse": DEAR}, "loss": COST, "beside": ["brier"]}
CALM_DAYS = 9


def lived(path: Path, days: int = CALM_DAYS, **policy: Any) -> Desk:
    """Calm days under the old loss, with the new one beside: a Brier loss of .1, which costs nothing."""
    desk = Desk.ready(path / "s", versions=2, **{**OLD, **policy})
    live(desk, 0, [0.1] * days)
    return desk


def live(desk: Desk, first: int, losses: Sequence[float], *, version: int = 1, units: Any = None) -> None:
    """Whole days, each judged in the morning after it; all in one go."""
    frames = []
    for day, loss in enumerate(losses, start=first):
        ids, start = desk.ids(4), day * DAY
        frames += [
            asked(start + 8, [loss] * 4, ids, version=version, units=units), happened(start + 9, ids),
            ticked(start + DAY + 7),
        ]  # fmt: skip
    desk.send(*frames)


def switch(desk: Desk, *, given: Any = None, **policy: Any) -> Result:
    command = rehearse(desk.home, policy_text(**{**NEW, **policy}), **(given or {}))
    return desk.obey(command)


def loss_of(desk: Desk) -> str:
    with desk.books() as books:
        return books.policy(MODEL).loss


def switches(desk: Desk) -> list[Decision]:
    return [each for each in desk.decisions() if each.action == "switch_loss"]


# Switched.


def test_who_when_and_why_is_a_fact_and_the_old_loss_runs_beside(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    told = switch(desk, given={"reason": "costs are what we pay", "by": "ann"})
    assert told.message == (
        f"{COST} judges m from now on, and brier runs beside it. Over 36 predictions from 2024-01-01 to "
        "2024-01-10 its watches would have alarmed never, those in force never. Watch worse begins anew, "
        f"with predictions made from now on. References under {COST} were measured on what was answered: "
        "m:1 0 over 9 blocks. costs are what we pay"
    )
    (decision,) = switches(desk)
    assert (decision.by, decision.status, decision.version) == ("ann", "done", 1)
    assert decision.reason == told.message
    with desk.books() as books:
        found = status(books, MODEL)
    assert found["loss"].startswith("warning_cost@")
    assert [each["loss"][:5] for each in found["beside"]] == ["brier"]
    (told_of,) = found["switches"]
    assert (told_of["from"], told_of["to"], told_of["by"]) == ("brier", COST, "ann")


def test_the_figures_change_places_and_go_on(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    with desk.books() as books:
        before = [shown(books.documents, MODEL), shown(books.documents, MODEL, beside(MODEL, COST))]
    switch(desk)
    with desk.books() as books:
        after = [shown(books.documents, MODEL, each) for each in (beside(MODEL, "brier"), judging(MODEL))]
        assert shown(books.documents, MODEL, beside(MODEL, COST)) == []
    assert after == before
    desk.day(CALM_DAYS, 0.9)
    with desk.books() as books:
        assert shown(books.documents, MODEL)[-1].losses.mean == 1.0
        assert shown(books.documents, MODEL, beside(MODEL, "brier"))[-1].losses.mean == pytest.approx(0.9)


def test_evidence_of_one_loss_is_none_of_the_other(tmp_path: Path) -> None:
    """A day that was answered before the switch is judged by neither, once it is due after it."""
    desk = lived(tmp_path)
    desk.know(CALM_DAYS * DAY + 9, desk.predict(CALM_DAYS * DAY + 8, [0.9] * 4))
    switch(desk)
    with desk.books() as books:
        assert books.watch(MODEL, "worse") is None, "it begins anew"
    desk.tick((CALM_DAYS + 1) * DAY + 7)
    assert [point.era for point in desk.points("worse")] == [0] * CALM_DAYS
    desk.day(CALM_DAYS + 1, 0.1)
    last = desk.points("worse")[-1]
    assert (last.era, last.rows, last.mean) == (1, 4, 0.0)
    with desk.books() as books:
        state = books.watch(MODEL, "worse")
        assert state is not None
        assert state.verdict is not None
        assert state.verdict.count == 1


def test_the_new_loss_alarms_by_its_own_limit(tmp_path: Path) -> None:
    """A Brier loss of .12 is no alarm at a tolerance of .02; it is a warning in vain, which costs 1."""
    desk = lived(tmp_path)
    switch(desk)
    live(desk, CALM_DAYS, [0.115] * 4)
    assert [each for each in desk.told() if each[0] == "notify"] == [("notify", "done")]


def test_the_same_command_takes_it_back(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    desk.day(CALM_DAYS, 0.2)
    with desk.books() as books:
        before = shown(books.documents, MODEL), shown(books.documents, MODEL, beside(MODEL, COST))
    switch(desk)
    switch(desk, **OLD, loss="brier")
    with desk.books() as books:
        assert (shown(books.documents, MODEL), shown(books.documents, MODEL, beside(MODEL, COST))) == before
        assert era(books.documents, MODEL).number == 2
        reference = version_under(books.documents, books.lens(MODEL), 1).manifest.reference
    assert reference is not None
    assert reference.loss == "brier", "the version's own, and none that was measured"
    assert reference.mean == 0.1
    assert [each.reason.split(" judges")[0] for each in switches(desk)] == [COST, "brier"]


def test_a_watch_that_asks_of_no_loss_goes_on(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.tick(0)
    guard = {"kind": "guardrail", "limit": 0.5, "promise": "1 per 20 blocks"}
    both: dict[str, Any] = {"watches": {"shift": ANSWERS, "worse": guard}}
    desk.policy(**both, beside=[COST])
    operate.register(desk.home, MODEL, drifting())
    desk.obey(Promote(model=MODEL, version=1))
    live(desk, 0, [0.1] * 8)
    with desk.books() as books:
        shift = books.watch(MODEL, "shift")
    told = switch(desk, **both, on={})
    assert ". Watch worse begins anew" in told.message
    with desk.books() as books:
        assert (books.watch(MODEL, "shift"), books.watch(MODEL, "worse")) == (shift, None)
        charts = [each.title for each in watch_charts(read_history(books, MODEL))]
    assert "Watch 'shift' on version 1" in charts


# Refused.


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"loss": "brier", "beside": [COST]}, "m is judged by brier already; to change its limits"),
        ({"loss": LOG, "beside": ["brier"]}, f"{LOG} does not run beside brier; let it first: write b"),
        ({"beside": []}, "the new policy must keep brier beside, or there is no way back; write b"),
        ({"block": "12h"}, "judged with its present block; give the model a new name to change its block"),
        ({"watches": {"worse": {**DEAR, "promise": "often"}}}, "watch 'worse': 'often' is not a promise"),
        ({"on": {"worse": [{"retrain": "nobody"}]}}, "retrain 'nobody' is not in settings.yaml"),
        ({"model": "other"}, "unknown model 'other'; there are: m"),
    ],
)  # fmt: skip
def test_a_switch_that_cannot_be_says_what_to_do_first(
    tmp_path: Path, policy: dict[str, Any], words: str
) -> None:
    desk = lived(tmp_path, days=1)
    with pytest.raises(LossloopError) as caught:
        switch(desk, given={"force": True}, **policy)
    assert words in str(caught.value)
    assert (loss_of(desk), switches(desk)) == ("brier", [])


def test_a_policy_with_another_loss_says_that_it_has_to_be_switched(tmp_path: Path) -> None:
    desk = lived(tmp_path, days=1)
    with pytest.raises(Conflict, match=r"let the new loss run beside it .* then: lossloop loss switch FILE"):
        desk.policy(**NEW)
    switch(desk, given={"force": True}, watches={}, on={})
    with pytest.raises(Conflict, match="lossloop loss switch FILE"):
        desk.policy(**OLD)
    desk.policy(**NEW | {"watches": {}, "on": {}})


def test_while_a_rollout_runs_no_loss_is_switched(tmp_path: Path) -> None:
    desk = lived(tmp_path, rollout=ROLLOUT)
    desk.rollout(2)
    with pytest.raises(Conflict, match="the rollout of version 2 is judged by brier; wait for its end"):
        switch(desk, rollout=ROLLOUT)
    desk.obey(RollBack(model=MODEL))
    assert switch(desk, rollout=ROLLOUT).ok


def test_what_speaks_against_it_is_overridden_by_force_and_told(tmp_path: Path) -> None:
    desk = lived(tmp_path, days=3)
    words = f"{COST} was computed of 3 blocks of outcomes only; wait for 8: they say how it varies"
    with pytest.raises(Conflict) as caught:
        switch(desk, watches={}, on={})
    assert str(caught.value) == f"{words}. To switch all the same: --force"
    told = switch(desk, given={"force": True}, watches={}, on={})
    assert f"In spite of this: {words}" in told.message


def test_a_loss_without_a_bound_where_there_was_one_is_spoken_against(tmp_path: Path) -> None:
    capped = "squared.clip(4)"
    bare: dict[str, Any] = {"task": "regression", "watches": {}, "on": {}}
    desk = lived(tmp_path, **bare, loss=capped, beside=["squared"])
    with pytest.raises(Conflict, match="neither a rollout nor an estimate can certify that all is well"):
        switch(desk, **bare, loss="squared", beside=[capped])
    assert switch(desk, given={"force": True}, **bare, loss="squared", beside=[capped]).ok
    assert switch(desk, **bare, loss=capped, beside=["squared"]).ok


def test_one_that_was_never_tried_on_the_past_is_refused(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    command = rehearse(desk.home, policy_text(**NEW))
    other = msgspec.structs.replace(command, text=policy_text(**NEW, cooldown="1d"))
    for untried in (msgspec.structs.replace(command, tried=None), other):
        with pytest.raises(Conflict, match="this policy was never tried on the past; see: lossloop backtest"):
            desk.obey(untried)
    assert desk.obey(command).ok


# References.


@pytest.mark.parametrize(
    ("named", "same"),
    [
        ("log_loss(cap=5)", True), ("log_loss(cap=5.0)", True), (parse("log_loss(cap=5)").version, True),
        (f"log_loss(cap=5)@{parse('log_loss(cap=5)').digest[:8]}", True), ("log_loss", False),
        (parse("log_loss").version, False), ("log_loss(cap=5)@000000", False),
        ("no loss at all", False), ("", False),
    ],
)  # fmt: skip
def test_a_reference_names_its_loss_by_text_or_by_version(named: str, same: bool) -> None:
    """A trainer writes either; what is neither is of another loss, and no reason to stop."""
    lens = Lens(policy=read_policy(policy_text(loss="log_loss(cap=5)")))
    assert lens.is_of(named) is same


def test_without_enough_of_the_past_the_error_says_what_is_needed(tmp_path: Path) -> None:
    desk = lived(tmp_path, days=3)
    with pytest.raises(PolicyError) as caught:
        switch(desk, given={"force": True})
    assert f"the reference of m:1 is of brier, the policy's loss {COST}" in str(caught.value)
    assert "register the version with a reference of this loss (beside: [...] in its manifest)" in str(
        caught.value
    )
    assert "or wait: it is measured once the version has answered 8 blocks that have outcomes" in str(
        caught.value
    )


def test_a_version_may_bring_a_reference_for_it(tmp_path: Path) -> None:
    dear = Reference(loss=COST, mean=0.5, block="1d", block_means=(0.5,) * 4, rows=9, design_effect=1.0)
    desk = lived(tmp_path, days=3)
    both = msgspec.structs.replace(external("both"), beside=(dear,))
    number = operate.register(desk.home, MODEL, both).version
    desk.obey(Promote(model=MODEL, version=number))
    told = switch(desk, given={"force": True})
    assert "were measured" not in told.message
    with desk.books() as books:
        assert version_under(books.documents, books.lens(MODEL), 3).manifest.reference == dear
        assert versions.find(books.documents, MODEL, 3).manifest.reference != dear


def test_a_champion_of_before_is_judged_again_after_a_rollback(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    desk.obey(Promote(model=MODEL, version=2))
    live(desk, CALM_DAYS, [0.2] * 9, version=2)
    told = switch(desk)
    assert "m:1 0 over 9 blocks, m:2 1 over 9 blocks" in told.message
    desk.obey(RollBack(model=MODEL))
    live(desk, CALM_DAYS + 9, [0.2] * 4)
    assert desk.told()[-1] == ("notify", "done"), "for version 1 a cost of 1 is a rise"


def test_the_past_that_counts_can_be_named(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    live(desk, CALM_DAYS, [0.9] * 4)
    command = rehearse(desk.home, policy_text(**NEW), since="2024-01-01", until="2024-01-10")
    assert command.references[0].reference.mean == 0.0
    assert command.tried is not None
    assert (command.tried.alarms, command.tried.alarms_in_force) == (0, 0)
    whole = rehearse(desk.home, policy_text(**NEW))
    assert whole.references[0].reference.mean == pytest.approx(4 / 13)
    assert whole.tried is not None
    assert whole.tried.alarms_in_force == 1


def test_a_reference_has_what_the_new_watches_ask_for(tmp_path: Path) -> None:
    """Slices, seasons, rows, a baseline and calibrated chances; each watch then judges."""
    per_row = "1 per 1000 outcomes"
    watches = {
        "where": {"kind": "slices", "tolerance": 0.3, "promise": "5% false among alarms"},
        "when": {"kind": "seasonal", "season": "weekday", "limit": 1.5, "promise": "1 per 20 blocks"},
        "rows": {"kind": "regression", "tolerance": 0.3, "promise": per_row},
        "skill": {"kind": "baseline", "tolerance": 0.5, "promise": "1 per 20 blocks"},
        "soon": {"kind": "estimate", "limit": 1.9, "promise": "1 per 20 blocks"},
    }
    desk = Desk.at(tmp_path / "s")
    desk.tick(0)
    desk.policy(beside=[COST], slices=["carrier"])
    rich = msgspec.structs.replace(CALM, baseline=0.3, estimate=CALIBRATION)
    desk.register("rich", rich)
    desk.obey(Promote(model=MODEL, version=1))
    features = [{"carrier": "AA" if number % 2 else "UA"} for number in range(6)]
    frames = []
    for day in range(14):
        ids = desk.ids(6)
        frames.append(asked(day * DAY + 8, [0.1, 0.4, 0.1, 0.2, 0.1, 0.1], ids, features=features))
        frames.append(happened(day * DAY + 9, ids))
    desk.send(*frames, ticked(15 * DAY))
    command = rehearse(desk.home, policy_text(**NEW, slices=["carrier"]))
    bare = command.references[0].reference
    assert (bare.seasons, bare.row_upper, bare.baseline) == ({}, None, 0.3)
    told = switch(desk, watches=watches, on={}, slices=["carrier"])
    assert told.ok
    with desk.books() as books:
        reference = version_under(books.documents, books.lens(MODEL), 1).manifest.reference
    assert reference is not None
    assert reference.seasons["weekday"] == pytest.approx((1 / 3,) * 7)
    assert reference.slices["carrier=AA"].mean == pytest.approx(2 / 3)
    assert reference.slices["carrier=UA"].mean == 0.0
    assert reference.row_upper is not None
    assert 1 / 3 < reference.row_upper < 1.0
    assert reference.estimate is not None
    assert reference.estimate.most == 2.0
    live(desk, 16, [0.1] * 2)
    with desk.books() as books:
        judged = {name: books.watch(MODEL, name) for name in watches}
    assert all(state is not None and state.verdict is not None for state in judged.values())


# On the past.


def test_both_are_tried_on_the_past_side_by_side(tmp_path: Path) -> None:
    """On days that measure its reference and on later ones; a change that only the new loss sees."""
    desk = lived(tmp_path)
    live(desk, CALM_DAYS, [0.115] * 5)
    with desk.books() as books:
        old = books.policy(MODEL)
    candidates = [
        Candidate(name="old", policy=old),
        Candidate(name="new", policy=read_policy(policy_text(**NEW))),
    ]
    found = backtest(desk.home, candidates, Question(model=MODEL, since="2024-01-09"))
    alarms = [[len(each.replayed.alarms) for each in outcome.accounts] for outcome in found.outcomes]
    assert alarms == [[0], [1]]
    assert found.outcomes[1].notes == (f"references under {COST} are what the versions lost before the span",)
    switch(desk)
    after = backtest(desk.home, [Candidate(name="new", policy=read_policy(policy_text(**NEW)))],
                     Question(model=MODEL))  # fmt: skip
    assert after.outcomes[0].in_force
    assert f"{COST} judges since 2024-01-15" in after.outcomes[0].notes[0]


# Killed, cut off, rebuilt.


def story(path: Path) -> Desk:
    """A switch there, days under the new loss, corrections of both eras, and a switch back."""
    desk = lived(path)
    first = desk.predict(CALM_DAYS * DAY + 1, [0.2, 0.05])
    switch(desk, given={"reason": "to try it"})
    live(desk, CALM_DAYS, [0.9] * 4)
    desk.know((CALM_DAYS + 5) * DAY, first, 1.0)
    desk.know((CALM_DAYS + 5) * DAY + 1, first)
    switch(desk, **OLD, loss="brier", given={"by": "bob"})
    desk.day(CALM_DAYS + 6, 0.1)
    return desk


def test_a_rebuild_repeats_nothing_and_gives_the_same_figures(tmp_path: Path) -> None:
    desk = story(tmp_path)
    before = desk.everything()
    found = rebuild(desk.home)
    assert found.agrees
    assert found.same == len(desk.decisions())
    assert desk.everything() == before


def test_what_was_measured_stays_also_when_its_rows_are_erased(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", **OLD)
    live(desk, 0, [0.1 + 0.05 * (day % 2) for day in range(CALM_DAYS)], units=["ann", "bob", "ann", "cid"])
    switch(desk)
    desk.day(CALM_DAYS, 0.15)
    with desk.books() as books:
        before = version_under(books.documents, books.lens(MODEL), 1), desk.points("worse")[-1]
    erase(desk, "ann")
    rebuild(desk.home, accept=True)
    with desk.books() as books:
        assert (version_under(books.documents, books.lens(MODEL), 1), desk.points("worse")[-1]) == before


CHILD = """
import os, signal, sys
from pathlib import Path
from lossloop.app.home import Home
from lossloop.app.operate import obey
from lossloop.app.rehearsing import rehearse
from lossloop.ledger.sqlite.state import State

puts, last, begun = State.put, int(sys.argv[3]), False

def put(self, kind, key, value):
    global last, begun
    begun = begun or kind == "reference"
    last -= begun
    if last < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    puts(self, kind, key, value)

State.put = put
home = Home(path=Path(sys.argv[1]))
obey(home, rehearse(home, Path(sys.argv[2]).read_text()))
"""


@pytest.mark.parametrize("after", [0, 25])
def test_killed_at_any_moment_it_is_switched_once_by_whoever_folds_next(tmp_path: Path, after: int) -> None:
    desk = lived(tmp_path)
    file = tmp_path / "new.yaml"
    file.write_text(policy_text(**NEW))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(desk.home.path), str(file), str(after)], check=False, env=os.environ
    )
    assert child.returncode == -signal.SIGKILL
    assert loss_of(desk) == "brier", "all of it or nothing"
    desk.fold()
    assert loss_of(desk) == COST
    assert len(switches(desk)) == 1
    with pytest.raises(Conflict, match="already; to change its limits"):
        switch(desk)
    desk.day(CALM_DAYS, 0.9)
    before = desk.everything()
    assert rebuild(desk.home).agrees
    assert desk.everything() == before


@settings(max_examples=4, deadline=None)
@given(
    days=st.lists(st.tuples(st.booleans(), st.sampled_from([0.05, 0.1, 0.15, 0.9])), min_size=1, max_size=5)
)
def test_however_often_it_is_switched_each_loss_is_what_it_would_be_alone(
    tmp_path_factory: pytest.TempPathFactory, days: list[tuple[bool, float]]
) -> None:
    """The sums of both losses do not know which of them judged when."""
    bare: dict[str, Any] = {"watches": {}, "on": {}}
    one = Desk.ready(tmp_path_factory.mktemp("s") / "one", **OLD | bare)
    other = Desk.ready(tmp_path_factory.mktemp("s") / "other", **OLD | bare)
    present, spare = OLD | bare, {**NEW, **bare}
    for day, (turn, loss) in enumerate(days):
        if turn:
            text = policy_text(**spare)
            with one.books() as books:
                assert books.policy(MODEL).loss != spare.get("loss", "brier")
            one.obey(SwitchLoss(model=MODEL, text=text, force=True))
            present, spare = spare, present
        for desk in (one, other):
            desk.send(asked(day * DAY + 1, [loss], [f"d{day}"]), happened(day * DAY + 2, [f"d{day}"]))
    assert _by_loss(one) == _by_loss(other)


def _by_loss(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        policy = books.policy(MODEL)
        found = {policy.loss: shown(books.documents, MODEL)}
        return found | {each: shown(books.documents, MODEL, beside(MODEL, each)) for each in policy.beside}


# Shown.


def test_both_are_on_the_charts_each_with_its_own_band_and_the_switch_marked(tmp_path: Path) -> None:
    desk = story(tmp_path)
    with desk.books() as books:
        history = read_history(books, MODEL)
    charts = {each.title: each for each in watch_charts(history)}
    assert list(charts) == [
        "Watch 'worse' on version 1 by brier: mean loss", "Watch 'worse' on version 1 by brier",
        f"Watch 'worse' on version 1 by {COST}: mean loss", f"Watch 'worse' on version 1 by {COST}",
        *list(charts)[4:],
    ]  # fmt: skip
    old, new = (charts[f"Watch 'worse' on version 1 by {loss}: mean loss"] for loss in ("brier", COST))
    assert old.data["limits"][0][2] == pytest.approx(0.12)
    assert new.data["limits"][0][2] == pytest.approx(0.3)
    by_block = [each for title, each in charts.items() if title.startswith("Loss of version 1 by")]
    assert [each.sub.split(".")[0] for each in by_block] == ["This loss judges", "In USD"]
    for chart in by_block:
        band = chart.data["series"][0]
        assert len(chart.data["x"]) == CALM_DAYS + 5
        assert all(
            middle is None or low <= middle <= high
            for middle, low, high in zip(band["y"], band["lo"], band["hi"], strict=True)
        )
        marked = {history.decisions[mark["n"] - 1].action for mark in chart.data["marks"]}
        assert "switch_loss" in marked
        assert "however often one looks" in chart.says
    assert by_block[1].data["y"][1] > 1.0 > by_block[0].data["y"][1], "an axis of its own"


def test_charts_of_one_loss_are_as_they_were(tmp_path: Path) -> None:
    desk = lived(tmp_path, days=2, beside=[])
    with desk.books() as books:
        assert [each.title for each in watch_charts(read_history(books, MODEL))] == [
            "Watch 'worse' on version 1: mean loss", "Watch 'worse' on version 1",
        ]  # fmt: skip


Typed = Callable[..., str]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type a command over a state directory; what it prints, however it ends."""

    def ran(desk: Desk, *arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("sys.argv", ["lossloop", *arguments, "--state", str(desk.home.path)])
        with contextlib.suppress(SystemExit):
            main()
        said = capsys.readouterr()
        return said.out + said.err

    return ran


def test_it_is_typed(tmp_path: Path, typed: Typed) -> None:
    desk = lived(tmp_path)
    file = tmp_path / "new.yaml"
    file.write_text(policy_text(**NEW))
    assert "beside: warning_cost@" in typed(desk, "status")
    told = json.loads(typed(desk, "loss", "switch", str(file), "--reason", "as agreed", "--json"))
    assert told["ok"]
    assert told["tried"]["alarms"] == 0
    shown_of = typed(desk, "status")
    assert f"{COST} judges instead of brier, by operator: as agreed" in shown_of
    assert "beside: brier@" in shown_of
    assert "is judged by" in typed(desk, "loss", "switch", str(file))
    assert "switch loss" in typed(desk, "decisions", MODEL)


def test_it_is_asked_for_over_http(server: Server) -> None:
    name = server.model(versions=0, beside=[LOG])
    text = policy_text(model=name, loss=LOG, beside=["brier"])
    path = f"/v1/models/{name}/loss"
    assert "was computed of 0 blocks of outcomes only" in server.call("POST", path, {"text": text}).detail
    wrong = server.call("POST", "/v1/models/other/loss", {"text": text})
    assert (wrong.status, wrong.detail) == (422, f"the policy is of {name}, not of other")
    reply = server.call("POST", path, {"text": text, "force": True, "by": "ann", "reason": "why not"})
    assert reply.status == 200, reply.body
    assert reply.body["tried"]["predictions"] >= 0
    found = server.call("GET", f"/v1/models/{name}").body
    assert found["loss"].startswith("log_loss@")
    assert [each["by"] for each in found["switches"]] == ["ann"]
    assert server.call("GET", f"/v1/models/{name}/charts").status == 200
