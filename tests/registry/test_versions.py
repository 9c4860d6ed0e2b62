"""Versions are numbered as they come and never change; aliases move, and their history stays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.documents import Documents
from lossloop.core.errors import InputError, UnknownName
from lossloop.ledger.sqlite.state import State
from lossloop.registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    Feature,
    FeatureKind,
    Manifest,
    Move,
    Reference,
    versions,
)


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return State(tmp_path / "state.db")


def manifest(notes: str = "") -> Manifest:
    return Manifest(runtime="external", notes=notes)


def register(documents: Documents, model: str, *notes: str) -> list[int]:
    return [versions.register(documents, model, manifest(each), at=7).number for each in notes]


def test_versions_are_numbered_from_one_per_model(documents: Documents) -> None:
    assert register(documents, "a", "x", "y") == [1, 2]
    assert register(documents, "b", "x") == [1]
    assert [version.name for version in versions.versions(documents, "a")] == ["a:1", "a:2"]


def test_the_same_manifest_is_the_version_that_it_already_is(documents: Documents) -> None:
    first = versions.register(documents, "a", manifest("x"), at=7)
    register(documents, "a", "y")
    assert versions.register(documents, "a", manifest("x"), at=99) == first
    assert first.registered_at == 7
    assert len(versions.versions(documents, "a")) == 2


def test_more_than_nine_versions_stay_in_order(documents: Documents) -> None:
    register(documents, "a", *map(str, range(12)))
    assert [version.number for version in versions.versions(documents, "a")] == list(range(1, 13))


def test_one_model_is_not_another_that_begins_alike(documents: Documents) -> None:
    register(documents, "flight", "x")
    register(documents, "flight-delay", "x", "y")
    assert len(versions.versions(documents, "flight")) == 1
    versions.move(documents, "flight-delay", CHAMPION, 1, at=0, reason="")
    assert versions.aliases(documents, "flight") == {}


def test_an_unknown_version_is_told_which_there_are(documents: Documents) -> None:
    register(documents, "a", "x", "y")
    with pytest.raises(UnknownName, match=r"unknown version 'a:3'; did you mean 'a:[12]'\?") as caught:
        versions.find(documents, "a", 3)
    assert caught.value.field == "version"
    with pytest.raises(UnknownName, match="unknown version 'b:1'; there are none yet"):
        versions.find(documents, "b", 1)


def test_an_alias_names_a_version_that_exists(documents: Documents) -> None:
    register(documents, "a", "x")
    with pytest.raises(UnknownName):
        versions.move(documents, "a", CHAMPION, 2, at=0, reason="")
    assert versions.alias(documents, "a", CHAMPION) is None
    assert versions.history(documents, "a") == []


def test_every_move_of_an_alias_is_kept(documents: Documents) -> None:
    register(documents, "a", "x", "y")
    versions.move(documents, "a", CHALLENGER, 2, at=1, reason="released")
    versions.move(documents, "a", CHALLENGER, None, at=2, reason="worse")
    versions.move(documents, "a", CHALLENGER, None, at=3, reason="again")
    assert versions.alias(documents, "a", CHALLENGER) is None
    assert versions.history(documents, "a") == [
        Move(at=1, alias=CHALLENGER, version=2, reason="released"),
        Move(at=2, alias=CHALLENGER, version=None, reason="worse"),
        Move(at=3, alias=CHALLENGER, version=None, reason="again"),
    ]


def test_the_champion_before_becomes_the_previous_one(documents: Documents) -> None:
    register(documents, "a", "x", "y", "z")
    versions.enthrone(documents, "a", 1, at=1, reason="first")
    assert versions.aliases(documents, "a") == {CHAMPION: 1}
    versions.enthrone(documents, "a", 3, at=2, reason="better")
    assert versions.aliases(documents, "a") == {CHAMPION: 3, PREVIOUS: 1}


def test_who_is_champion_already_is_not_enthroned_again(documents: Documents) -> None:
    register(documents, "a", "x", "y")
    versions.enthrone(documents, "a", 1, at=1, reason="")
    versions.enthrone(documents, "a", 2, at=2, reason="")
    moves = versions.history(documents, "a")
    versions.enthrone(documents, "a", 2, at=3, reason="again")
    assert versions.history(documents, "a") == moves
    assert versions.aliases(documents, "a") == {CHAMPION: 2, PREVIOUS: 1}


moves = st.lists(
    st.tuples(st.sampled_from([CHAMPION, CHALLENGER]), st.none() | st.integers(1, 3)), max_size=15
)


@given(moves)
def test_the_aliases_are_what_their_history_leads_to(steps: list[tuple[str, int | None]]) -> None:
    state = State(Path(":memory:"))
    register(state, "a", "x", "y", "z")
    for at, (name, number) in enumerate(steps):
        versions.move(state, "a", name, number, at=at, reason="")
    wanted: dict[str, int] = {}
    for move in versions.history(state, "a"):
        if move.version is None:
            wanted.pop(move.alias, None)
        else:
            wanted[move.alias] = move.version
    assert versions.aliases(state, "a") == wanted
    assert [(move.alias, move.version) for move in versions.history(state, "a")] == steps
    state.close()


# Manifests.


def reference(*means: float) -> Reference:
    return Reference(
        loss="log_loss(cap=5)", mean=0.5, block="1d", block_means=means, rows=10, design_effect=1.0
    )


def test_the_digest_follows_the_content_and_nothing_else() -> None:
    one = Manifest(runtime="onnx", artifact="ab", features=(Feature(name="x"),), lineage={"b": 1, "a": 2})
    same = msgspec.json.decode(msgspec.json.encode(one), type=Manifest)
    assert same.digest == one.digest
    assert msgspec.structs.replace(one, lineage={"a": 2, "b": 1}).digest == one.digest
    changed = [
        msgspec.structs.replace(one, runtime="external"),
        msgspec.structs.replace(one, artifact="cd"),
        msgspec.structs.replace(one, features=(Feature(name="x", nullable=True),)),
        msgspec.structs.replace(one, features=(Feature(name="x", kind=FeatureKind.CATEGORY),)),
        msgspec.structs.replace(one, reference=reference(0.5)),
        msgspec.structs.replace(one, lineage={"a": 2}),
        msgspec.structs.replace(one, notes="new"),
    ]
    assert len({one.digest, *(each.digest for each in changed)}) == len(changed) + 1


@pytest.mark.parametrize("means", [(), (0.5, float("nan")), (float("inf"),)])
def test_a_reference_needs_blocks_that_can_be_compared_with(means: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="a reference needs one or more finite block means") as caught:
        reference(*means)
    assert caught.value.field == "reference.block_means"


@pytest.mark.parametrize("names", [("x", "x"), ("x", "y", "x"), ("",)])
def test_features_have_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="each feature needs a name of its own") as caught:
        Manifest(runtime="onnx", features=tuple(Feature(name=name) for name in names))
    assert caught.value.field == "features"
