"""Eras and references: who judged when, and what a version is measured by under each loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lossloop.act.policy import read_policy
from lossloop.app.books import Books, Point, PolicyText
from lossloop.app.eras import Era, Switch, begin_era, era, switches
from lossloop.app.home import init
from lossloop.app.judging import Lens
from lossloop.app.references import keep_reference, version_under, with_reference
from lossloop.app.switching import Tried
from lossloop.core.errors import UnknownName
from lossloop.ledger.store import Store
from lossloop.registry import Reference, versions
from tests.app.desk import CALM, MODEL, START, external, policy_text
from tests.app.test_beside import COST

DEAR = Reference(loss=COST, mean=0.5, block="1d", block_means=(0.4, 0.6), rows=9, design_effect=1.0)
COSTS = Lens(policy=read_policy(policy_text(loss=COST)))
BRIER = Lens(policy=read_policy(policy_text()))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Store]:
    from_here = init(tmp_path / "s").writable_state()
    with from_here.transaction():
        versions.register(from_here, MODEL, external(), at=START)
        yield from_here
    from_here.close()


def a_switch(seq: int, by: str = "ann") -> Switch:
    return Switch(at=START, seq=seq, by=by, reason="", before=policy_text(), after=policy_text(loss=COST))


def test_before_any_switch_all_predictions_are_judged_by_the_first_loss(state: Store) -> None:
    assert era(state, MODEL) == Era(number=0, seq=0)
    assert switches(state, MODEL) == []


def test_each_switch_begins_another_era_of_its_model_alone(state: Store) -> None:
    for seq, by in ((5, "ann"), (9, "bob")):
        begin_era(state, MODEL, a_switch(seq, by))
    begin_era(state, f"{MODEL}2", a_switch(70))
    assert era(state, MODEL) == Era(number=2, seq=9)
    assert [each.by for each in switches(state, MODEL)] == ["ann", "bob"]
    assert era(state, f"{MODEL}2") == Era(number=1, seq=70)


def test_points_of_two_eras_are_never_put_together(state: Store) -> None:
    """Within a 96th of a block steps of rows are one point, but not across a switch of the loss."""
    books = Books(state)
    state.put("policy", MODEL, PolicyText(text=policy_text(), at=START))
    step = Point(
        at=START, watch="w", version=1, kind="healthy", evidence=0.0, threshold=3.0, mean=0.1, rows=4
    )
    books.put_point(MODEL, step)
    books.put_point(MODEL, step)
    begin_era(state, MODEL, a_switch(8))
    books.put_point(MODEL, msgspec.structs.replace(step, mean=10.0, rows=1))
    found = [(each.era, each.rows, each.mean) for each in books.points(MODEL)]
    assert found == [(0, 8, pytest.approx(0.1)), (1, 1, 10.0)]


def test_a_reference_is_of_its_loss_whatever_it_is_called(state: Store) -> None:
    assert version_under(state, BRIER, 1).manifest.reference == CALM
    assert version_under(state, COSTS, 1).manifest.reference == CALM, "there is no other; judges refuse it"
    keep_reference(state, versions.find(state, MODEL, 1), DEAR)
    assert version_under(state, COSTS, 1).manifest.reference == DEAR
    assert version_under(state, BRIER, 1).manifest.reference == CALM
    assert COSTS.is_of("warning_cost(missed=2.0, false_alarm=1.0)")
    assert not COSTS.is_of("warning_cost(missed=3, false_alarm=1)")
    with pytest.raises(UnknownName, match="unknown version 'm:7'"):
        version_under(state, COSTS, 7)


def test_one_that_the_version_brought_comes_before_one_that_was_measured(state: Store) -> None:
    own = msgspec.structs.replace(DEAR, mean=0.7)
    manifest = msgspec.structs.replace(external("both"), beside=(own,))
    made = versions.register(state, MODEL, manifest, at=START)
    keep_reference(state, made, DEAR)
    assert version_under(state, COSTS, made.number).manifest.reference == own
    assert with_reference(made, CALM).digest == made.digest, "it stays the version that it is"
    assert with_reference(made, made.manifest.reference or DEAR) is made


@pytest.mark.parametrize(("alarms", "words"), [(0, "never"), (1, "once"), (3, "3 times")])
def test_what_was_tried_is_told_in_a_sentence(alarms: int, words: str) -> None:
    tried = Tried(policy="x", since=START, until=START, predictions=1200, alarms=alarms, alarms_in_force=1)
    assert tried.words == (
        "Over 1,200 predictions from 2024-01-01 to 2024-01-01 its watches would have alarmed "
        f"{words}, those in force once"
    )
