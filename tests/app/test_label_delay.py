"""How late labels come, told from what the applier wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.app.cli import main
from lossloop.app.cli.labels import chart, summary
from lossloop.app.labels import label_delay
from lossloop.core.clock import DAY, HOUR
from lossloop.core.errors import InputError, UnknownName
from tests.app.desk import MODEL, START
from tests.app.past import Columns, Past

NOW = START + 100 * DAY
"""Where the clock of a Past stands."""


def predicted(rows: int, *, days: float, seed: int = 0, version: Any = 1) -> Columns:
    """Predictions made evenly over the last days."""
    at = NOW - np.linspace(days * DAY, 0.0, rows).astype(np.int64)
    return {
        "key_high": np.zeros(rows, np.uint64), "key_low": np.arange(1, rows + 1, dtype=np.uint64),
        "version": np.broadcast_to(np.asarray(version, np.int32), rows).copy(), "at": at, "time": at,
        "block": at // DAY * DAY, "y_pred": np.full(rows, 0.5),
    }  # fmt: skip


def labelled(rows: Columns, took: Any, until: int = NOW) -> Columns:
    """Labels that take so long, as many as have come by now, in the order in which they came."""
    came = rows["at"] + np.asarray(took, np.float64)
    seq = np.flatnonzero(came <= until)
    seq = seq[np.argsort(came[seq], kind="stable")]
    labels = np.zeros(len(seq))
    return {"seq": seq + 1, "y_true": labels, "judged": labels, "labelled_at": came[seq].astype(np.int64)}


def hours(rows: int, *, never: float = 0.0, seed: int = 0) -> Any:
    """Delays of an hour on average; some labels never come."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(rows) < never, np.inf, rng.exponential(HOUR, rows))


def told(past: Past, **asked: Any) -> dict[str, Any]:
    state = past.home.state()
    try:
        return label_delay(state, MODEL, **asked)
    finally:
        state.close()


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """Ten days of predictions, of which a tenth never gets a label; judged at 3 hours."""
    rows = predicted(20_000, days=10.0)
    found = Past.at(tmp_path / "s", labels={"mature_after": "3h", "missing": "worst_case"})
    return found.predicted(rows, cuts=(7_000, 7_001)).told(
        labelled(rows, hours(20_000, never=0.1)), cuts=(5,)
    )


def test_what_is_missing_is_counted_now_and_at_the_judging_age(past: Past) -> None:
    found = told(past)
    assert found["predictions"] == 20_000
    assert found["missing"] == pytest.approx(0.1, abs=0.02)
    judged = found["judged"]
    # By 3 means 5% of an exponential is still to come; and a tenth never comes.
    assert judged["share"] == pytest.approx(0.1 + 0.9 * math.exp(-3), abs=0.015)
    assert judged["bound"] == pytest.approx(judged["share"])  # the Brier score lies in [0, 1]
    assert judged["late"] == pytest.approx(0.9 * math.exp(-3) * 20_000, rel=0.1)
    assert judged["due"] == pytest.approx(20_000 * (1 - 3 / 240), rel=0.001)
    assert [each["version"] for each in judged["versions"]] == [1]


def test_the_age_that_is_recommended_is_that_of_the_labels_that_ever_come(past: Past) -> None:
    age = told(past)["mature_after"]
    assert age["in_force"] == "3h"
    assert age["from"] == "live"
    # 99% of exponential delays have come after ln(100) = 4.6 means.
    assert age["recommended"] == "5h"
    assert told(past, share=0.5)["mature_after"]["recommended"] == "45m"


def test_the_curve_has_the_ages_at_which_labels_come(past: Past) -> None:
    found = told(past)
    shares = {point["age"]: point["share"] for point in found["curve"]}
    assert shares["1h"] == pytest.approx(0.9 * (1 - math.exp(-1)), abs=0.02)
    assert shares["3h"] == pytest.approx(0.9 * (1 - math.exp(-3)), abs=0.02)
    assert list(shares.values()) == sorted(shares.values())
    assert "30d" not in shares


