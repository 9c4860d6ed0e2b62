"""Why the loss moved: over a replay whose causes are known."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.app.books import Point
from lossloop.app.cli import main
from lossloop.app.why import Question, asking, why
from lossloop.app.why.bins import by_block, cut
from lossloop.app.why.periods import rise
from lossloop.app.why.weights import ratios
from lossloop.core.errors import InputError
from lossloop.ledger.facts import predictions
from lossloop.ledger.frames import Frame, Kind
from tests.app.desk import DAY, MODEL, WATCH, Desk, happened, moment, ticked

ROWS = 60
DAYS = 16
TURN = 8
"""From this day on something is different."""


def day(desk: Desk, number: int, place: list[str], size: list[float], losses: list[float]) -> None:
    """A day of predictions with two features; the outcomes come an hour later."""
    ids, hour = desk.ids(len(losses)), number * DAY + 8
    features = [{"place": where, "size": much} for where, much in zip(place, size, strict=True)]
    batch = predictions(
        {
            "id": ids, "version": [1] * len(ids), "time": [moment(hour) + row for row in range(len(ids))],
            "y_pred": [loss**0.5 for loss in losses], "features": features,
        },
        model=MODEL,
    )  # fmt: skip
    desk.send(
        Frame(kind=Kind.PREDICTION, time=0, batch=batch), happened(hour + 1, ids), ticked(number * DAY + 31)
    )


def replay(path: Path, loss_of: Callable[[bool, str, float], float], share: tuple[float, float]) -> Desk:
    """Days of which `share` of the rows are at place b, before and after the turn."""
    random = np.random.default_rng(7)
    desk = Desk.ready(path / "s", watches={"worse": WATCH})
    for number in range(DAYS):
        late = number >= TURN
        place = np.where(random.random(ROWS) < share[late], "b", "a").tolist()
        size = random.uniform(0, 10, ROWS).round(3).tolist()
        shock = random.normal(0.0, 0.005)
        losses = [
            min(0.99, max(0.0, loss_of(late, where, much) + shock + random.normal(0.0, 0.01)))
            for where, much in zip(place, size, strict=True)
        ]
        day(desk, number, place, size, losses)
    return desk


@pytest.fixture(scope="module")
def answers_changed(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """At place b, a third of all rows, the loss rises from .1 to .5; nothing else changes."""
    path = tmp_path_factory.mktemp("answers")
    return replay(path, lambda late, where, much: 0.5 if late and where == "b" else 0.1, (1 / 3, 1 / 3))


@pytest.fixture(scope="module")
def inputs_changed(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """At place b the loss is .4 and elsewhere .05; its share rises from .15 to .6."""
    path = tmp_path_factory.mktemp("inputs")
    return replay(path, lambda late, where, much: 0.4 if where == "b" else 0.05, (0.15, 0.6))


def test_the_slice_that_got_worse_is_named_and_the_answers_are_blamed(answers_changed: Desk) -> None:
    found = why(answers_changed.home, Question(model=MODEL, watch="worse"))
    assert found.slices[0].slice == "place=b"
    assert found.slices[0].share_of_change == pytest.approx(1.0, abs=0.1)
    assert found.slices[0].found.within > 5 * abs(found.slices[0].found.mix)
    assert found.split.cause == "answers"
    assert found.split.answers is not None
    assert found.split.answers.estimate == pytest.approx(0.133, abs=0.03)
    assert found.told_apart == pytest.approx(0.5, abs=0.1)
    assert not any(move.moved for move in found.features)
    assert "comes from place=b, which is" in found.sentence
    assert found.after[0].startswith("2024-01-09"), "where the rise began, not where the alarm was"


def test_more_rows_of_a_hard_place_are_inputs_and_not_answers(inputs_changed: Desk) -> None:
    found = why(inputs_changed.home, Question(model=MODEL))
    assert found.split.cause == "inputs"
    assert found.split.inputs is not None
    assert found.split.inputs.estimate == pytest.approx(0.157, abs=0.03)
    assert [move.feature for move in found.features if move.moved] == ["place"]
    assert "What moved most among the inputs: place." in found.sentence


def test_of_many_rows_some_are_drawn_which_is_said(
    answers_changed: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MOST_READ", 200)
    monkeypatch.setattr("sys.argv", ["lossloop", "why", MODEL, "--state", str(answers_changed.home.path)])
    with contextlib.suppress(SystemExit):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert "480 outcomes in 8 blocks, of which 200 were drawn at random and looked at" in said
    assert "place=b, which is" in said
    found = why(answers_changed.home, Question(model=MODEL, watch="worse"))
    assert found.rows[0] == 200 < found.there[0] == 8 * ROWS
    assert found.slices[0].slice == "place=b"
    assert sum(part.found.total.estimate for part in found.slices if part.feature == "place") == (
        pytest.approx(found.change.difference.estimate)
    )


def test_a_time_may_be_named_instead_of_an_alarm(answers_changed: Desk) -> None:
    calm = Question(model=MODEL, since="2024-01-05", until="2024-01-09", against="2024-01-01")
    found = why(answers_changed.home, calm)
    assert found.blocks == (4, 4)
    assert "too few blocks to say what they vary by" in found.sentence
    assert all(each.share_of_change is None for each in found.slices)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"watch": "wrose"}, "'wrose'; did you mean"),
        ({"since": "2024-01-05", "until": "2024-01-04"}, "the times must follow each other"),
        ({"since": "2030-01-05", "until": "2030-01-09"}, "no predictions of a champion|has a loss"),
        ({"since": "soon"}, "write a moment such as"),
    ],
)
def test_what_cannot_be_asked_is_said(answers_changed: Desk, question: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        why(answers_changed.home, Question(model=MODEL, **question))


def test_without_an_alarm_a_time_is_needed(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"worse": WATCH})
    for number in range(3):
        desk.day(number, 0.1)
    with pytest.raises(InputError, match="no watch on the mean loss has alarmed"):
        why(desk.home, Question(model=MODEL))


def test_without_features_slices_are_none_and_the_rest_is_said(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"worse": WATCH})
    for number in range(14):
        desk.day(number, 0.1 if number < 7 else 0.9)
    found = why(desk.home, Question(model=MODEL))
    assert (found.slices, found.told_apart) == ((), None)
    assert "cannot be told: no features were sent with these predictions" in found.sentence


def test_the_command_says_it_in_a_sentence_and_in_json(
    answers_changed: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for more in ([], ["--json"]):
        arguments = ["lossloop", "why", MODEL, "--state", str(answers_changed.home.path), *more]
        monkeypatch.setattr("sys.argv", arguments)
        with contextlib.suppress(SystemExit):
            main()
        said = capsys.readouterr().out
        if more:
            found = json.loads(said)
            assert found["split"]["cause"] == "answers"
            assert found["slices"][0]["found"]["total"]["low"] > 0
        else:
            assert said.startswith("The mean loss of m rose from 0.")
            assert "place=b" in said


def test_a_rise_begins_where_the_losses_left_their_limit() -> None:
    means = [0.1, 0.2, 0.1, 0.1, 0.4, 0.2, 0.5, 0.5]
    points = [
        Point(at=number, watch="w", version=1, kind="alarm" if number > 5 else "healthy", evidence=0.0,
              threshold=1.0, mean=mean)
        for number, mean in enumerate(means)
    ]  # fmt: skip
    assert rise(points, 0.15) == (3, 7)
    assert rise(points[:6], 0.15) is None


def test_features_are_cut_into_slices_that_can_be_read() -> None:
    values = np.array(["x"] * 70 + [f"v{n}" for n in range(60)] + [None], dtype=object)
    numbers = np.concatenate((np.zeros(120), np.arange(1.0, 11.0), [np.nan]))
    few = np.array([0.0, 1.0] * 65 + [np.nan])
    same = np.full(131, 3.0)
    cuts = {each.feature: each for each in cut({"v": values, "n": numbers, "few": few, "same": same})}
    assert set(cuts) == {"v", "n", "few"}
    assert cuts["v"].labels[0] == "v=x"
    assert cuts["v"].labels[-2:] == ["v is another", "v is none"]
    assert cuts["n"].labels == ["n below 1", "n 1 or more", "n is none"]
    assert np.bincount(cuts["n"].codes).tolist() == [120, 10, 1]
    assert cuts["few"].labels == ["few=0", "few=1", "few is none"]
    blocks = np.arange(131) % 3
    assert by_block(cuts["n"].codes, blocks, 3).sum(axis=0).tolist() == [120.0, 10.0, 1.0]


def test_weights_turn_one_mix_into_another() -> None:
    random = np.random.default_rng(8)
    old, new = random.random(4000) < 0.3, random.random(4000) < 0.6
    blocks = np.arange(4000) % 20
    found = ratios({"x": old.astype(float)}, {"x": new.astype(float)}, (blocks, blocks))
    assert (found.weights * old).sum() / found.weights.sum() == pytest.approx(0.6, abs=0.03)
    assert found.unseen == 0.0
    apart = ratios({"x": np.zeros(400)}, {"x": np.ones(400)}, (blocks[:400], blocks[:400]))
    assert (apart.unseen, apart.told_apart) == (1.0, 1.0)
