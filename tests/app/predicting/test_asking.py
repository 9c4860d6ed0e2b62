"""What is asked of a batch: who answers, under which ids, and which batch of before a command means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app import operate
from lossloop.app.commands import Promote, Register
from lossloop.app.home import Home, init
from lossloop.app.predicting import Naming, Order, inputs, open_output
from lossloop.app.predicting.asking import Asked, begun
from lossloop.app.predicting.progress import Batch, Folder, Read, all_batches
from lossloop.app.predicting.reading import Held
from lossloop.app.predicting.scoring import Packed
from lossloop.core.errors import Conflict, InputError, UnknownName
from lossloop.core.tasks import Task
from lossloop.core.thresholds import Thresholds
from lossloop.registry import Manifest, Version
from tests.app.desk import policy_text
from tests.app.predicting.desk import BY_ID, MODEL, another, house, parquet, rows
from tests.serve.models import FEATURES, additive, version

NOW = 1_714_557_600_000_000


def asked_of(number: int = 1, thresholds: Thresholds | None = None, **said: Any) -> Asked:
    found = version(number)
    manifest = msgspec.structs.replace(found.manifest, thresholds=thresholds)
    found = msgspec.structs.replace(found, manifest=manifest, digest=manifest.digest)
    packed = Packed(name="m:1", digest="d", task=Task.BINARY, manifest=manifest, artifacts={})
    return Asked(version=found, packed=packed, naming=Naming(**said), names=())


def held_of(count: int, **columns: pa.Array) -> Held:
    return Held(
        ids=pa.array([f"r{place}" for place in range(count)]),
        rows=np.arange(1, count + 1),
        times=pa.array([NOW] * count).cast(pa.timestamp("us", tz="UTC")),
        units=columns.pop("units", None),
        features={},
        kept=columns,
        bad=(),
    )


def order_of(path: Path, *, output: str = "o.parquet", **more: Any) -> Order:
    return Order(
        model=more.pop("model", MODEL), inputs=inputs([str(path)]), output=open_output(output),
        naming=more.pop("naming", BY_ID), **more,
    )  # fmt: skip


# Ids.


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_every_input_has_ids_of_its_own_also_where_two_are_alike(digests: list[str]) -> None:
    found = tuple(Read(name=f"{place}.csv", digest=each) for place, each in enumerate(digests))
    made = [asked_of().ids(place, found) for place in range(len(found))]
    assert len(set(made)) == len(made)


def test_ids_say_what_is_in_the_file_and_who_answers_and_not_what_it_is_called() -> None:
    one, other = Read(name="a.csv", digest="x"), Read(name="b.csv", digest="x")
    assert asked_of().ids(0, (one,)) == asked_of().ids(0, (other,))
    assert asked_of().ids(0, (one,)) != asked_of(2).ids(0, (one,))
    assert asked_of().ids(0, (one,)) != asked_of().ids(0, (Read(name="a.csv", digest="y"),))


# The output.


def test_the_output_has_what_was_named_and_the_answer() -> None:
    held = held_of(2, units=pa.array(["u", None]), city=pa.array([b"Ulm", b"\xff"]))
    found = asked_of(unit="who", time="when", keep=("city",)).answers(held, pa.array([0.1, 0.9]))
    assert found.schema.names == ["id", "unit", "time", "city", "y_pred", "version"]
    assert found["city"].to_pylist() == ["Ulm", "\ufffd"]
    assert found["version"].type == pa.int32()


def test_a_kept_column_does_not_stand_twice() -> None:
    found = asked_of(keep=("id",)).answers(held_of(1, id=pa.array([b"theirs"])), pa.array([0.5]))
    assert found.schema.names == ["id", "y_pred", "version"]
    assert found["id"].to_pylist() == ["r0"]


def test_actions_stand_beside_scores_and_not_beside_lists() -> None:
    asked = asked_of(thresholds=Thresholds(actions=("pass", "review", "block"), least=(0.2, 0.8)))
    found = asked.answers(held_of(4), pa.array([0.1, 0.2, 0.79, 0.8]))
    assert found["action"].to_pylist() == ["pass", "review", "review", "block"]
    assert "action" not in asked.answers(held_of(1), pa.array([[0.5, 0.5]])).schema.names


# Which version, and which batch.


def test_without_a_champion_nobody_answers(tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    path = parquet(tmp_path / "a.parquet", rows(2))
    with pytest.raises(UnknownName, match="unknown model 'm'"):
        begun(home, order_of(path), now=NOW)
    operate.set_policy(home, policy_text(task="regression", loss="squared"))
    with pytest.raises(Conflict, match="m has no champion yet; run: lossloop promote m VERSION"):
        begun(home, order_of(path), now=NOW)


def test_a_version_that_does_not_say_its_features_cannot_read_a_file(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    stored = Manifest(runtime="onnx", artifact=home.artifacts.put(additive()))
    operate.obey(home, Register(model=MODEL, manifest=stored))
    with pytest.raises(InputError, match="does not say its features"):
        begun(home, order_of(parquet(tmp_path / "a.parquet", rows(2)), version=2), now=NOW)


def test_a_version_asked_for_by_number_is_no_champion_unless_it_is(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "a.parquet", rows(2))
    number = another(home, 1.0)
    roles = {
        asked: begun(home, order_of(path, version=asked), now=NOW)[0].role for asked in (None, 1, number)
    }  # fmt: skip
    assert roles == {None: "champion", 1: "champion", number: "override"}


def left(home: Home, batch: Batch, **more: Any) -> None:
    """A batch that somebody began."""
    folder = Folder(home, batch.id)
    folder.write(msgspec.structs.replace(batch, **more))
    folder.close()


def test_a_command_means_the_batch_that_it_began(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "a.parquet", rows(2))
    first, _ = begun(home, order_of(path), now=NOW)
    left(home, first, rows=1)
    operate.obey(home, Promote(model=MODEL, version=another(home, 1.0)))
    again, asked = begun(home, order_of(path), now=NOW + 1)
    assert (again.id, again.version, asked.version.number) == (first.id, 1, 1)
    left(home, first, finished=True)
    new, asked = begun(home, order_of(path), now=NOW + 1)
    assert (new.version, asked.version.number) == (2, 2)
    assert new.id != first.id
    assert [batch.finished for batch in all_batches(home)] == [True]


@pytest.mark.parametrize(
    "other",
    [{"output": "p.parquet"}, {"naming": Naming(id="id", keep=("x",))}, {"naming": Naming()}, {"version": 1}],
)
def test_another_command_is_another_batch(tmp_path: Path, other: dict[str, Any]) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "a.parquet", rows(2))
    first, _ = begun(home, order_of(path), now=NOW)
    assert begun(home, order_of(path, **other), now=NOW)[0].id != first.id
    moved = parquet(tmp_path / "b.parquet", rows(2))
    assert begun(home, order_of(moved), now=NOW)[0].id == first.id


def test_what_is_sent_elsewhere_is_all_that_a_version_needs(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "a.parquet", rows(2))
    _, asked = begun(home, order_of(path), now=NOW)
    assert isinstance(asked.version, Version)
    assert asked.features == FEATURES
    assert set(asked.packed.artifacts) == {asked.version.manifest.artifact}
    assert asked.packed.digest == asked.version.digest
    assert asked.packed.task is Task.REGRESSION
    assert asked.names == ["id", "x", "y", "colour", "who"]
