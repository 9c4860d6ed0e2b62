"""What one version brings along, however it fails, costs the others nothing: lanes, fleets and transforms."""

from __future__ import annotations

import asyncio
import io
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lossloop.app.commands import Promote
from lossloop.app.follower import Follower
from lossloop.core.errors import InputError
from lossloop.core.tasks import Task
from lossloop.registry import Version
from lossloop.serve.fleet import Fleet
from lossloop.serve.lanes import Lane
from lossloop.serve.runtimes.guessing import runtime_of
from lossloop.serve.transforms import Applied, load_transform
from lossloop.serve.transforms.checks import same
from tests.serve.arms import doubled, lane
from tests.serve.models import Scripted, version
from tests.serve.test_service import Place, answers, row
from tests.serve.transforms.graphs import graph, kilometres, raw, transform


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("losses"))
    yield made
    made.close()


# Lanes.


class Panic(BaseException):
    """What libraries in compiled code may raise."""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Panic("index")])
def test_a_lanes_thread_outlives_whatever_its_version_raises(error: BaseException) -> None:
    sayings: list[Callable[[], BaseException | None]] = [lambda: error, lambda: None]

    def say(xs: list[float]) -> list[float]:
        raised = sayings.pop(0)()
        if raised is not None:
            raise raised
        return doubled(xs)

    async def check() -> None:
        aside = Lane(version(1), Scripted(say), Task.REGRESSION)
        columns = {name: np.array([1.5], object) for name in ("y", "colour")} | {"x": np.array([1.5])}
        lost = await aside.run(columns, 1, 60.0, 60.0)
        assert (lost.values, lost.why, lost.broke) == ([None], type(error).__name__, True)
        assert (await aside.run(columns, 1, 60.0, 60.0)).values == [3.0]

    asyncio.run(check())


@pytest.mark.parametrize("found", [3.0, "abc", None, [], [[1.0, 2.0]], [1.0, 2.0, 3.0]])
def test_what_is_no_column_of_answers_is_no_answer(found: Any) -> None:
    odd = lane(1, lambda xs: found)
    columns = {name: np.array([1.0, 2.0]) for name in ("x", "y", "colour")}
    run = asyncio.run(odd.run(columns, 2, 60.0, 60.0))
    assert run.values == [None, None]


def test_deadlines_of_nothing_and_of_for_ever() -> None:
    async def check() -> None:
        aside = Lane(version(1), Scripted(doubled), Task.REGRESSION)
        columns = {name: np.array([1.0]) for name in ("x", "y", "colour")}
        for deadline in (0.0, -1.0, -1e308):
            assert (await aside.run(columns, 1, deadline, 60.0)).values == [None]
        assert (await aside.run(columns, 1, 1e9, 1e9)).values == [2.0]

    asyncio.run(check())


# Fleets.


class Careless(Fleet):
    """Loads by what a test says, and does something first."""

    before: Callable[[], None] = staticmethod(lambda: None)
    broken: BaseException | None = None

    def load(self, wanted: Sequence[tuple[Version, Task]]) -> None:
        self.before()
        super().load(wanted)

    def _load(self, version: Version, task: Task) -> Lane | None:
        if self.broken is not None:
            raise self.broken
        return super()._load(version, task)


def careless(place: Place) -> Careless:
    fleet = place.running.service.fleet
    return Careless(fleet._state, fleet._artifacts)


def test_what_is_let_go_while_others_are_loaded_is_loaded_again(place: Place) -> None:
    one, other = place.model(0.0, 1.0), place.model(0.0)
    fleet = careless(place)
    follower = Follower(place.running.state, fleet)
    asyncio.run(follower._follow())
    fleet.keep(fleet.make(fleet.known(one)[1], Task.REGRESSION))
    place.obey(Promote(model=one, version=2))
    third = place.model(5.0)  # has to be loaded, so that there is a while
    dropped: list[str] = []

    def drop() -> None:
        if not dropped:
            dropped.append(one)
            fleet.drop(one, 2)

    fleet.before = drop
    asyncio.run(follower._follow())
    assert dropped == [one]
    assert fleet.traffic(one).champion == 2
    for model, number in ((one, 2), (other, 1), (third, 1)):
        assert fleet.arms(model).lanes[number] is fleet.lane(model, number)


