"""Who answers: every arm is sticky and meets its share, chances add up to 1, and no draw tells of another."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossloop.core.holdout import Holdout
from lossloop.core.records import Role
from lossloop.core.serving import Serving
from lossloop.core.tasks import Task
from lossloop.core.traffic import Arm, Traffic
from lossloop.serve.assign import Drawn, assign, override, place

KEYS = [f"unit-{number}" for number in range(20_000)]
HELD = Serving(holdout=Holdout(share=0.1, version=9))
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def split(*shares: float, held: bool = False, **more: Any) -> Traffic:
    """Version 1 is champion, the arms are versions 2, 3, ...; 9 is held out."""
    arms = tuple(Arm(version=number, share=share) for number, share in enumerate(shares, 2))
    usual = {"serving": HELD, "holdout_salt": "held"} if held else {}
    made = {"champion": 1, "arms": arms, "salt": "s", **usual, **more}
    return Traffic(model="m", task=Task.BINARY, **made)


@st.composite
def splits(draw: st.DrawFn) -> Traffic:
    """Any split: arms that leave something to the champion, held out or not."""
    parts = draw(st.lists(st.floats(0.01, 1), max_size=5))
    whole = (sum(parts) + draw(st.floats(0.1, 1))) if parts else 1.0
    held = draw(st.booleans())
    share = draw(st.floats(0.01, 0.5))
    serving = Serving(holdout=Holdout(share=share, version=9)) if held else Serving()
    return split(
        *(part / whole for part in parts), salt=draw(words), serving=serving,
        holdout_salt="held" + draw(words) if held else "",
    )  # fmt: skip


def one(traffic: Traffic, key: str, **features: Any) -> Drawn:
    return assign(traffic, [key], {name: [value] for name, value in features.items()})[0]


def met(traffic: Traffic, **features: Any) -> Counter[int]:
    columns = {name: [value] * len(KEYS) for name, value in features.items()}
    return Counter(drawn.version for drawn in assign(traffic, KEYS, columns))


# What holds for any split.


@given(splits(), words)
def test_a_unit_is_drawn_the_same_every_time(traffic: Traffic, key: str) -> None:
    alone, among = one(traffic, key), assign(traffic, ["other", key, "another", key], {})
    assert alone == among[1] == among[3]
    assert alone.version in traffic.versions


@given(splits())
def test_the_chances_of_all_who_may_answer_add_up_to_one(traffic: Traffic) -> None:
    chances = {(d.version, d.role): d.propensity for d in assign(traffic, KEYS[:300], {})}
    if len(chances) == len(traffic.arms) + 1 + bool(traffic.held_out):
        assert math.fsum(chances.values()) == pytest.approx(1.0, abs=1e-12)
    assert all(0 < chance <= 1 for chance in chances.values())
    assert math.fsum(chances.values()) <= 1 + 1e-12


@given(splits(), words)
def test_each_role_has_its_own_chance(traffic: Traffic, key: str) -> None:
    drawn, rest = one(traffic, key), 1.0 - traffic.held_out
    wanted = {arm.version: arm.share * rest for arm in traffic.arms}
    wanted[1] = rest * (1.0 - math.fsum(arm.share for arm in traffic.arms))
    wanted[9] = traffic.held_out
    assert drawn.propensity == pytest.approx(wanted[drawn.version], abs=1e-12)
    roles = {1: Role.CHAMPION, 9: Role.HOLDOUT}
    assert drawn.role == roles.get(drawn.version, Role.CHALLENGER)


@given(words, st.lists(st.floats(0, 0.9), min_size=2, max_size=6))
def test_an_only_arm_that_grows_takes_no_unit_back(key: str, shares: list[float]) -> None:
    versions = [one(split(share), key).version for share in sorted(shares)]
    assert versions == sorted(versions), "the champion first, the challenger then"


@given(splits(), words, st.integers(0, 4))
def test_an_arm_that_is_given_up_moves_nobody_else(traffic: Traffic, key: str, which: int) -> None:
    if which >= len(traffic.arms):
        return
    closed = [msgspec.structs.replace(arm, closed=at == which) for at, arm in enumerate(traffic.arms)]
    after = msgspec.structs.replace(traffic, arms=tuple(closed))
    was, now = one(traffic, key), one(after, key)
    if was.version != traffic.arms[which].version:
        assert now == was
    else:
        assert (now.version, now.role) == (1, Role.CHAMPION)
        assert now.propensity == 1.0 - traffic.held_out, "no draw led there, so it is no evidence on an arm"
    assert traffic.arms[which].version not in after.versions


# What holds of many units.


@pytest.mark.parametrize("held", [False, True])
def test_every_arm_meets_its_share(held: bool) -> None:
    traffic = split(0.2, 0.05, 0.3, held=held)
    found, rest = met(traffic), 0.9 if held else 1.0
    for version, share in {1: 0.45 * rest, 2: 0.2 * rest, 3: 0.05 * rest, 4: 0.3 * rest}.items():
        assert stats.binomtest(found[version], len(KEYS), share).pvalue > 1e-4
    assert (found[9] > 0) == held


def test_who_is_held_out_says_nothing_of_who_meets_an_arm() -> None:
    found = assign(split(0.5, held=True), KEYS, {})
    arms = assign(split(0.5), KEYS, {})
    held = np.array([drawn.role == Role.HOLDOUT for drawn in found])
    theirs = np.array([drawn.version == 2 for drawn in arms])
    table = [[int((held & theirs).sum()), int((held & ~theirs).sum())],
             [int((~held & theirs).sum()), int((~held & ~theirs).sum())]]  # fmt: skip
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_the_held_out_stay_so_over_rollouts_and_change_with_the_period() -> None:
    def held(**more: Any) -> set[str]:
        drawn = assign(split(0.5, held=True, **more), KEYS, {})
        return {key for key, each in zip(KEYS, drawn, strict=True) if each.role == Role.HOLDOUT}

    first = held()
    assert held(salt="another rollout") == held(arms=()) == held(champion=5) == first
    next_period = held(holdout_salt="next")
    assert stats.binomtest(len(first & next_period), len(first), 0.1).pvalue > 1e-4


def test_other_processes_draw_alike() -> None:
    """Several workers answer one unit; they have nothing in common but the traffic."""
    traffic = split(0.2, 0.3, held=True)
    code = (
        "import sys, msgspec, json; from lossloop.core.traffic import Traffic; "
        "from lossloop.serve.assign import assign; "
        "found = assign(msgspec.json.decode(sys.argv[1], type=Traffic), sys.argv[2].split(), {}); "
        "print(json.dumps([each.version for each in found]))"
    )
    text = msgspec.json.encode(traffic).decode()
    said = subprocess.run(
        [sys.executable, "-c", code, text, " ".join(KEYS[:500])], capture_output=True, check=True, text=True
    )
    assert json.loads(said.stdout) == [each.version for each in assign(traffic, KEYS[:500], {})]


# Traffic by slice.


def test_rows_outside_the_slice_stay_with_the_champion() -> None:
    traffic = split(0.5, only={"carrier": ("UA", "DL"), "stops": ("0",)})
    found = met(traffic, carrier="UA", stops=0.0)
    assert stats.binomtest(found[2], len(KEYS), 0.5).pvalue > 1e-4
    for features in ({"carrier": "AA", "stops": 0.0}, {"carrier": "UA", "stops": 1.0}, {"carrier": "UA"}):
        drawn = one(traffic, "u", **features)
        assert drawn == Drawn(1, Role.CHAMPION, 1.0)
    assert one(traffic, "u", carrier=None, stops=math.nan).version == 1


def test_a_unit_meets_its_arm_whenever_its_row_lies_in_the_slice() -> None:
    traffic = split(0.5, held=True, only={"carrier": ("UA",)})
    columns = {"carrier": ["UA", "AA"] * len(KEYS)}
    found = assign(traffic, [key for key in KEYS for _ in range(2)], columns)
    inside, outside = found[::2], found[1::2]
    assert [each.version for each in inside] == [
        each.version for each in assign(split(0.5, held=True), KEYS, {})
    ]
    kept = {(each.version, each.role, each.propensity) for each in outside}
    assert kept == {(1, Role.CHAMPION, 0.9), (9, Role.HOLDOUT, 0.1)}


def test_numbers_and_texts_of_columns_are_compared_as_they_are() -> None:
    traffic = split(0.999, only={"stops": ("1", "two", "nan")})
    column = np.array([1.0, 2.0, math.nan])
    assert [each.role for each in assign(traffic, ["a", "a", "a"], {"stops": column})] == [
        Role.CHALLENGER, Role.CHAMPION, Role.CHAMPION,
    ]  # fmt: skip


# Shadow, and what was asked for by number.


def test_in_shadow_all_is_the_champions_and_the_challenger_sees_what_it_would_get() -> None:
    shadow = split(0.0, shadow=True, held=True, only={"carrier": ("UA",)})
    drawn = assign(shadow, KEYS[:2000], {"carrier": ["UA"] * 2000})
    assert {(each.version, each.shadow) for each in drawn} == {(1, 2), (9, None)}
    assert {each.shadow for each in assign(shadow, KEYS[:200], {"carrier": ["AA"] * 200})} == {None}
    assert one(split(0.0, shadow=True), "u") == Drawn(1, Role.CHAMPION, 1.0, 2)


def test_a_version_asked_for_by_number_is_no_draw() -> None:
    assert override(7) == Drawn(7, Role.OVERRIDE, 1.0)


def test_without_arms_all_is_the_champions() -> None:
    assert assign(split(), ["a", "b"], {}) == [Drawn(1, Role.CHAMPION, 1.0)] * 2
    assert one(split(champion=None), "a").version == 0
    assert assign(split(0.5, held=True), [], {}) == []


def test_a_holdout_without_a_salt_holds_nobody_out() -> None:
    """A policy says so much; the loop says since when, and by which salt."""
    traffic = split(0.2, serving=HELD)
    assert traffic.held_out == 0.0
    assert 9 not in {*traffic.versions, *met(traffic)}


def test_the_two_places_of_a_unit_are_apart() -> None:
    pairs = np.array([[place("s", key), place("held", key)] for key in KEYS])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.03
