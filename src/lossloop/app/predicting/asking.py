"""What is asked of a batch, and which batch that is: one that was begun and not finished, or a new one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.predicting.outputs import Output
from lossloop.app.predicting.places import Input
from lossloop.app.predicting.progress import Batch, Read, all_batches
from lossloop.app.predicting.reading import Held, Naming
from lossloop.app.predicting.scoring import Packed
from lossloop.app.trusting import trust_of
from lossloop.core.clock import Micros
from lossloop.core.errors import Conflict, InputError, UnknownName
from lossloop.core.ids import digest
from lossloop.core.records import Role
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.store import Store
from lossloop.registry import Feature, Version, versions
from lossloop.serve.runtimes import EXTERNAL


@dataclass(frozen=True, kw_only=True)
class Order:
    """A command: which model answers which rows, and where to.

    `version` is the one that answers; None for the champion.
    """

    model: str
    inputs: Sequence[Input]
    output: Output
    naming: Naming
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of every row of a batch.

    `names` are the columns of the first input.
    """

    version: Version
    packed: Packed
    naming: Naming
    names: Sequence[str]

    @property
    def features(self) -> tuple[Feature, ...]:
        """What the version takes."""
        return self.version.manifest.features

    def ids(self, place: int, inputs: Sequence[Read]) -> str:
        """What the ids of an input's rows are made of: what is in it, and who answers.

        An input that stands twice has other ids the second time.
        """
        mine = inputs[place].digest
        nth = sum(each.digest == mine for each in inputs[:place])
        return f"{digest(mine, str(nth), self.version.model, self.version.digest)[:24]}-"

    def answers(self, held: Held, y_pred: pa.Array) -> pa.RecordBatch:
        """Rows of the output."""
        columns = {"id": held.ids}
        if held.units is not None:
            columns["unit"] = held.units
        if self.naming.time:
            columns["time"] = held.times
        columns |= {name: _text_of(each) for name, each in held.kept.items() if name not in columns}
        columns["y_pred"] = y_pred
        if (thresholds := self.version.manifest.thresholds) is not None and pa.types.is_floating(y_pred.type):
            columns["action"] = _actions(thresholds, y_pred)
        columns["version"] = pa.array([self.version.number] * len(held), pa.int32())
        return pa.RecordBatch.from_pydict(columns)


def _text_of(column: pa.Array) -> pa.Array:
    """What CSV has is bytes; in the output it is text, as it stood."""
    if not pa.types.is_binary(column.type):
        return column
    with contextlib.suppress(pa.ArrowInvalid):
        return column.cast(pa.string())
    return pa.array(
        [None if value is None else value.decode(errors="replace") for value in column.to_pylist()]
    )


def _actions(thresholds: Thresholds, y_pred: pa.Array) -> pa.Array:
    places = thresholds.places(y_pred.to_numpy(zero_copy_only=False)).astype(int)
    return pa.array(list(thresholds.actions)).take(pa.array(places))


def begun(home: Home, order: Order, *, now: Micros) -> tuple[Batch, Asked]:
    """The batch that an order means, and what is asked in it.

    Raises:
        UnknownName: There is no such model or version.
        Conflict: There is no champion, or it is served by another system.
        InputError: An input cannot be read.
    """
    inputs, names = _looked_at(order.inputs)
    said = [
        order.model, order.version, [each.digest for each in inputs], msgspec.to_builtins(order.naming),
        order.output.shown,
    ]  # fmt: skip
    key = digest(msgspec.json.encode(said, order="deterministic"))[:32]
    # A batch that was begun keeps the version that began it, also where another one is the champion by now.
    open_ = next((each for each in all_batches(home) if each.key == key and not each.finished), None)
    state = home.state()
    try:
        version, champion, packed = _version(state, home, order, None if open_ is None else open_.version)
    finally:
        state.close()
    id = digest(key, version.digest)[:24]
    role = Role.CHAMPION if version.number == champion else Role.OVERRIDE
    batch = Batch(
        id=id, key=key, model=order.model, version=version.number, digest=version.digest, inputs=inputs,
        output=order.output.shown, role=str(role), began=now, at=now,
    )  # fmt: skip
    return batch, Asked(version=version, packed=packed, naming=order.naming, names=names)


def _looked_at(inputs: Sequence[Input]) -> tuple[tuple[Read, ...], list[str]]:
    found: list[Read] = []
    names: list[str] = []
    for each in inputs:
        with contextlib.closing(each.open()) as source:
            found.append(Read(name=source.name, digest=source.digest()))
            names = names or source.columns()
    return tuple(found), names


def _version(
    state: Store, home: Home, order: Order, pinned: int | None
) -> tuple[Version, int | None, Packed]:
    books = Books(state)
    traffic = books.traffic(order.model)
    if traffic is None:
        books.policy(order.model)  # names the models that there are
        raise UnknownName("model", order.model, state.all("traffic", dict), field="model")
    number = pinned or order.version or traffic.champion
    if number is None:
        raise Conflict(f"{order.model} has no champion yet; run: lossloop promote {order.model} VERSION")
    version = versions.find(state, order.model, number)
    manifest = version.manifest
    if manifest.runtime == EXTERNAL:
        raise Conflict(f"{version.name} is served by another system; import what it predicted instead")
    if not manifest.features:
        raise InputError(f"{version.name} does not say its features; register it with them", field="features")
    packed = Packed(
        name=version.name, digest=version.digest, task=traffic.task, manifest=manifest,
        artifacts={each: home.artifacts.get(each) for each in manifest.artifacts},
        permit=trust_of(home).permit(version),
    )  # fmt: skip
    return version, traffic.champion, packed