@pytest.mark.parametrize(
    "error", [ValueError("never thought of"), OSError(28, "No space left"), MemoryError()]
)
def test_whatever_a_version_raises_when_it_is_loaded_it_is_its_own_problem(
    place: Place, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    model = place.model(0.0)
    fleet = careless(place)
    fleet.broken = error
    wanted = fleet.wanted()
    fleet.load(fleet.missing(wanted))
    fleet.swap(wanted)
    words = str(error) or type(error).__name__
    assert fleet.ready(model) == {1: words}
    assert f"{model}:1 cannot be loaded: {words}" in capsys.readouterr().err
    assert fleet.missing(wanted) == []
    assert answers(place.predict(model, row(1.0))) == [2.5]


# Transforms.


def mean_of(shape: str) -> bytes:
    """A graph whose x is one value for all rows, or two for each: mistakes that are easily made."""
    if shape == "mean":
        nodes = [helper.make_node("ReduceMean", ["metres"], ["x"], axes=[0], keepdims=1)]
    else:
        nodes = [helper.make_node("Concat", ["metres", "metres"], ["x"], axis=1)]
    nodes.append(helper.make_node("Identity", ["paint"], ["colour"]))
    kinds = {"metres": TensorProto.FLOAT, "paint": TensorProto.STRING}
    return graph(nodes, kinds, {"x": TensorProto.FLOAT, "colour": TensorProto.STRING})


@pytest.mark.parametrize(("shape", "made"), [("mean", 1), ("twice", 8)])
@pytest.mark.filterwarnings("ignore")
def test_a_feature_has_a_value_for_each_row_or_there_is_no_answer(shape: str, made: int) -> None:
    found = load_transform(transform(), mean_of(shape))
    with pytest.raises(InputError, match=f"made {made} values of 'x' for 4 rows"):
        found.apply(raw(4))
    both = Applied(found, Scripted(doubled))
    lane = Lane(version(1), Scripted(lambda xs: both.predict(raw(4)).tolist()), Task.REGRESSION, inline=9)
    columns = {name: np.zeros(4) for name in ("x", "y", "colour")}
    assert asyncio.run(lane.run(columns, 4, 60.0, 60.0)).why == "InputError"


@given(st.integers(1, 9), st.integers(0, 8))
def test_rows_are_transformed_alone_as_together(count: int, which: int) -> None:
    found, rows = load_transform(transform(), kilometres()), raw(count)
    place = which % count
    alone = found.apply({name: values[place : place + 1] for name, values in rows.items()})
    for name, values in found.apply(rows).items():
        assert values.shape == (count,)
        assert same(values[place : place + 1], alone[name])


def test_features_that_nobody_sent_are_a_failure_of_their_own() -> None:
    found = load_transform(transform(), kilometres())
    with pytest.raises(KeyError):
        found.apply({name: values for name, values in raw(2).items() if name != "y"})


# Files of any content.


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return out.getvalue()


KERAS = zipped("config.json", "metadata.json")


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_guessed_or_refused(seed: int) -> None:
    dice, refused = random.Random(seed), 0
    for _ in range(1500):
        spoilt = bytearray(KERAS)
        for _ in range(dice.randint(1, 4)):
            spoilt[dice.randrange(2, len(spoilt))] = dice.randrange(256)
        try:
            assert runtime_of(bytes(spoilt[: dice.randrange(2, 4 * len(spoilt))])) in (
                "keras",
                "skops",
                "torch",
            )
        except InputError as error:
            refused += error.field == "runtime"
    assert 0 < refused < 1500


@pytest.mark.parametrize(("offset", "value"), [(6, 255), (30, 0xDC)])
def test_what_says_that_it_is_a_zip_is_looked_at_by_its_name_where_it_is_none(
    offset: int, value: int
) -> None:
    spoilt = bytearray(KERAS)
    central = KERAS.index(b"PK\x01\x02")
    spoilt[central + (offset if offset == 6 else 46)] = value
    if offset != 6:
        spoilt[central + 9] |= 0x08  # names are UTF-8, it says
    assert runtime_of(bytes(spoilt), "model.keras") == "keras"
    with pytest.raises(InputError, match="cannot tell which runtime"):
        runtime_of(bytes(spoilt), "model")


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"{", b"CBM1", b"\x80\x04"]), st.text())
def test_any_file_of_any_name_is_guessed_or_refused(rest: bytes, begin: bytes, name: str) -> None:
    try:
        found = runtime_of(begin + rest, name)
    except InputError:
        return
    assert found in {"catboost", "keras", "lightgbm", "onnx", "skops", "torch", "xgboost"}
