"""The versions in memory follow the traffic; what cannot be loaded takes none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lossloop.core.errors import Conflict, UnknownName
from lossloop.core.tasks import Task
from lossloop.core.traffic import Arm, Traffic
from lossloop.ledger.sqlite.state import State
from lossloop.registry import Artifacts, Options, versions
from lossloop.serve.fleet import Fleet
from tests.serve.models import additive, manifest


class Place:
    """A state with versions, and a fleet over it."""

    def __init__(self, path: Path) -> None:
        self.state = State(path / "state.db")
        self.artifacts = Artifacts(path / "artifacts")
        self.fleet = Fleet(self.state, self.artifacts)

    def register(self, bias: float = 0.0, *, model: str = "m") -> int:
        name = self.artifacts.put(additive(bias))
        return versions.register(self.state, model, manifest(artifact=name), at=0).number

    def route(self, champion: int | None = None, challenger: int | None = None, *, model: str = "m") -> None:
        arms = () if challenger is None else (Arm(version=challenger),)
        traffic = Traffic(model=model, task=Task.REGRESSION, champion=champion, arms=arms)
        self.state.put("traffic", model, traffic)

    def follow(self) -> list[str]:
        """What the server does when the state has changed; the versions that it loads."""
        wanted = self.fleet.wanted()
        missing = self.fleet.missing(wanted)
        self.fleet.load(missing)
        self.fleet.swap(wanted)
        return [version.name for version, _ in missing]

    def champion(self, model: str = "m") -> str:
        return f"{model}:{self.fleet.arms(model).traffic.champion}"

    def challenger(self, model: str = "m") -> str | None:
        arms = self.fleet.arms(model)
        return f"{model}:{arms.traffic.challenger}" if arms.traffic.challenger in arms.lanes else None


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.state.close()


def test_only_what_traffic_asks_for_is_loaded_and_once(place: Place) -> None:
    for bias in (0.0, 1.0, 2.0):
        place.register(bias)
    place.route(1)
    assert place.follow() == ["m:1"]
    assert place.follow() == []
    place.route(1, 3)
    assert place.follow() == ["m:3"]
    assert place.champion() == "m:1"


def test_what_traffic_no_longer_asks_for_is_let_go(place: Place) -> None:
    place.register(0.0)
    place.register(1.0)
    place.route(1)
    place.follow()
    place.route(2)
    assert place.follow() == ["m:2"]
    assert place.champion() == "m:2"
    place.route(1)
    assert place.follow() == ["m:1"]


def test_nothing_changes_until_the_swap(place: Place) -> None:
    place.register(0.0)
    place.register(1.0)
    place.route(1)
    place.follow()
    place.route(2)
    place.fleet.load(place.fleet.missing(place.fleet.wanted()))
    assert place.champion() == "m:1"
    place.fleet.swap(place.fleet.wanted())
    assert place.champion() == "m:2"


def test_an_unknown_model_is_told_which_there_are(place: Place) -> None:
    with pytest.raises(UnknownName, match="unknown model 'm'; there are none yet") as caught:
        place.fleet.traffic("m")
    assert caught.value.field == "model"
    place.register(model="flight-delay")
    place.route(1, model="flight-delay")
    place.follow()
    with pytest.raises(UnknownName, match=r"unknown model 'flight-dealy'; did you mean 'flight-delay'\?"):
        place.fleet.traffic("flight-dealy")


def test_a_model_without_a_champion_says_what_to_run(place: Place) -> None:
    place.route(None)
    place.follow()
    with pytest.raises(Conflict, match="m has no champion yet; run: lossloop promote m VERSION"):
        place.champion()


def test_a_version_served_elsewhere_is_not_asked(place: Place) -> None:
    versions.register(place.state, "m", manifest(runtime="external"), at=0)
    place.register()
    place.route(1, 1)
    place.follow()
    with pytest.raises(
        Conflict, match="m:1 is served by another system; send its predictions to /v1/predictions"
    ):
        place.champion()


@pytest.mark.parametrize("damage", ["missing", "changed", "unreadable", "no model"])
def test_what_cannot_be_loaded_is_told_and_does_not_stop_the_others(
    place: Place, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.register(0.0)
    name = place.artifacts.put(b"not a model" if damage == "no model" else additive(5.0))
    versions.register(place.state, "m", manifest("broken", artifact=name), at=0)
    file = place.artifacts.directory / name
    if damage == "missing":
        file.unlink()
    elif damage == "changed":
        file.write_bytes(b"changed")
    elif damage == "unreadable":
        file.unlink()
        file.mkdir()
    place.route(1, 2)
    assert place.follow() == ["m:1", "m:2"]
    assert place.champion() == "m:1"
    assert place.challenger() is None
    assert "m:2 cannot be loaded: " in capsys.readouterr().err
    assert place.follow() == [], "it is not tried again and again"
    place.route(2)
    place.follow()
    with pytest.raises(Conflict, match="m:2 cannot be loaded: "):
        place.champion()


def test_a_challenger_answers_where_there_is_one(place: Place) -> None:
    place.register(0.0)
    place.register(1.0)
    place.route(1)
    place.follow()
    assert place.challenger() is None
    place.route(1, 2)
    place.follow()
    assert place.challenger() == "m:2"


def test_traffic_that_has_not_changed_keeps_its_arms(place: Place) -> None:
    place.register()
    place.register(1.0, model="n")
    place.route(1)
    place.route(1, model="n")
    place.follow()
    before = place.fleet.arms("m")
    place.register(2.0, model="n")
    place.route(2, model="n")
    place.follow()
    assert place.fleet.arms("m") is before


def test_the_champion_before_answers_for_one_that_cannot_be_loaded(place: Place) -> None:
    place.register()
    place.route(1)
    place.follow()
    versions.register(place.state, "m", manifest(artifact=place.artifacts.put(b"no model")), at=0)
    traffic = Traffic(model="m", task=Task.REGRESSION, champion=2, previous=1)
    place.state.put("traffic", "m", traffic)
    assert place.follow() == ["m:2"]
    arms = place.fleet.arms("m")
    assert (arms.traffic.champion, list(arms.lanes)) == (2, [1])


def test_a_version_that_fails_its_warm_up_takes_no_traffic(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.register()
    stored = manifest(artifact=place.artifacts.put(additive()))
    made = msgspec.structs.replace(stored, options=Options(column=1))  # it answers with one
    versions.register(place.state, "m", made, at=0)
    place.route(1, 2)
    place.follow()
    assert place.challenger() is None
    assert "m:2 cannot be loaded: it failed at its first rows (" in capsys.readouterr().err
