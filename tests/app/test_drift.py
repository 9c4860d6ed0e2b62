"""Watches of drift over a replay: inputs and answers against the champion's profile, without any outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.reading import status
from lossloop.core.errors import PolicyError
from lossloop.core.profile import Profile
from lossloop.judges import profile_of
from lossloop.ledger.facts import predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.registry import Manifest
from tests.app.desk import DAY, MODEL, Desk, moment, ticked

ROWS = {"kind": "drift", "promise": "1 per 100,000 predictions"}
BLOCKS = {"kind": "drift", "promise": "1 per 3650 blocks", "features": "all"}
ANSWERS = {"kind": "prediction_shift", "promise": "1 per 100,000 predictions"}


def inputs(rng: np.random.Generator, rows: int, *, age: float = 40.0, joined: float = 0.0) -> dict[str, Any]:
    """An age, a height that may go with it, and a plan."""
    one, other = rng.normal(size=(2, rows))
    return {
        "age": (age + 10.0 * one).tolist(),
        "height": (170.0 + 8.0 * (joined * one + (1.0 - joined**2) ** 0.5 * other)).tolist(),
        "plan": rng.choice(["free", "pro", "team"], rows, p=[0.6, 0.3, 0.1]).tolist(),
    }


def profile(*, rows: int = 4000, joint: bool = True, answers: bool = True, block: str = "1d") -> Profile:
    rng = np.random.default_rng(0)
    return profile_of(
        inputs(rng, rows), blocks=np.arange(rows) // 100, block=block, joint=joint,
        predictions=rng.random(rows) if answers else None,
    )  # fmt: skip


PROFILE = profile()


def version(made: Profile | None = PROFILE, notes: str = "") -> Manifest:
    return Manifest(runtime="external", profile=made, notes=notes)


def sent(
    desk: Desk, hour: float, features: Any, y_pred: list[float], *, version: int = 1, **more: Any
) -> Frame:
    """Predictions with features: columns of a struct, JSON texts, or None."""
    ids = more.get("ids") or desk.ids(len(y_pred))
    if isinstance(features, dict):
        features = pa.StructArray.from_arrays(list(map(pa.array, features.values())), list(features))
    batch = predictions(
        {
            "id": ids, "version": [version] * len(ids),
            "time": [moment(hour) + place for place in range(len(ids))],
            "unit": [None] * len(ids), "role": [more.get("role", "champion")] * len(ids),
            "propensity": [1.0] * len(ids), "y_pred": y_pred, "shadow_version": [None] * len(ids),
            "shadow_y_pred": [None] * len(ids), "content": [id.encode() for id in ids], "features": features,
        },
        model=MODEL,
    )  # fmt: skip
    return Frame(kind=Kind.PREDICTION, time=0, batch=batch)


def watched(path: Path, *, manifest: Manifest | None = None, **watches: Any) -> Desk:
    """A champion with a profile, under some watches."""
    desk = Desk.at(path / "s")
    desk.send(ticked(0))
    desk.policy()
    assert operate.register(desk.home, MODEL, manifest or version()).ok
    desk.obey(Promote(model=MODEL, version=1))
    desk.policy(watches=watches, on={name: [{"notify": "log"}] for name in watches})
    return desk


def verdict(desk: Desk, name: str) -> dict[str, Any]:
    with desk.books() as books:
        found: dict[str, Any] = status(books, MODEL)["watches"][name]
        return found


def answers(rng: np.random.Generator, rows: int, *, power: float = 1.0) -> list[float]:
    return [float(number) for number in rng.random(rows) ** power]


def test_rows_are_judged_as_they_arrive_and_what_moved_is_named(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, inputs=ROWS, answers=ANSWERS), np.random.default_rng(1)
    desk.send(*(sent(desk, hour, inputs(rng, 250), answers(rng, 250)) for hour in range(1, 9)))
    quiet = verdict(desk, "inputs")
    assert (quiet["kind"], quiet["count"], verdict(desk, "answers")["kind"]) == ("healthy", 2000, "healthy")
    assert desk.told() == []
    desk.send(*(sent(desk, hour, inputs(rng, 250, age=48.0), answers(rng, 250)) for hour in range(9, 13)))
    found = verdict(desk, "inputs")
    assert found["kind"] == "alarm"
    assert "age: " in found["reason"]
    assert "height" not in found["reason"]
    assert found["promise"] == "1 per 100,000 predictions"
    assert "whether the loss has changed" in found["cannot_see"]
    assert desk.told() == [("notify", "done")]
    assert verdict(desk, "answers")["kind"] == "healthy"


def test_answers_are_judged_without_any_feature(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, inputs=ROWS, answers=ANSWERS), np.random.default_rng(2)
    desk.send(*(sent(desk, hour, None, answers(rng, 250, power=2.0)) for hour in range(1, 5)))
    found = verdict(desk, "answers")
    assert found["kind"] == "alarm"
    assert "y_pred: " in found["reason"]
    silent = verdict(desk, "inputs")
    assert (silent["kind"], silent["count"]) == ("no_data", 0)


def test_blocks_are_judged_once_they_are_over(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, inputs=BLOCKS), np.random.default_rng(3)
    for day in range(10):
        desk.send(
            *(sent(desk, DAY * day + hour, inputs(rng, 50), answers(rng, 50)) for hour in (1, 9)),
            ticked(DAY * (day + 1)),
        )
    assert (verdict(desk, "inputs")["kind"], verdict(desk, "inputs")["count"]) == ("healthy", 10)
    assert [point.rows for point in desk.points("inputs")] == [100] * 10
    for day in range(10, 40):
        desk.send(sent(desk, DAY * day + 1, inputs(rng, 100, age=48.0), answers(rng, 100)))
        if verdict(desk, "inputs")["kind"] == "alarm":
            break
    found = verdict(desk, "inputs")
    assert found["kind"] == "alarm"
    assert found["count"] < 30
    assert "age: " in found["reason"]


def test_a_joint_change_is_seen_by_a_joint_watch_only(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, alone=ROWS, jointly={**ROWS, "joint": True}), np.random.default_rng(4)
    desk.send(*(sent(desk, hour, inputs(rng, 500), answers(rng, 500)) for hour in range(1, 3)))
    desk.send(*(sent(desk, hour, inputs(rng, 500, joined=0.8), answers(rng, 500)) for hour in range(3, 9)))
    assert verdict(desk, "alone")["kind"] == "healthy"
    found = verdict(desk, "jointly")
    assert found["kind"] == "alarm"
    assert "features go together differently" in found["reason"]


def test_features_sent_as_json_are_read_as_those_of_a_struct(tmp_path: Path) -> None:
    """Text, numbers, nothing at all: what does not look like the reference's kind is missing."""
    rng = np.random.default_rng(5)
    found = inputs(rng, 300)
    rows = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    one, other = (watched(tmp_path / name, inputs={**ROWS, "promise": "5% once"}) for name in ("a", "b"))
    judged = []
    for desk, features in ((one, found), (other, [json.dumps(row) for row in rows])):
        desk.policy(watches={"inputs": ROWS})
        desk.send(sent(desk, 1, features, answers(np.random.default_rng(6), 300)))
        judged.append(verdict(desk, "inputs")["evidence"])
    assert judged[0] == judged[1]
    odd = ["[1]", "no json", json.dumps({"age": 10**400, "plan": ["pro"]}), None]
    other.send(sent(other, 1.5, odd, [0.1] * 4))
    mixed = [json.dumps({"age": "old", "plan": 3}), json.dumps({}), json.dumps({"age": True, "height": None})]
    other.send(sent(other, 2, mixed, [0.1, 0.2, 0.3]))
    found["plan"] = pa.array(found["plan"]).dictionary_encode()
    found["age"] = pa.array(["text"] * 300)  # of another kind than the reference's: missing
    other.send(sent(other, 3, {name: found[name] for name in ("plan", "age")}, answers(rng, 300)))
    assert "missing values" in verdict(other, "inputs")["reason"]


