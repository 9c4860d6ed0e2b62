"""Rows that a comparison may look at: drawn, by the right draw, and answered as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.drawing import among_arms, drawn_between, held_and_served, in_experiment, in_rollout
from lossloop.core.holdout import Holdout
from lossloop.core.records import Role
from lossloop.core.serving import Serving
from lossloop.core.tasks import Task
from lossloop.core.traffic import Arm, Traffic
from lossloop.ledger.joined.columns import Array, Floats, Int64
from lossloop.ledger.joined.table import ROLES
from lossloop.serve.assign import Drawn, assign, override

KEYS = [f"u{number}" for number in range(400)]


def split(*shares: float, held: float = 0.0, closed: int | None = None) -> Traffic:
    arms = tuple(
        Arm(version=number, share=share, closed=number == closed) for number, share in enumerate(shares, 2)
    )
    serving = Serving(holdout=Holdout(share=held, version=9)) if held else Serving()
    return Traffic(
        model="m", task=Task.BINARY, champion=1, arms=arms, salt="s", serving=serving,
        holdout_salt="h" if held else "",
    )  # fmt: skip


def columns(drawn: list[Drawn]) -> tuple[Array, Int64, Floats]:
    """Roles, versions and chances, as the table has them."""
    return (
        np.array([ROLES.index(each.role) for each in drawn]),
        np.array([each.version for each in drawn]),
        np.array([each.propensity for each in drawn]),
    )


@given(st.floats(0.01, 0.98), st.sampled_from([0.0, 0.05, 0.37]))
def test_a_rollout_sees_all_that_was_drawn_and_the_chance_among_its_arms(share: float, held: float) -> None:
    drawn = assign(split(share, held=held), KEYS, {})
    role, version, chance = columns(drawn)
    found = in_rollout(role, version, chance, champion=1, challenger=2, held_out=held)
    assert found.tolist() == [each.role != Role.HOLDOUT for each in drawn]
    wanted = np.where(version[found] == 2, share, 1.0 - share)
    assert among_arms(chance[found], held) == pytest.approx(wanted, abs=1e-12)


@given(st.sampled_from([0.0, 0.05, 0.37]), st.sampled_from([None, 2, 3]))
def test_an_experiment_sees_the_arms_that_go_on_and_the_champions_own_units(
    held: float, closed: int | None
) -> None:
    open_drawn = assign(split(0.2, 0.3, held=held), KEYS, {})
    drawn = assign(split(0.2, 0.3, held=held, closed=closed), KEYS, {})
    role, version, chance = columns(drawn)
    found = in_experiment(role, version, chance, shares={1: 0.5, 2: 0.2, 3: 0.3}, held_out=held)
    wanted = [each.role != Role.HOLDOUT and each.version != closed for each in open_drawn]
    assert found.tolist() == wanted


@given(st.sampled_from([0.05, 0.37]), st.sampled_from([(), (0.2,), (0.2, 0.3)]))
def test_a_holdout_sees_everybody_whatever_is_rolled_out(held: float, shares: tuple[float, ...]) -> None:
    drawn = assign(split(*shares, held=held), KEYS, {})
    role, _, chance = columns(drawn)
    theirs, others = held_and_served(role, chance, share=held)
    assert theirs.tolist() == [each.role == Role.HOLDOUT for each in drawn]
    assert (theirs ^ others).all()


def test_what_a_tester_asked_for_is_seen_by_nobody() -> None:
    role, version, chance = columns([override(1), override(2), override(9)])
    for held in (0.0, 0.05):
        assert not in_rollout(role, version, chance, champion=1, challenger=2, held_out=held).any()
        assert not in_experiment(role, version, chance, shares={1: 0.5, 2: 0.5}, held_out=held).any()
    assert not np.any(held_and_served(role, chance, share=0.05))


def test_an_override_with_another_chance_is_seen_by_nobody_either() -> None:
    """A service that records by itself may say any chance; the role alone is enough."""
    role, version = np.full(3, ROLES.index(Role.OVERRIDE)), np.array([1, 2, 9])
    chance = np.array([0.5, 0.5, 0.05])
    assert not in_rollout(role, version, chance, champion=1, challenger=2, held_out=0.0).any()
    assert not in_experiment(role, version, chance, shares={1: 0.5, 2: 0.5}, held_out=0.0).any()
    assert not np.any(held_and_served(role, chance, share=0.05))


def test_a_row_that_was_answered_by_another_than_it_was_drawn_to_is_no_evidence() -> None:
    role, version, chance = np.zeros(1, np.int64), np.array([1]), np.array([1.0])
    assert not in_rollout(role, version, chance, champion=1, challenger=2, held_out=0.05).any()
    assert not in_experiment(role, version, chance, shares={1: 0.5, 2: 0.5}, held_out=0.05).any()
    assert not np.any(held_and_served(role, chance, share=0.05))


def test_nothing_held_out_changes_no_bit() -> None:
    chance = np.array([0.1, 1 / 3, 0.7])
    assert among_arms(chance, 0.0) is chance
    assert drawn_between(np.array([0.0, 1e-7, 1e-6, 0.5, 1 - 1e-7, 1.0])).tolist() == [
        False, False, True, True, False, False,
    ]  # fmt: skip
