"""What an outcome may be: a number, a class, a vector, a ranking, absent, or missing with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.app.reading import status
from lossloop.app.reasons import MOST_REASONS, OTHER
from lossloop.core.errors import PolicyError
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from tests.app.desk import MODEL, WATCH, Desk, asked, happened, moment, ticked

NEVER_CAME = {"mature_after": "30h", "absent_means": 0, "after": "24h"}


def said(hour: float, ids: Sequence[str], y_pred: Sequence[Any]) -> Frame:
    columns = {
        "id": list(ids), "version": [1] * len(ids), "time": [moment(hour)] * len(ids), "y_pred": list(y_pred),
    }  # fmt: skip
    return Frame(kind=Kind.PREDICTION, time=0, batch=predictions(columns, model=MODEL))


def came(
    hour: float, ids: Sequence[str], y_true: Sequence[Any], *, reasons: Sequence[str | None] | None = None
) -> Frame:
    batch = outcomes(list(ids), list(y_true), [moment(hour)] * len(ids), reasons, model=MODEL)
    return Frame(kind=Kind.OUTCOME, time=0, batch=batch)


def shown(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        return status(books, MODEL)


def mean(desk: Desk) -> Any:
    """How many losses are shown, and their mean."""
    (row,) = shown(desk)["losses"]
    return row["outcomes"], row["mean"]


# Vectors and rankings.


def test_vectors_are_judged_component_by_component(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", task="vector", loss="vector_squared")
    desk.send(said(8, "ab", [[1.0, 2.0], [0.0, 0.0]]), came(9, "ab", [[1.0, 4.0], [3.0, 1.0]]))
    assert mean(desk) == (2, pytest.approx((2.0 + 5.0) / 2))
    desk.send(came(10, "a", [[1.0, 2.0]]))
    assert mean(desk) == (2, pytest.approx(2.5)), "a correction takes the old loss away"
    desk.send(came(11, "a", [[1.0, 2.0]]))
    assert shown(desk)["counts"] == {**shown(desk)["counts"], "outcomes": 2, "corrections": 1, "repeats": 1}


def test_rankings_of_any_length_are_judged_together(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", task="ranking", loss="one_minus_ndcg")
    desk.send(said(8, "ab", [[0.9, 0.1], [0.3, 0.2, 0.1]]), came(9, "ab", [[0, 1], [3, 2, 0]]))
    assert mean(desk) == (2, pytest.approx((1 - 1 / np.log2(3)) / 2))


def test_a_label_of_another_length_than_its_prediction_stops_nothing(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", task="vector", loss="vector_squared")
    desk.send(said(8, "abc", [[1.0, 2.0], [0.0], [3.0]]), came(9, "abc", [[1.0], [1.0], [3.0, 3.0]]))
    assert mean(desk) == (1, pytest.approx(1.0))


def test_an_interval_is_judged_by_one_number(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", task="distribution", loss="winkler(level=0.5)")
    desk.send(said(8, "abc", [[0.0, 2.0], [0.0, 2.0], [2.0, 0.0]]), came(9, "abc", [1.0, 3.0, 1.0]))
    assert mean(desk) == (2, pytest.approx((2.0 + 6.0) / 2)), (
        "an interval that ends before it begins has none"
    )


@pytest.mark.parametrize("columns", [1, 3])
def test_survival_is_judged_by_time_and_event(tmp_path: Path, columns: int) -> None:
    """A label has two numbers, whether there are fewer or more horizons."""
    horizons = ", ".join(map(str, (10, 20, 30)[:columns])) + ("," if columns == 1 else "")
    desk = Desk.ready(tmp_path / "s", task="survival", loss=f"integrated_brier(horizons=({horizons}))")
    desk.send(said(8, "ab", [[0.5] * columns, [0.9] * columns]), came(9, "ab", [[5.0, 1.0], [40.0, 0.0]]))
    assert mean(desk) == (2, pytest.approx((0.25 + 0.01) / 2))
    desk.send(came(10, "a", [[5.0, 0.0]]))
    assert mean(desk) == (2, pytest.approx(0.01 / 2)), "it was lost sight of, and not dead"


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        ("distribution", "integrated_brier"), ("survival", "winkler"), ("vector", "winkler"),
        ("distribution", "brier_multiclass"), ("regression", "crps_ensemble"),
        ("ranking", "integrated_brier"),
    ],
)  # fmt: skip
def test_a_loss_of_another_kind_is_refused(tmp_path: Path, task: str, loss: str) -> None:
    with pytest.raises(PolicyError, match="task does not predict"):
        Desk.ready(tmp_path / "s", task=task, loss=loss)


# Absence.


def test_where_absence_is_the_label_it_comes_by_itself(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", labels=NEVER_CAME)
    ids = desk.ids(3)
    desk.send(asked(8, [0.25, 0.25, 0.25], ids), happened(9, ids[:1], 1.0), ticked(31))
    assert mean(desk) == (1, pytest.approx(0.25)), "an hour is left"
    desk.send(ticked(33))
    assert mean(desk) == (3, pytest.approx(0.25))
    counts = shown(desk)["counts"]
    assert (counts["outcomes"], counts["absent"]) == (1, 2)


def test_what_came_after_all_corrects_the_absence(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", labels=NEVER_CAME)
    ids = desk.ids(2)
    desk.send(asked(8, [0.04, 0.04], ids), ticked(33))
    assert mean(desk) == (2, pytest.approx(0.04))
    desk.send(happened(200, ids[:1], 1.0))
    assert mean(desk) == (2, pytest.approx((0.64 + 0.04) / 2))
    assert shown(desk)["counts"]["corrections"] == 1


def test_absence_is_judged_like_any_outcome(tmp_path: Path) -> None:
    """A missing label would count as the least loss; one that is known to be 0 counts as what it costs."""
    desk = Desk.ready(
        tmp_path / "s", labels={**NEVER_CAME, "missing": "worst_case"}, watches={"worse": WATCH}
    )
    for day in range(12):
        desk.send(asked(24 * day + 8, [0.9] * 4, desk.ids(4)), ticked(24 * day + 23))
    desk.send(ticked(24 * 14))
    points = desk.points("worse")
    assert [point.labelled for point in points] == [4] * 12
    assert [point.mean for point in points] == [pytest.approx(0.9)] * 12


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"mature_after": "6h", "absent_means": 0}, "needs the key 'after' beside it"),
        ({"mature_after": "6h", "after": "5h"}, "needs the key 'absent_means' beside it"),
        ({"mature_after": "6h", "absent_means": 0, "after": "7h"}, "not beyond mature_after"),
        ({"mature_after": "6h", "absent_means": 2, "after": "5h"}, "0 or 1, not 2"),
    ],
)
def test_an_impossible_absence_is_refused(tmp_path: Path, labels: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        Desk.ready(tmp_path / "s", labels=labels)


# Missing, and why.


def test_outcomes_that_will_never_come_are_counted_by_their_reason(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    ids = desk.ids(4)
    reasons = ["cancelled", "cancelled", None, "diverted"]
    desk.send(asked(8, [0.25] * 4, ids), came(9, ids, [None] * 4, reasons=reasons))
    assert shown(desk)["missing"] == {"cancelled": 2, "diverted": 1}
    desk.send(came(10, ids[:1], [None], reasons=["cancelled"]))
    assert shown(desk)["missing"]["cancelled"] == 2, "said again, it counts once"
    assert shown(desk)["counts"]["repeats"] == 1
    assert shown(desk)["losses"][0]["outcomes"] == 0


def test_a_sender_cannot_fill_the_state_with_reasons(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    many = MOST_REASONS + 50
    ids = desk.ids(many)
    desk.send(came(9, ids, [None] * many, reasons=[f"because {number:03d}" for number in range(many)]))
    missing = shown(desk)["missing"]
    assert len(missing) == MOST_REASONS + 1
    assert missing[OTHER] == 50
    assert sum(missing.values()) == many
