"""What holds for every kind of watch: the kinds are found by themselves, and one that is new is asked for.

All of them watch one champion at once, over a replay with features, units, late, wrong and missing labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.app import operate
from lossloop.app.books import Point, WatchState
from lossloop.app.charts import read_history, watch_charts
from lossloop.app.commands import Promote
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.app.watches import OF_ARRIVALS, OF_OUTCOMES, by_rows, kind_of
from lossloop.core.records import VerdictKind
from lossloop.core.seasons import Season
from lossloop.judges import calibration, profile_of
from lossloop.registry import Manifest
from tests.app.desk import CALM, DAY, MODEL, Desk, asked, happened, policy_text, ticked

BLOCKS, ROWS = "1 per 3650 blocks", "1 per 100,000 outcomes"
ASKED: dict[str, dict[str, Any]] = {
    "guardrail": {"kind": "guardrail", "limit": 0.15, "promise": BLOCKS},
    "guardrail_rows": {"kind": "guardrail", "limit": 0.15, "promise": ROWS},
    "regression": {"kind": "regression", "tolerance": 0.03, "promise": BLOCKS},
    "regression_rows": {"kind": "regression", "tolerance": 0.03, "promise": ROWS},
    "drift": {"kind": "drift", "promise": BLOCKS},
    "drift_rows": {"kind": "drift", "promise": ROWS, "joint": True},
    "prediction_shift": {"kind": "prediction_shift", "promise": BLOCKS, "tolerance": 0.1},
    "estimate": {"kind": "estimate", "limit": 0.2, "promise": BLOCKS},
    "estimate_audited": {
        "kind": "estimate",
        "limit": 0.15,
        "audit": "50%",
        "promise": "1 per 1,000 outcomes",
    },
    "seasonal": {"kind": "seasonal", "season": "weekday", "limit": 0.15, "promise": BLOCKS},
    "baseline": {"kind": "baseline", "tolerance": 0.05, "promise": "5% ever"},
    "slices": {"kind": "slices", "limit": 0.15, "promise": "5% false among alarms"},
    "latency": {"kind": "latency", "slower_than": "200ms", "tolerance": "20%", "promise": BLOCKS},
    "latency_rows": {"kind": "latency", "slower_than": "200ms", "tolerance": "20%", "promise": ROWS},
    "errors": {"kind": "errors", "tolerance": "10%", "promise": BLOCKS},
    "errors_rows": {"kind": "errors", "tolerance": "10%", "promise": ROWS},
}
ARRIVE = {
    name for name in ASKED if name.split("_rows")[0] in {"drift", "prediction_shift", "latency", "errors"}
}
ARRIVE |= {"estimate"}
PLACES = ("north", "south", "west")
REST = np.random.default_rng(11)
HALF = REST.random(2_000)
REFERENCE = msgspec.structs.replace(
    CALM, row_upper=0.12, baseline=0.3, seasons={Season.WEEKDAY: (0.1,) * 7},
    estimate=calibration((REST.random(2_000) < HALF).astype(np.float64), HALF, most=0.25),
)  # fmt: skip
CALM_LOSS, BAD_LOSS = 0.1, 0.7
ALONE = ("guardrail", "drift", "slices", "estimate", "errors")
ALARMS = [name for name in ASKED if name != "estimate"]
"""An estimate alarms where answers are unsure; those of the bad days are sure, and wrong."""


def inputs(rng: np.random.Generator, rows: int, *, age: float = 40.0) -> dict[str, Any]:
    return {"age": rng.normal(age, 10.0, rows).round(3).tolist(), "place": rng.choice(PLACES, rows).tolist()}


def answers(rng: np.random.Generator, rows: int, loss: float) -> list[float]:
    """Losses of rows: around a mean, between 0 and 1."""
    losses: list[float] = np.clip(rng.normal(loss, 0.02, rows), 0.0, 0.99).tolist()
    return losses


def manifest(notes: str = "") -> Manifest:
    rng = np.random.default_rng(1)
    profile = profile_of(
        inputs(rng, 4000), blocks=np.arange(4000) // 100, joint=True,
        predictions=np.sqrt(answers(rng, 4000, CALM_LOSS)),
    )  # fmt: skip
    return Manifest(runtime="external", reference=REFERENCE, profile=profile, notes=notes)


MADE = manifest()


def ready(path: Path, **watches: Any) -> Desk:
    """A champion under watches of all kinds, or under some."""
    desk = Desk.at(path / "s")
    desk.send(ticked(0))
    desk.policy(slices=["place"])
    for notes in ("", "another"):
        assert operate.register(desk.home, MODEL, msgspec.structs.replace(MADE, notes=notes)).ok
    desk.obey(Promote(model=MODEL, version=1))
    desk.policy(slices=["place"], watches=watches or ASKED, cooldown="90d")
    return desk


def live(
    desk: Desk, days: range, loss: float, *, rows: int = 30, seed: int = 5, age: float = 40.0,
    known: float = 0.9, version: int = 1,
) -> None:  # fmt: skip
    """Days of predictions of which most get an outcome, some twice, some wrong at first, some too late."""
    rng = np.random.default_rng(seed)
    for day in days:
        hour, ids = day * DAY, desk.ids(rows)
        columns = inputs(rng, rows, age=age)
        features = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        units = [f"u{number % 20}" for number in range(rows)]
        took = (rng.exponential(40.0 if loss < 0.5 else 400.0, rows)).tolist()
        desk.send(
            asked(
                hour + 8, answers(rng, rows, loss), ids, units=units, features=features, version=version,
                latency=took,
            )
        )  # fmt: skip
        if failed := int(rows * (0.03 if loss < 0.5 else 0.7)):
            desk.send(asked(hour + 8, [float("nan")] * failed, desk.ids(failed), version=version))
        came = [id for id in ids if rng.random() < known]
        desk.send(
            happened(hour + 9, came[: rows // 2]), happened(hour + 10, came), happened(hour + 10, came[:3])
        )
        desk.send(ticked(hour + DAY + 7))


def points(desk: Desk) -> list[Point]:
    return [point for name in ASKED for point in desk.points(name)]


def verdicts(desk: Desk) -> dict[str, dict[str, Any]]:
    with desk.books() as books:
        found: dict[str, dict[str, Any]] = status(books, MODEL)["watches"]
        return found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Twelve days as good as the reference."""
    desk = ready(tmp_path_factory.mktemp("calm"))
    live(desk, range(12), CALM_LOSS)
    return desk


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Three calm days, then inputs, answers and losses are all far off."""
    desk = ready(tmp_path_factory.mktemp("bad"))
    live(desk, range(3), CALM_LOSS)
    live(desk, range(3, 24), BAD_LOSS, age=80.0)
    return desk


def test_every_kind_is_held_to_these_laws() -> None:
    with_rows = {name.split("_rows")[0] for name in ASKED}
    tags = {str(kind.__struct_config__.tag) for kind in (*OF_OUTCOMES, *OF_ARRIVALS)}
    assert tags <= with_rows


@pytest.mark.parametrize("name", ASKED)
def test_each_says_what_it_promises_and_cannot_see(calm: Desk, name: str) -> None:
    found = verdicts(calm)[name]
    assert found["promise"] == ASKED[name]["promise"]
    assert len(found["cannot_see"].split()) >= 5
    assert found["assumption"]
    assert found["reason"]


@pytest.mark.parametrize("name", ASKED)
def test_of_what_is_as_it_was_none_alarms(calm: Desk, name: str) -> None:
    assert {point.kind for point in calm.points(name)} <= {"healthy", "no_data", "inconclusive"}
    assert verdicts(calm)[name]["count"] > 0


@pytest.mark.parametrize("name", ALARMS)
def test_of_what_is_far_off_each_alarms_and_stays(bad: Desk, name: str) -> None:
    said = [point.kind for point in bad.points(name)]
    assert "alarm" in said
    first = said.index("alarm")
    assert said[first:] == ["alarm"] * len(said[first:])
    found = next(point for point in bad.points(name) if point.kind == "alarm")
    assert found.evidence >= found.threshold


def test_an_alarm_stays_at_the_evidence_that_decided(bad: Desk) -> None:
    for name in set(ALARMS) - {"slices"}:  # each slice has evidence of its own, and the set of them grows
        alarms = [point.evidence for point in bad.points(name) if point.kind == "alarm"]
        assert len(set(alarms)) == 1, name


def test_evidence_is_a_number_and_time_goes_on(calm: Desk, bad: Desk) -> None:
    for desk in (calm, bad):
        for name in ASKED:
            found = desk.points(name)
            assert all(np.isfinite(point.evidence) and np.isfinite(point.threshold) for point in found)
            assert [point.at for point in found] == sorted(point.at for point in found)


def test_states_go_through_json_bit_for_bit(bad: Desk) -> None:
    with bad.books() as books:
        for name in ASKED:
            state = books.watch(MODEL, name)
            assert state is not None
            again = msgspec.json.decode(msgspec.json.encode(state), type=WatchState)
            assert bytes(again.judged) == bytes(state.judged)
            assert json.loads(bytes(state.judged))


def test_rows_or_blocks_are_judged_as_the_promise_counts(calm: Desk) -> None:
    with calm.books() as books:
        for name, watch in books.policy(MODEL).watches.items():
            labels = {point.block for point in calm.points(name)}
            assert by_rows(watch) == (labels == {""}), name
            assert kind_of(watch).cannot_see


def test_every_chart_of_every_kind_can_be_drawn(bad: Desk) -> None:
    with bad.books() as books:
        charts = watch_charts(read_history(books, MODEL))
    json.dumps([chart.data for chart in charts], allow_nan=False)
    for name in ASKED:
        assert any(f"'{name}'" in chart.title for chart in charts)


def test_a_rebuild_finds_the_same_points(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    live(desk, range(4), CALM_LOSS)
    live(desk, range(4, 6), BAD_LOSS)
    before, state = points(desk), desk.everything()
    rebuild(desk.home, accept=True)
    assert points(desk) == before
    assert desk.everything() == state


def test_the_same_facts_again_change_nothing(tmp_path: Path) -> None:
    once, twice = ready(tmp_path / "a"), ready(tmp_path / "b")
    for desk, times in ((once, 1), (twice, 2)):
        for _ in range(times):
            desk.sent = 0
            rng, ids = np.random.default_rng(2), desk.ids(20)
            columns = inputs(rng, 20)
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            desk.send(asked(8, answers(rng, 20, 0.3), ids, features=rows))
        for _ in range(times):
            desk.send(happened(9, ids))
        desk.send(ticked(DAY + 7))
    assert points(once) == points(twice)


def test_however_a_ledger_is_cut_into_folds_the_points_are_the_same(tmp_path: Path) -> None:
    """A loop that is started for every frame comes to what one comes to that sees all of them at once."""
    apart, together = ready(tmp_path / "a"), ready(tmp_path / "b")
    live(apart, range(3), 0.3)
    fold, together.fold = together.fold, lambda: 0  # type: ignore[method-assign]
    live(together, range(3), 0.3)
    fold()
    assert points(together) == points(apart)


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_labels_that_never_come_are_no_alarm_and_no_pass(tmp_path: Path, known: float) -> None:
    desk = ready(tmp_path)
    live(desk, range(8), CALM_LOSS, known=known)
    for name, found in verdicts(desk).items():
        assert found["kind"] != "alarm", name
        if known == 0.0 and name not in ARRIVE:
            assert found["kind"] in {"no_data", "inconclusive"}, f"{name}: {found['reason']}"


@pytest.mark.parametrize("rows", [1, 2])
def test_a_row_a_day_is_no_alarm(tmp_path: Path, rows: int) -> None:
    desk = ready(tmp_path)
    live(desk, range(10), CALM_LOSS, rows=rows)
    assert {found["kind"] for found in verdicts(desk).values()} <= {"healthy", "no_data", "inconclusive"}


def _constant(rng: np.random.Generator, rows: int, loss: float) -> list[float]:
    return [loss] * rows


def test_a_constant_loss_is_judged_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(live.__globals__, "answers", _constant)
    desk = ready(tmp_path)
    live(desk, range(6), 0.0)
    for name in ("guardrail", "regression", "seasonal", "slices", "estimate_audited", "guardrail_rows"):
        assert verdicts(desk)[name]["kind"] == "healthy", name


@pytest.mark.parametrize(
    "spoil",
    [lambda row: {**row, "age": None}, lambda row: {**row, "age": 1e308}, lambda row: {"place": "nowhere"},
     lambda row: {}, lambda row: {**row, "more": 1.0}],
    ids=["none", "huge", "strange", "empty", "more"],
)  # fmt: skip
def test_strange_features_never_stop_the_loop(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    desk = ready(tmp_path)
    for day in range(3):
        rng, ids = np.random.default_rng(day), desk.ids(12)
        columns = inputs(rng, 12)
        rows = [spoil(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        desk.send(asked(day * DAY + 8, answers(rng, 12, CALM_LOSS), ids, features=rows))
        desk.send(happened(day * DAY + 9, ids), ticked(day * DAY + DAY + 7))
    found = verdicts(desk)
    assert found["guardrail"]["count"] == 3
    assert all(each["kind"] != VerdictKind.ERROR for each in found.values())


def test_each_begins_anew_with_a_new_champion(bad: Desk, tmp_path: Path) -> None:
    desk = ready(tmp_path)
    live(desk, range(5), BAD_LOSS, age=80.0)
    before = {name: found["count"] for name, found in verdicts(desk).items()}
    desk.obey(Promote(model=MODEL, version=2))
    live(desk, range(5, 7), CALM_LOSS, version=2, seed=9)
    for name, found in verdicts(desk).items():
        assert found["count"] < before[name] or found["kind"] == "no_data", name
        assert found["kind"] != "alarm", name


@pytest.mark.parametrize(("one", "other"), list(combinations(ALONE, 2)))
def test_a_watch_does_not_hear_of_another(tmp_path: Path, one: str, other: str) -> None:
    alone = ready(tmp_path / "a", **{one: ASKED[one]})
    both = ready(tmp_path / "b", **{one: ASKED[one], other: ASKED[other]})
    for desk in (alone, both):
        live(desk, range(3), 0.3, rows=10)
    assert alone.points(one) == both.points(one)


def test_a_policy_set_again_goes_on_and_one_that_changes_begins_anew(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    live(desk, range(2), CALM_LOSS)
    desk.policy(slices=["place"], watches=ASKED, cooldown="90d")
    live(desk, range(2, 3), CALM_LOSS)
    before = {name: found["count"] for name, found in verdicts(desk).items()}
    promises = {BLOCKS: "1 per 3651 blocks", ROWS: "1 per 100,001 outcomes", "5% ever": "6% ever",
                "1 per 1,000 outcomes": "1 per 1,001 outcomes"}  # fmt: skip
    changed = {
        name: {**watch, "promise": promises.get(watch["promise"], "6% false among alarms")}
        for name, watch in ASKED.items()
    }
    desk.policy(slices=["place"], watches=changed, cooldown="90d")
    live(desk, range(3, 4), CALM_LOSS)
    for name, found in verdicts(desk).items():
        assert before[name] > found["count"] or found["kind"] == "no_data", name


def test_the_policy_of_all_kinds_is_a_policy() -> None:
    text = policy_text(slices=["place"], watches=ASKED)
    assert set(json.loads(text)["watches"]) == set(ASKED)
