"""Slices, from the policy file to `lossloop slices`: which of them fail, and what they cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lossloop.app import operate
from lossloop.app.charts import read_history, watch_charts
from lossloop.app.commands import Promote
from lossloop.app.reading import status
from lossloop.app.slices import findings, slices
from lossloop.core.cuts import SliceReference
from lossloop.core.errors import Conflict, PolicyError, UnknownName
from lossloop.ledger.expired import Needs, expired
from lossloop.ledger.joined.keys import Keys
from lossloop.registry import Feature, FeatureKind, Manifest, Reference
from tests.app.desk import DAY, MODEL, Desk, asked, external, happened, policy_text, ticked
from tests.app.test_cli import Run, run  # noqa: F401
from tests.app.test_rebuild import forget

WHERE = {"kind": "slices", "tolerance": 0.02, "promise": "5% false among alarms"}
CARRIERS = ("UA", "AA", "B6")


def sliced(path: Path, *, watch: dict[str, Any] | None = None, **policy: Any) -> Desk:
    """A champion under a watch over carriers."""
    keys = {"slices": ["carrier"], "watches": {"where": watch or WHERE}, **policy}
    return Desk.ready(path / "s", **keys)


def day(
    desk: Desk, number: int, losses: dict[str, float], *, rows: int = 4, known: Sequence[str] | None = None
) -> None:
    """A day of rows by carrier, each with its own loss; outcomes of all of them, or of some carriers."""
    hour = number * DAY
    pairs = [(name, place) for name in losses for place in range(rows)]
    features = [{"carrier": name, "hour": place} for name, place in pairs]
    ids = desk.ids(len(features))
    came = [id for id, (name, _) in zip(ids, pairs, strict=True) if known is None or name in known]
    every = [losses[name] for name, _ in pairs]
    desk.send(
        asked(hour + 8, every, ids, features=features), happened(hour + 9, came), ticked(hour + DAY + 7)
    )


def of(desk: Desk, watch: str = "where") -> dict[str, Any]:
    with desk.books() as books:
        return {each.slice: each for each in findings(books, MODEL, watch)}


def watch_of(desk: Desk, watch: str = "where") -> dict[str, Any]:
    with desk.books() as books:
        found: dict[str, Any] = status(books, MODEL)["watches"][watch]
    return found


def fail(desk: Desk, *, days: int = 8, first: int = 0) -> None:
    for number in range(first, first + days):
        day(desk, number, {"UA": 0.1, "AA": 0.8, "B6": 0.1})


# From facts to a verdict.


def test_the_slice_that_fails_is_named(tmp_path: Path) -> None:
    desk = sliced(tmp_path, on={"where": [{"notify": "log"}]})
    fail(desk)
    told = watch_of(desk)
    assert told["kind"] == "alarm"
    assert told["reason"].startswith("1 of 3 slices alarm: carrier=AA (mean 0.8 over 8, limit 0.12")
    assert told["worst"][0]["slice"] == "carrier=AA"
    assert [each.kind for each in of(desk).values()] == ["alarm", "inconclusive", "inconclusive"]
    (decision,) = [each for each in desk.decisions() if each.action == "notify"]
    assert decision.verdict is not None
    assert "carrier=AA" in decision.verdict.reason
    assert len(desk.points("where")) == 8


def test_a_watch_over_all_rows_would_see_it_later(tmp_path: Path) -> None:
    worse = {"kind": "regression", "tolerance": 0.02, "promise": "5% ever"}
    desk = sliced(tmp_path, watches={"where": WHERE, "worse": worse})
    for number in range(8):
        day(desk, number, {"UA": 0.05, "AA": 0.3, "B6": 0.05, "DL": 0.05, "WN": 0.05})
    day(desk, 8, {"AA": 0.3})
    for number in range(9, 24):
        day(desk, number, {"UA": 0.05, "AA": 0.3, "B6": 0.05, "DL": 0.05, "WN": 0.05})
    assert watch_of(desk)["kind"] == "alarm"
    assert watch_of(desk, "worse")["kind"] == "healthy"


def test_by_several_features_by_range_and_together(tmp_path: Path) -> None:
    cuts = ["carrier", {"feature": "hour", "bins": [2]}, "carrier x hour"]
    desk = sliced(tmp_path, slices=cuts)
    fail(desk)
    found = of(desk)
    assert {name for name, each in found.items() if each.kind == "alarm"} >= {
        "carrier=AA", "carrier=AA, hour<2", "carrier=AA, hour>=2",
    }  # fmt: skip
    assert found["hour<2"].rows == found["hour>=2"].rows == 8 * 6
    assert found["hour<2"].share == 0.5


def test_only_what_a_watch_names_is_looked_at(tmp_path: Path) -> None:
    desk = sliced(tmp_path, slices=["carrier", "hour"], watch={**WHERE, "by": ["hour"]})
    fail(desk)
    assert set(of(desk)) == {"hour=0", "hour=1", "hour=2", "hour=3"}


def test_rows_are_judged_one_by_one_where_the_promise_counts_outcomes(tmp_path: Path) -> None:
    watch = {"kind": "slices", "limit": 0.3, "promise": "5% false among alarms over outcomes"}
    desk = sliced(tmp_path, watch=watch)
    day(desk, 0, {"UA": 0.1, "AA": 0.9}, rows=40)
    found = of(desk)
    assert (found["carrier=AA"].kind, found["carrier=AA"].count) == ("alarm", 40)
    assert desk.points("where")[0].block == ""


def test_units_count_once_in_a_slice(tmp_path: Path) -> None:
    desk = sliced(tmp_path)
    features = [{"carrier": "UA"}] * 4
    ids = desk.ids(4)
    sent = asked(1, [0.9, 0.9, 0.9, 0.1], ids, units=["a", "a", "a", "b"], features=features)
    desk.send(sent, happened(2, ids), ticked(DAY + 7))
    assert of(desk)["carrier=UA"].mean == pytest.approx(0.5)


def test_a_slice_whose_outcomes_never_come_is_no_data(tmp_path: Path) -> None:
    desk = sliced(tmp_path)
    for number in range(8):
        day(desk, number, {"UA": 0.1, "AA": 0.9}, known=["UA"])
    found = of(desk)
    assert (found["carrier=AA"].kind, found["carrier=AA"].missing) == ("no_data", 1.0)
    assert watch_of(desk)["kind"] == "healthy"


def test_rows_without_features_are_slices_too(tmp_path: Path) -> None:
    desk = sliced(tmp_path)
    desk.day(0, 0.1)
    assert set(of(desk)) == {"carrier=none"}


def test_a_model_without_slices_keeps_nothing_of_them(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    day(desk, 0, {"UA": 0.1})
    assert not [row for row in desk.everything()["documents"] if row[0] == "slices"]
    with desk.books() as books, pytest.raises(Conflict, match="no watch of kind slices; add one"):
        slices(books, MODEL)


# References by slice.


def test_a_slice_is_measured_against_its_own_reference(tmp_path: Path) -> None:
    own = {"carrier=AA": SliceReference(mean=0.8, blocks=30, spread=0.01, rows=300)}
    reference = Reference(
        loss="brier", mean=0.1, block="1d", block_means=(0.1,) * 8, rows=800, design_effect=1.0, slices=own
    )
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    desk.policy(slices=["carrier"], watches={"where": WHERE})
    desk.register("one", reference)
    desk.obey(Promote(model=MODEL, version=1))
    fail(desk)
    found = of(desk)
    assert watch_of(desk)["kind"] == "healthy"
    assert found["carrier=AA"].limit == pytest.approx(0.82, abs=0.01)
    assert found["carrier=UA"].limit == pytest.approx(0.12)


# What a policy cannot ask.


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        ({"kind": "slices", "promise": "5% ever"}, "either a tolerance, above the reference, or a limit"),
        ({**WHERE, "limit": 0.5}, "either a tolerance"),
        ({**WHERE, "tolerance": 0}, "must be above 0"),
        ({**WHERE, "by": ["origin"]}, "no slices by 'origin'; there are: carrier"),
        ({**WHERE, "promise": "1 per 100 blocks"}, r"cannot be promised of slices: .*arXiv 2501\.04130"),
        ({**WHERE, "promise": "5% once"}, "cannot be promised of slices"),
        ({"kind": "guardrail", "limit": 1, "promise": WHERE["promise"]}, "is promised of many slices"),
        ({"kind": "regression", "tolerance": 1, "promise": WHERE["promise"]}, "is promised of many slices"),
    ],
)  # fmt: skip
def test_what_cannot_be_promised_is_refused(tmp_path: Path, watch: dict[str, Any], words: str) -> None:
    desk = Desk.at(tmp_path / "s")
    with pytest.raises(PolicyError, match=words):
        desk.policy(slices=["carrier"], watches={"where": watch})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slices": []}, "the policy has no slices; add some"),
        ({"slices": ["account"], "unit": "account"}, "'account' is the unit: .* a slice names a group"),
        ({"slices": ["carrier", "carrier"]}, "stand there twice"),
        ({"slices": [f"f{place}" for place in range(7)]}, "6 ways at most, not 7"),
        ({"slices": [{"feature": "distance", "bins": [2, 1]}]}, "must rise"),
    ],
)
def test_what_cannot_be_cut_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    desk = Desk.at(tmp_path / "s")
    with pytest.raises(PolicyError, match=words):
        desk.policy(**{"watches": {"where": WHERE}, **changes})


def test_a_feature_that_the_champion_does_not_have_is_refused(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    desk.policy()
    made = external()
    features = (Feature(name="carrier", kind=FeatureKind.CATEGORY),)
    manifest = Manifest(runtime="external", reference=made.reference, features=features)
    from_features = init_version(desk, manifest)
    assert from_features == 1
    with pytest.raises(PolicyError, match="m:1 has no feature 'carier' to slice by; did you mean 'carrier'"):
        desk.policy(slices=["carier"], watches={"where": WHERE})
    desk.policy(slices=["carrier"], watches={"where": WHERE})


def init_version(desk: Desk, manifest: Manifest) -> int | None:
    operate.register(desk.home, MODEL, manifest)
    return operate.obey(desk.home, Promote(model=MODEL, version=1)).version


# Policies that change.


def test_slices_that_are_asked_for_later_begin_with_the_rows_that_come_then(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    fail(desk, days=2)
    desk.policy(slices=["carrier"], watches={"where": WHERE})
    assert of(desk) == {}
    fail(desk, days=2, first=2)
    assert {each.rows for each in of(desk).values()} == {8}


def test_rows_from_before_their_slices_do_not_stop_a_watch_that_judges_rows(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    ids = [id for _ in range(2) for id in desk.predict(1, [0.1] * 4)]
    watch = {"kind": "slices", "limit": 0.3, "promise": "5% false among alarms over outcomes"}
    assert desk.policy(slices=["carrier"], watches={"where": watch}).ok
    desk.know(2, ids)
    desk.tick(9)
    assert watch_of(desk)["kind"] == "no_data"
    assert "no row belongs to a slice yet" in watch_of(desk)["reason"]


def test_another_entry_leaves_what_others_have_judged(tmp_path: Path) -> None:
    watches = {"where": {**WHERE, "by": ["carrier"]}, "all": WHERE}
    desk = sliced(tmp_path, watches=watches)
    fail(desk, days=2)
    desk.policy(slices=["hour", "carrier"], watches=watches)
    assert {each.rows for each in of(desk).values()} == {8}, "it asks what it asked before"
    assert of(desk, "all") == {}, "all of them are more than before"
    fail(desk, days=1, first=2)
    assert {each.rows for each in of(desk).values()} == {12}
    assert set(of(desk, "all")) >= {"hour=0", "carrier=UA"}


def test_only_six_ways_to_cut_over_the_life_of_a_model(tmp_path: Path) -> None:
    desk = sliced(tmp_path, slices=[f"f{place}" for place in range(6)])
    fail(desk, days=1)
    with pytest.raises(Conflict, match=r"m has been cut by f0, f1, f2, f3, f4, f5; .*more than 6"):
        desk.policy(slices=["else"], watches={"where": WHERE})
    desk.policy(slices=["f5"], watches={"where": WHERE})


def test_a_new_champion_is_judged_anew(tmp_path: Path) -> None:
    desk = sliced(tmp_path)
    fail(desk)
    desk.register("other")
    desk.obey(Promote(model=MODEL, version=2))
    desk.tick(9 * DAY)
    assert {each.rows for each in of(desk).values()} == {32}, "still what was judged of the one before"
    ids = desk.ids(4)
    sent = asked(9 * DAY + 8, [0.1] * 4, ids, version=2, features=[{"carrier": "UA"}] * 4)
    desk.send(sent, happened(9 * DAY + 9, ids), ticked(10 * DAY + 7))
    assert {name for name, each in of(desk).items() if each.rows} == {"carrier=UA"}


# Always the same.


def test_a_state_that_is_made_anew_says_the_same_to_the_bit(tmp_path: Path) -> None:
    desk = sliced(tmp_path, slices=["carrier", "carrier x hour"])
    fail(desk)
    before = desk.everything()
    forget(desk)
    desk.fold()
    assert desk.everything() == before
    assert [row for row in before["documents"] if row[0] == "slices"]


def test_rows_that_have_expired_belong_to_the_same_slices(tmp_path: Path) -> None:
    found = []
    for place in ("whole", "thin"):
        desk = sliced(tmp_path / place)
        ids = desk.ids(4)
        sent = asked(8, [0.1] * 4, ids, features=[{"carrier": "UA", "account": "x"}] * 4)
        needs = Needs(keys=Keys(desk.home.settings().secret), features=frozenset({"carrier"}))
        desk.send(sent if place == "whole" else expired(sent, needs), happened(9, ids), ticked(DAY + 7))
        found.append(of(desk))
    assert found[0] == found[1]
    assert set(found[0]) == {"carrier=UA"}


def test_live_and_replayed_are_cut_alike(tmp_path: Path) -> None:
    frames = [
        asked(
            8, [0.1] * 3, [f"p{each}" for each in range(3)], features=[{"carrier": each} for each in CARRIERS]
        )
    ]
    found = []
    for clock in ("event", "receipt"):
        desk = Desk.ready(tmp_path / clock, settings={"clock": clock}, slices=["carrier"])
        desk.send(*frames)
        found.append([column for column in desk.everything()["rows/m"] if column[0] == "slices"])
    assert found[0] == found[1]
    assert found[0]


# What others make of it.


def test_a_chart_shows_what_the_watch_saw(tmp_path: Path) -> None:
    desk = sliced(tmp_path)
    fail(desk)
    with desk.books() as books:
        charts = watch_charts(read_history(books, MODEL))
    assert any(chart.title.startswith("Watch 'where'") for chart in charts)


def test_a_backtest_finds_the_alarm_that_was(run: Run, tmp_path: Path) -> None:  # noqa: F811
    desk = sliced(tmp_path)
    fail(desk)
    policy = tmp_path / "tried.yaml"
    policy.write_text(policy_text(slices=["carrier"], watches={"where": WHERE}))
    said = run("backtest", str(policy), "--model", MODEL)
    assert said.code == 0, said.err
    assert "where: alarm on 2024-01-" in said.out


def test_slices_that_were_never_noted_cannot_be_tried_on_the_past(run: Run, tmp_path: Path) -> None:  # noqa: F811
    desk = Desk.ready(tmp_path / "s")
    fail(desk, days=3)
    policy = tmp_path / "tried.yaml"
    policy.write_text(policy_text(slices=["carrier"], watches={"where": WHERE}))
    said = run("backtest", str(policy), "--model", MODEL)
    assert said.code == 0, said.err
    assert "alarm on" not in said.out


# In the terminal.


def test_the_terminal_shows_the_worst_first(run: Run, tmp_path: Path) -> None:  # noqa: F811
    desk = sliced(tmp_path)
    fail(desk)
    said = run("slices", MODEL)
    lines = said.out.splitlines()
    assert said.code == 0
    assert lines[0].startswith("watch where: alarm, 5% false among alarms; 1 of 3 slices alarm: carrier=AA")
    assert lines[2].split()[:5] == ["carrier=AA", "alarm", "0.8", "0.12", "+0.7"]
    assert run("slices", MODEL, "--top", "1").out.splitlines()[-1] == "and 2 more"
    (watch,) = run("slices", MODEL, "--watch", "where", "--json").json["watches"]
    assert [each["slice"] for each in watch["slices"]] == ["carrier=AA", "carrier=UA", "carrier=B6"]
    assert "watch where: alarm (1 of 3 slices alarm: carrier=AA" in run("status", MODEL).out


def test_no_slices_cannot_be_asked_for(run: Run, tmp_path: Path) -> None:  # noqa: F811
    sliced(tmp_path)
    said = run("slices", MODEL, "--top", "0")
    assert said.code == 1
    assert "--top must be 1 or more, not 0" in said.err


def test_what_is_not_there_is_an_error_that_names_what_is(tmp_path: Path) -> None:
    desk = sliced(tmp_path)
    with desk.books() as books:
        with pytest.raises(UnknownName, match="where"):
            slices(books, MODEL, "wher")
        assert slices(books, MODEL)[0]["reason"] == "nothing was judged yet"
