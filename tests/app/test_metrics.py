"""Metrics over history: as scikit-learn counts the same rows, by version and slice, however it is cut."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as scores

from lossloop.app.metrics import Answer, Figure, Question, measure
from lossloop.core.errors import InputError, UnknownName
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.pipelines.executors import EmbeddedExecutor
from tests.app.desk import MODEL, Desk, moment
from tests.app.past import Past, labels, rows

DAYS = 8


def ask(past: Past | Desk, **given: Any) -> Answer:
    with EmbeddedExecutor(workers=2) as executor:
        return measure(past.home, Question(model=MODEL, **given), executor)


def still(answer: Answer) -> dict[str, Any]:
    return {**answer.plain(), "seconds": None}


def value(figure: Figure, name: str) -> float:
    found = figure.metrics[name].value
    assert found is not None
    return found


def drawn(count: int = 1600, seed: int = 6) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    chance = draw.random(count)
    return chance, (draw.random(count) < chance).astype(float)


def of_days(path: Path, *, cuts: Any = (), seed: int = 6, **policy: Any) -> Past:
    """Two versions over eight days; every tenth outcome is missing."""
    chance, true = drawn(seed=seed)
    count = len(chance)
    past = Past.at(path, **policy)
    past.predicted(rows(chance, version=1 + np.arange(count) % 2, day=np.arange(count) * DAYS // count), cuts)
    known = np.flatnonzero(np.arange(count) % 10 != 9)
    return past.told(labels(known + 1, true[known]), cuts)


# Against the rows themselves.


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_metrics_are_those_of_the_labelled_rows(tmp_path: Path, threshold: float) -> None:
    chance, true = drawn()
    found = ask(of_days(tmp_path / "s"), threshold=threshold)
    assert (found.task, found.threshold, found.gone) == ("binary", threshold, 0)
    assert [(each.version, each.role) for each in found.figures] == [(1, "champion"), (2, "champion")]
    for version, figure in enumerate(found.figures):
        mine = np.flatnonzero((np.arange(len(true)) % 10 != 9) & (np.arange(len(true)) % 2 == version))
        y, p = true[mine], chance[mine]
        said = p >= threshold
        assert (figure.rows, figure.labelled, figure.unmeasured, figure.over) == (800, len(y), 0, "blocks")
        assert figure.missing == pytest.approx(1 - len(y) / 800)
        assert value(figure, "accuracy") == pytest.approx(scores.accuracy_score(y, said))
        assert value(figure, "f1") == pytest.approx(scores.f1_score(y, said))
        assert value(figure, "precision") == pytest.approx(scores.precision_score(y, said))
        assert value(figure, "brier") == pytest.approx(scores.brier_score_loss(y, p))
        low, high = figure.metrics["auc"].between or (0, 0)
        assert low <= scores.roc_auc_score(y, p) <= high
        assert sum(each["rows"] for each in figure.detail) == len(y)


def test_figures_are_the_same_however_a_store_is_cut(tmp_path: Path) -> None:
    one = ask(of_days(tmp_path / "one"))
    other = ask(of_days(tmp_path / "other", cuts=[3, 700, 701, 1200]))
    assert still(one) == still(other)


def test_a_span_and_a_block_choose_rows(tmp_path: Path) -> None:
    past = of_days(tmp_path / "s")
    by_block = ask(past, by=("block",), since="2024-01-02", until="2024-01-05")
    assert [each.block for each in by_block.figures] == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert [each.rows for each in by_block.figures] == [200] * 3
    assert {each.over for each in by_block.figures} == {"rows"}, "one block says nothing of other blocks"
    (whole,) = ask(past, by=()).figures
    assert (whole.version, whole.role, whole.block, whole.rows) == (None, None, None, 1600)


def test_of_a_corrected_outcome_the_last_word_counts(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.9, 0.9])).told(labels([1, 2, 1], [1.0, 1.0, 0.0]))
    (found,) = ask(past).figures
    assert (found.labelled, value(found, "accuracy")) == (2, 0.5)


def test_what_was_erased_is_counted_and_not_measured(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([math.nan, 0.9])).told(labels([1, 2], [1.0, 1.0]))
    (found,) = ask(past).figures
    assert (found.rows, found.labelled, found.unmeasured, value(found, "accuracy")) == (2, 2, 1, 1.0)


def test_without_any_outcome_there_are_no_metrics_and_no_error(tmp_path: Path) -> None:
    (found,) = ask(Past.at(tmp_path / "s").predicted(rows([0.1, 0.9]))).figures
    assert (found.rows, found.labelled, found.missing) == (2, 0, 1.0)
    assert {each.value for each in found.metrics.values()} == {None}
    assert {each.interval for each in found.metrics.values()} == {None}


# Other tasks.


def test_classes(tmp_path: Path) -> None:
    """A model that got a third class has lists of two and of three; the shorter are filled up."""
    past = Past.at(tmp_path / "s", task="multiclass", loss="brier_multiclass")
    past.predicted(rows([[0.5, 0.5], [1.0, 0.0]])).predicted(rows([[0.2, 0.2, 0.6], [math.nan] * 3]))
    past.told(labels([1, 2, 3, 4], [0, 1, 2, 0]))
    (found,) = ask(past).figures
    assert (found.labelled, found.unmeasured) == (4, 1)
    assert value(found, "accuracy") == pytest.approx(2 / 3)
    assert value(found, "macro_f1") == pytest.approx(scores.f1_score([0, 1, 2], [0, 0, 2], average="macro"))
    assert [(each["label"], each["recall"]) for each in found.detail] == [(0, 1.0), (1, 0.0), (2, 1.0)]


def test_numbers(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s", task="regression", loss="squared")
    past.predicted(rows([10.0, 20.0, 1e200])).told(labels([1, 2, 3], [12.0, 16.0, 0.0]))
    (found,) = ask(past).figures
    assert found.unmeasured == 1
    said = {name: each.value for name, each in found.metrics.items()}
    assert said == pytest.approx(
        {"mae": 3, "rmse": math.sqrt(10), "bias": 1, "wape": 6 / 28, "r2": 1 - 20 / 8}
    )


def test_survival(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s", task="survival", loss="integrated_brier(horizons=(10, 20))")
    past.predicted(rows([[0.5, 0.1], [0.9, 0.8], [0.9, 0.7], [0.8, 0.6]]))
    past.told(labels([1, 2, 3, 4], [[1.0, 1.0], [2.0, 0.0], [4.0, 1.0], [8.0, 1.0]]))
    (found,) = ask(past).figures
    assert value(found, "concordance") == 0.75
    assert found.metrics["concordance"].between == (0.75, 0.75)


@pytest.mark.parametrize("task", ["vector", "ranking", "distribution"])
def test_a_task_without_such_metrics_says_so(tmp_path: Path, task: str) -> None:
    loss = {"vector": "vector_squared", "ranking": "one_minus_mrr", "distribution": "winkler"}[task]
    past = Past.at(tmp_path / "s", task=task, loss=loss)
    with pytest.raises(InputError, match=f"a {task} task has no metrics but its losses"):
        ask(past)


# Slices and gaps.


def carried() -> Iterator[tuple[list[str], Any, Any]]:
    """Six days of two carriers: of UA's late flights half as many are found. A third has a single flight."""
    draw = np.random.default_rng(3)
    for day in range(6):
        carriers = [*draw.choice(["AA", "UA"], 120, p=[0.6, 0.4]), *(["XX"] if day == 0 else [])]
        late = (draw.random(len(carriers)) < 0.5).astype(float)
        found = draw.random(len(carriers)) < np.where(np.array(carriers) == "UA", 0.4, 0.8)
        yield carriers, late, np.where((late == 1) & found, 0.9, 0.1)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk.ready(tmp_path_factory.mktemp("desk") / "s")
    for day, (carriers, late, chance) in enumerate(carried()):
        ids = desk.ids(len(carriers))
        told = pa.array([{"carrier": each} for each in carriers])
        columns = {"id": ids, "version": [1] * len(ids), "time": [moment(24 * day + 8)] * len(ids),
                   "y_pred": chance.tolist(), "features": told}  # fmt: skip
        came = outcomes(ids, late.tolist(), [moment(24 * day + 9)] * len(ids), None, model=MODEL)
        desk.send(
            Frame(kind=Kind.PREDICTION, time=0, batch=predictions(columns, model=MODEL)),
            Frame(kind=Kind.OUTCOME, time=0, batch=came),
        )
    return desk


