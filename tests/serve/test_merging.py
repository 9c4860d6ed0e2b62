"""What waits together becomes few frames, and no row of it is lost or changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.facts import model_of
from lossloop.ledger.frames import Frame, Kind
from lossloop.serve import merging
from lossloop.serve.merging import Draft, Item, merged, size_of
from tests.ledger.samples import outcome_frame, prediction_frame, tick_frame


def draft(*ids: str, model: str = "m", time: int = 0, **columns: Any) -> Draft:
    """Predictions that came a row a request."""
    count = len(ids)
    given: dict[str, list[Any]] = {
        "id": list(ids), "version": [1] * count, "time": [time] * count, "y_pred": [0.5] * count,
        "unit": [None] * count, "role": ["champion"] * count, "propensity": [1.0] * count,
        "features": [None] * count, **columns,
    }  # fmt: skip
    return Draft(kind=Kind.PREDICTION, time=time, model=model, count=count, columns=given)


def labels(*ids: str, model: str = "m", reason: str | None = None) -> Draft:
    """Outcomes that came a row a request."""
    columns: dict[str, list[Any]] = {
        "id": list(ids),
        "y_true": [None] * len(ids),
        "time": [0] * len(ids),
        "reason": [reason] * len(ids),
    }
    return Draft(kind=Kind.OUTCOME, time=0, model=model, count=len(ids), columns=columns)


def merge(*items: Item) -> list[Frame]:
    return merged([(item, size_of(item)) for item in items])


def ids(frame: Frame) -> list[str]:
    return list(frame.batch.column("id").to_pylist())


def test_drafts_of_one_kind_and_model_are_one_frame() -> None:
    one, other = merge(draft("a", time=5), draft("b", "c", time=9), draft("z", model="n"), draft("d", time=7))
    assert (ids(one), model_of(one.batch), one.time) == (["a", "b", "c", "d"], "m", 9)
    assert (ids(other), model_of(other.batch)) == (["z"], "n")


def test_what_none_of_them_says_is_no_column() -> None:
    (plain,) = merge(draft("a"), draft("b"))
    assert plain.batch.schema.names == ["id", "version", "time", "y_pred"]
    (telling,) = merge(draft("a"), draft("b", unit=["ann"]), draft("c", role=["challenger"]))
    assert telling.batch.column("unit").to_pylist() == [None, "ann", None]
    assert telling.batch.column("role").to_pylist() == ["champion", "champion", "challenger"]


def test_outcomes_keep_their_reasons() -> None:
    (frame,) = merge(labels("a"), labels("b", reason="lost"))
    assert frame.batch.column("reason").to_pylist() == [None, "lost"]
    assert merge(labels("a"))[0].batch.schema.names == ["id", "y_true", "time"]


def test_frames_of_one_schema_are_one_frame_and_others_stay() -> None:
    items = [
        prediction_frame(["a"], time=3), outcome_frame({"a": 1.0}), prediction_frame(["b"], time=8),
        tick_frame(1), outcome_frame({"b": 0.0}), tick_frame(2), prediction_frame(["c"], [[0.5, 0.5]]),
        prediction_frame(["d"], model="n"),
    ]  # fmt: skip
    found = merge(*items)
    assert [(frame.kind, frame.batch.num_rows) for frame in found] == [
        (Kind.PREDICTION, 2), (Kind.OUTCOME, 2), (Kind.TICK, 1), (Kind.TICK, 1), (Kind.PREDICTION, 1),
        (Kind.PREDICTION, 1),
    ]  # fmt: skip
    assert (ids(found[0]), found[0].time) == (["a", "b"], 8)


def test_a_frame_alone_is_itself() -> None:
    frame = prediction_frame(["a"])
    assert merge(frame)[0] is frame
    assert merge() == []


def test_merged_frames_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_BYTES", 3 * size_of(draft("a")))
    assert [ids(frame) for frame in merge(*(draft(id) for id in "abcdefg"))] == [
        ["a", "b", "c"], ["d", "e", "f"], ["g"]
    ]  # fmt: skip
    monkeypatch.setattr(merging, "MOST_BYTES", 1)
    assert len(merge(prediction_frame(["a"]), prediction_frame(["b"]))) == 2


def test_the_size_of_a_draft_knows_its_features() -> None:
    assert size_of(draft("a", features=["x" * 10_000])) > 10_000


items = st.builds(
    lambda kind, model, number: (
        draft(number, model=model) if kind == 0
        else labels(number, model=model) if kind == 1
        else prediction_frame([number], model=model) if kind == 2
        else outcome_frame({number: 1.0}, model=model)
    ),
    st.integers(0, 3), st.sampled_from("mn"), st.uuids().map(str),
)  # fmt: skip


def rows(frames: list[Frame]) -> dict[tuple[Kind, str], list[str]]:
    found: dict[tuple[Kind, str], list[str]] = {}
    for frame in frames:
        found.setdefault((frame.kind, model_of(frame.batch)), []).extend(ids(frame))
    return found


@given(st.lists(items, max_size=12))
def test_no_row_is_lost_and_there_are_never_more_frames(given: list[Item]) -> None:
    found = merge(*given)
    alone = [frame for item in given for frame in merge(item)]
    assert {key: sorted(ids) for key, ids in rows(found).items()} == {
        key: sorted(ids) for key, ids in rows(alone).items()
    }
    assert len(found) <= min(len(given), 8)


def predicted(*xs: float | None, **features: list[str | None]) -> Draft:
    """Predictions that were made here."""
    made = draft(*map(str, xs))
    columns = {"x": np.array(xs, dtype=np.float64)}
    columns |= {name: np.array(values, dtype=object) for name, values in features.items()}
    return replace(made, columns={k: v for k, v in made.columns.items() if k != "features"}, features=columns)


def test_features_are_one_struct_below_the_other_and_null_where_there_are_none() -> None:
    (frame,) = merge(predicted(1.0, None, colour=["red", None]), predicted(2.0, colour=[""]))
    assert [str(each.type) for each in frame.batch.column("features").type] == ["double", "string"]
    assert frame.batch.column("features").to_pylist() == [
        {"x": 1.0, "colour": "red"}, {"x": None, "colour": None}, {"x": 2.0, "colour": ""}
    ]  # fmt: skip


def test_features_of_another_schema_are_a_frame_of_their_own() -> None:
    one, other = merge(predicted(1.0), predicted(2.0, colour=["red"]), predicted(3.0))
    assert (ids(one), ids(other)) == (["1.0", "3.0"], ["2.0"])


def test_features_have_a_size() -> None:
    assert size_of(predicted(1.0, colour=["r" * 1000])) > size_of(predicted(1.0, colour=["r"])) + 900