def test_a_tolerance_that_cannot_be_certified_is_warned_of(tmp_path: Path) -> None:
    rows = predicted(5_000, days=10.0, version=1 + np.arange(5_000) % 2)
    watch = {"kind": "regression", "tolerance": 0.02, "promise": "5% ever"}
    rollout = {"promote_if_within": 0.3, "roll_back_if_worse_by": 0.05}
    for missing, names in (("worst_case", ["watch w", "rollout.roll_back_if_worse_by"]),
                           ("same_in_both_arms", ["watch w"])):  # fmt: skip
        past = Past.at(
            tmp_path / missing, labels={"mature_after": "12h", "missing": missing}, rollout=rollout,
            policy_watches={"w": watch},
        )  # fmt: skip
        past.predicted(rows).told(labelled(rows, hours(5_000, never=0.1)))
        warnings = told(past)["judged"]["warnings"]
        assert [each.split(":")[0] for each in warnings] == names
        assert "wait longer" in warnings[0]


def test_an_absent_label_is_one_but_never_came(tmp_path: Path) -> None:
    rows = predicted(5_000, days=10.0)
    took = hours(5_000, never=0.4)
    rules = {"mature_after": "24h", "absent_means": 0, "after": "24h"}
    past = Past.at(tmp_path / "s", labels=rules).predicted(rows)
    past.told(labelled(rows, np.where(np.isinf(took), DAY, took)))
    found = told(past)
    assert found["absent"] == pytest.approx(0.4 * 0.9 * 5_000, rel=0.1)
    assert found["judged"]["missing"] == 0, "at the judging age absence was the label"
    assert found["missing"] < 0.1
    last = found["curve"][-1]["share"]
    assert last == pytest.approx(0.6, abs=0.02), "the curve is of labels that came"
    assert ", 1,8" in summary(found)[0] or " absent" in summary(found)[0]


def test_what_was_erased_or_failed_is_not_counted(tmp_path: Path) -> None:
    rows = {**predicted(1_000, days=10.0)}
    rows["key_low"] = np.where(np.arange(1_000) < 300, 0, rows["key_low"]).astype(np.uint64)
    rows["y_pred"] = np.where(np.arange(1_000) < 600, np.nan, 0.5)
    past = Past.at(tmp_path / "s").predicted(rows).told(labelled(rows, np.full(1_000, HOUR)))
    assert told(past)["predictions"] == 400


def test_before_anything_came_the_answer_says_so(tmp_path: Path) -> None:
    found = told(Past.at(tmp_path / "s"))
    assert found["predictions"] == 0
    assert found["missing"] is None
    assert found["horizon"] is None
    assert found["curve"] == []
    assert "not known yet" in found["mature_after"]["reason"]
    assert "has no predictions yet" in summary(found)[0]
    with pytest.raises(UnknownName):
        label_delay(Past.at(tmp_path / "t").home.state(), "other")


def test_none_has_reached_the_judging_age(tmp_path: Path) -> None:
    rows = predicted(500, days=0.1)
    past = Past.at(tmp_path / "s", labels={"mature_after": "30d"}).predicted(rows)
    found = told(past.told(labelled(rows, hours(500))))
    assert found["judged"]["due"] == 0
    assert found["judged"]["warnings"] == []
    assert any("None has reached the judging age of 30d" in str(line) for line in summary(found))
    shares = {point["age"]: point["share"] for point in found["curve"]}
    assert shares["30d"] is None
    assert chart(found).row_count == len(found["curve"])


def test_imported_history_recommends_where_nothing_came_live(tmp_path: Path) -> None:
    rows = predicted(5_000, days=60.0)
    past = Past.at(tmp_path / "s").imported(rows, labelled(rows, hours(5_000), until=NOW - 20 * DAY))
    found = told(past)
    assert found["predictions"] == 0
    assert found["mature_after"]["from"] == "imported"
    # The last that this history knows of is its last prediction: what came in the 20 days before is unknown.
    assert found["curve_of"] == "imported"
    with pytest.raises(InputError, match="share"):
        told(past, share=1.5)


def test_the_command_tells_people_and_programs(
    past: Past, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["lossloop", "labels", "delay", MODEL, "--state", str(past.home.path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert _ended(main) == 0
    out = capsys.readouterr().out
    assert "missing now" in out
    assert "is recommended: 0.99 of the labels that come within" in out
    assert "█" in out
    assert "judged" in out
    monkeypatch.setattr("sys.argv", [*arguments, "--json", "--share", "0.9"])
    assert _ended(main) == 0
    assert json.loads(capsys.readouterr().out)["mature_after"]["share"] == 0.9
    monkeypatch.setattr("sys.argv", [*arguments, "--share", "7"])
    assert _ended(main) == 1


def _ended(command: Any) -> int:
    try:
        command()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