def test_what_is_sent_twice_counts_once_and_challengers_do_not_count(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, inputs=ROWS), np.random.default_rng(7)
    frame = sent(desk, 1, inputs(rng, 250), answers(rng, 250))
    desk.send(frame, frame)
    other = sent(desk, 2, inputs(rng, 250, age=90.0), answers(rng, 250), version=2, role="challenger")
    desk.send(other)
    found = verdict(desk, "inputs")
    assert (found["kind"], found["count"]) == ("healthy", 200)


@pytest.mark.parametrize("watch", [ROWS, BLOCKS, {**ROWS, "joint": True}], ids=["rows", "blocks", "joint"])
def test_a_rebuild_finds_the_same_bits(tmp_path: Path, watch: dict[str, Any]) -> None:
    desk, rng = watched(tmp_path, inputs=watch, answers=ANSWERS), np.random.default_rng(8)
    for day in range(4):
        desk.send(sent(desk, DAY * day + 1, inputs(rng, 170), answers(rng, 170)), ticked(DAY * (day + 1)))
    before = desk.everything()
    for path in desk.home.path.glob("state.db*"):
        path.unlink()
    desk.fold()
    assert desk.everything() == before


def test_the_watch_begins_anew_with_a_new_champion_and_its_profile(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, inputs=ROWS), np.random.default_rng(9)
    desk.send(*(sent(desk, hour, inputs(rng, 250, age=48.0), answers(rng, 250)) for hour in range(1, 5)))
    assert verdict(desk, "inputs")["kind"] == "alarm"
    older = profile_of(inputs(rng, 4000, age=48.0), blocks=np.arange(4000) // 100)
    assert operate.register(desk.home, MODEL, version(older)).ok
    desk.obey(Promote(model=MODEL, version=2))
    desk.send(
        *(sent(desk, hour, inputs(rng, 250, age=48.0), answers(rng, 250), version=2) for hour in range(5, 9))
    )
    found = verdict(desk, "inputs")
    assert (found["kind"], found["count"]) == ("healthy", 1000)


@pytest.mark.parametrize(
    ("made", "watch", "message"),
    [
        (None, ROWS, r"m:1 has no profile .* lossloop.profile_of"),
        (profile(block="1h"), BLOCKS, "over blocks of 1h, the policy's are of 1d"),
        (PROFILE, {**BLOCKS, "joint": True}, "joint drift is judged by row"),
        (profile(joint=False), {**ROWS, "joint": True}, "holds no rows"),
        (PROFILE, {**ROWS, "features": ["agee"]}, "unknown feature 'agee'"),
        (profile(answers=False), ANSWERS, "says nothing about predictions"),
        (profile_of({}, predictions=[0.1, 0.2], blocks=[0, 1]), ROWS, "says nothing about features"),
    ],
)
def test_a_profile_that_cannot_carry_the_watch_is_refused(
    tmp_path: Path, made: Profile | None, watch: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        watched(tmp_path, manifest=version(made), inputs=watch)


@pytest.mark.parametrize(
    ("watch", "message"),
    [
        ({**ROWS, "tolerance": 0}, "above 0 and below 1"),
        ({**ROWS, "tolerance": 1.5}, "above 0 and below 1"),
        ({**ROWS, "features": "some"}, "write all, or a list"),
        ({**ROWS, "features": []}, "write all, or a list"),
        ({**ROWS, "features": ["age", "age"]}, "names one twice"),
        ({**ROWS, "joint": "yes"}, "true or false"),
        ({**ANSWERS, "features": "all"}, "unknown key 'features'"),
    ],
)
def test_impossible_watches_are_refused_with_their_place(
    tmp_path: Path, watch: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        watched(tmp_path, inputs=watch)


def test_names_that_no_profile_knows_cost_nothing(tmp_path: Path) -> None:
    """Each row brings a name of its own: as columns these would be 10^10 values."""
    desk = watched(tmp_path, inputs=ROWS)
    rows = [json.dumps({"age": 40.0, f"noise{place}": place}) for place in range(100_000)]
    desk.send(sent(desk, 1, rows, [0.5] * len(rows)))
    assert verdict(desk, "inputs")["count"] == 100_000


def test_some_features_can_be_named(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, inputs={**ROWS, "features": ["plan", "height"]}), np.random.default_rng(10)
    desk.send(*(sent(desk, hour, inputs(rng, 250, age=90.0), answers(rng, 250)) for hour in range(1, 5)))
    assert verdict(desk, "inputs")["kind"] == "healthy"


def test_a_manifest_with_a_profile_goes_through_json() -> None:
    manifest = version()
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest
    assert "profile" not in json.loads(msgspec.json.encode(version(None)))