def test_metrics_and_gaps_of_slices_are_scikit_learn_s(desk: Desk) -> None:
    carriers, late, chance = (np.concatenate(column) for column in zip(*carried(), strict=True))
    told = {each.slice: each for each in ask(desk, by=("carrier",)).figures}
    theirs: dict[str, dict[str, float]] = {}
    for name in ("AA", "UA"):
        y, p = late[carriers == name], chance[carriers == name]
        theirs[name] = {
            "accuracy": scores.accuracy_score(y, p >= 0.5),
            "precision": scores.precision_score(y, p >= 0.5),
            "recall": scores.recall_score(y, p >= 0.5),
            "f1": scores.f1_score(y, p >= 0.5),
            "auc": scores.roc_auc_score(y, p),
        }
        mine = told[f"carrier={name}"]
        assert {key: value(mine, key) for key in theirs[name]} == pytest.approx(theirs[name], abs=1e-9)
    for key, one in theirs["UA"].items():
        gap = told["carrier=UA"].metrics[key].gap
        assert gap is not None
        assert gap.low <= one - theirs["AA"][key] <= gap.high
        assert gap.estimate == pytest.approx(one - theirs["AA"][key], abs=0.01)


def test_a_gap_between_slices_has_an_interval(desk: Desk) -> None:
    found = ask(desk, by=("carrier",))
    assert (found.against, found.gap_level) == ("carrier=AA", 1 - 0.05 / 2)
    american, united, other = found.figures
    assert [each.slice for each in found.figures] == ["carrier=AA", "carrier=UA", "carrier=XX"]
    assert {each.gap for each in american.metrics.values()} == {None}
    gap = united.metrics["recall"].gap
    assert gap is not None
    assert gap.estimate == pytest.approx(value(united, "recall") - value(american, "recall"), abs=0.01)
    assert united.metrics["calibration_error"].gap is None, "fewer rows alone would make one"
    assert united.metrics["miscalibration"].gap is not None
    assert -0.6 < gap.low < gap.estimate < gap.high < -0.2
    assert gap.approximate
    even = united.metrics["positives"].gap
    assert even is not None
    assert even.low < 0 < even.high
    assert (other.labelled, other.metrics["accuracy"].gap) == (1, None), "a single row says nothing"


def test_gaps_may_be_to_any_slice(desk: Desk) -> None:
    one, other = ask(desk, by=("carrier",)), ask(desk, by=("carrier",), against="carrier=UA")
    gap, mirrored = one.figures[1].metrics["f1"].gap, other.figures[0].metrics["f1"].gap
    assert gap is not None
    assert mirrored is not None
    assert (mirrored.estimate, mirrored.low, mirrored.high) == pytest.approx(
        (-gap.estimate, -gap.high, -gap.low)
    )


def test_slices_stay_within_their_version(desk: Desk) -> None:
    found = ask(desk, by=("version", "carrier"))
    assert {each.version for each in found.figures} == {1}
    assert found.figures[1].metrics["recall"].gap is not None


def test_an_answer_is_json(desk: Desk) -> None:
    plain = ask(desk, by=("carrier",)).plain()
    read = json.loads(msgspec.json.encode(plain))
    assert read["figures"][0]["metrics"]["auc"].keys() == {"value", "interval", "gap", "between"}
    assert read["figures"][1]["metrics"]["recall"]["gap"]["level"] == 0.975
    assert read["figures"][0]["detail"][9]["rows"] > 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"by": ("carier",)}, "unknown feature 'carier'; did you mean 'carrier'"),
        ({"by": ("carrier",), "against": "carrier=ZZ"}, "unknown slice 'carrier=ZZ'"),
        ({"against": "carrier=AA"}, "there are no slices to compare; name a feature in --by"),
        ({"threshold": 1.5}, "a threshold lies between 0 and 1, not 1.5"),
        ({"threshold": math.nan}, "a threshold lies between 0 and 1, not nan"),
        ({"since": "2030-01-01"}, "m has no predictions from 2030-01-01T00:00:00Z"),
        ({"since": "yesterday"}, "write a moment such as"),
    ],
)
def test_what_cannot_be_measured_is_refused(desk: Desk, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ask(desk, **given)


def test_a_model_that_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(UnknownName, match="unknown model 'late'"), EmbeddedExecutor() as executor:
        measure(desk.home, Question(model="late"), executor)


def test_progress_is_told_by_pieces(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with EmbeddedExecutor() as executor:
        measure(
            of_days(tmp_path / "s").home, Question(model=MODEL), executor,
            progress=lambda done, of: told.append((done, of)),
        )  # fmt: skip
    assert told == [(1, 1)]
