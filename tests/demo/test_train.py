from __future__ import annotations

from calendar import monthrange
from datetime import date

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossloop.app.demo import flights, train
from lossloop.app.demo.train import Floats, Model, Trained
from lossloop.core.clock import DAY, HOUR
from lossloop.core.errors import InputError
from lossloop.registry import FeatureKind

NAMES = [feature.name for feature in flights.FEATURES]
ROW = {"sched_dep_time": 1745, "distance": 719, "temp": 30.0, "dewp": 20.0, "humid": 60.0, "wind_speed": 9.0,
       "precip": 0.0, "pressure": 1012.0, "visib": 10.0, "carrier": "UA", "origin": "EWR", "dest": "ORD",
       "weekday": "Mon"}  # fmt: skip


def capped_log_loss(y_true: Floats, y_pred: Floats) -> Floats:
    likelihood = np.where(y_true == 1, y_pred, 1 - y_pred)
    return np.minimum(-np.log(np.maximum(likelihood, 1e-300)), 5.0)


def train_on(table: pa.Table, *, label: str = "late") -> Trained:
    return train.train_version(table, loss=capped_log_loss, loss_name="log_loss(cap=5)", label=label)


def served(artifact: bytes, table: pa.Table) -> Floats:
    """What a server does with a request: one array of shape (n, 1) for each feature."""
    feed: dict[str, npt.NDArray[np.generic]] = {}
    for feature in flights.FEATURES:
        values = table[feature.name].to_pylist()
        if feature.kind is FeatureKind.CATEGORY:
            feed[feature.name] = np.array(values, dtype=np.object_)[:, None]
        else:
            numbers = [np.nan if value is None else value for value in values]
            feed[feature.name] = np.array(numbers, dtype=np.float32)[:, None]
    answer = onnxruntime.InferenceSession(artifact).run(["y_pred"], feed)[0]
    return np.asarray(answer, dtype=np.float64)


def one(**changes: object) -> pa.Table:
    types = {feature.name: pa.string() if feature.kind is FeatureKind.CATEGORY else pa.float64()
             for feature in flights.FEATURES}  # fmt: skip
    return pa.table({name: pa.array([value], types[name]) for name, value in {**ROW, **changes}.items()})


@pytest.fixture(scope="module")
def year() -> pa.Table:
    return flights.load()


@pytest.fixture(scope="module")
def winter(year: pa.Table) -> pa.Table:
    return flights.between(year, date(2013, 1, 1), date(2013, 2, 28))


@pytest.fixture(scope="module")
def model(winter: pa.Table) -> Model:
    labelled = winter.filter(winter["late"].is_valid())
    numbers, categories = train.inputs(labelled)
    return train.fit(numbers, categories, labelled["late"].to_numpy().astype(np.float64))


@pytest.fixture(scope="module")
def first(winter: pa.Table) -> Trained:
    return train_on(winter)


def mean_loss(artifact: bytes, year: pa.Table, month: int) -> float:
    days = flights.between(year, date(2013, month, 1), date(2013, month, monthrange(2013, month)[1]))
    known = days.filter(days["late"].is_valid())
    return float(capped_log_loss(known["late"].to_numpy(), served(artifact, known)).mean())


def test_the_reference_is_what_issue_and_docs_say(first: Trained) -> None:
    assert first.reference.loss == "log_loss(cap=5)"
    assert first.reference.block == "1d"
    assert first.reference.mean == pytest.approx(0.5055, abs=5e-4)
    assert len(first.reference.block_means) == 59
    assert first.reference.rows == first.rows == 50_009
    assert first.reference.design_effect == pytest.approx(27.1, abs=0.3)


def test_a_version_has_what_every_kind_of_watch_asks_for(first: Trained, winter: pa.Table) -> None:
    reference, profile = first.reference, first.profile
    assert {"origin=EWR", "origin=JFK", "origin=LGA", "carrier=UA", "carrier=HA"} <= set(reference.slices)
    assert reference.baseline == pytest.approx(winter["late"].drop_null().to_numpy().mean())
    assert reference.estimate is not None
    assert reference.estimate.most == 5.0
    assert np.all(np.diff(reference.estimate.values[0]) >= 0)
    assert sum(part.rows for name, part in reference.slices.items() if name.startswith("origin")) == 50_009
    assert [each.name for each in profile.features] == NAMES
    assert [each.name for each in profile.predictions] == ["y_pred"]
    assert (profile.rows, profile.blocks, profile.train) == (50_009, 59, b"")
    assert len(reference.seasons["weekday"]) == 7


def test_weekdays_begin_with_monday() -> None:
    days = np.arange(19_723, 19_730)  # 1 January 2024 was a Monday
    assert train.by_weekday(np.arange(7.0), days) == tuple(range(7))


def test_the_winter_model_extrapolates_badly_into_summer(first: Trained, year: pa.Table) -> None:
    losses = [mean_loss(first.artifact, year, month) for month in (5, 6, 7)]
    assert losses == pytest.approx([0.51, 0.73, 0.79], abs=0.01)


def test_it_remembers_what_it_was_trained_on(first: Trained, winter: pa.Table) -> None:
    assert first.features == flights.FEATURES
    assert first.first == winter["time"][0].as_py()
    assert first.last <= winter["time"][-1].as_py()
    assert first.last - first.first > 58 * DAY


def test_the_same_rows_give_the_same_bytes_in_any_order_of_columns(first: Trained, winter: pa.Table) -> None:
    again = train_on(winter.select(sorted(winter.column_names)))
    assert again.artifact == first.artifact
    assert again.reference == first.reference


def test_other_rows_give_other_bytes(first: Trained, winter: pa.Table) -> None:
    assert train_on(winter.slice(5_000)).artifact != first.artifact


def test_rows_of_a_ledger_train_it_too(first: Trained, winter: pa.Table) -> None:
    late = winter["late"].cast(pa.float64())
    floats = {
        f.name: winter[f.name].cast(pa.float64()) for f in flights.FEATURES if f.kind is FeatureKind.NUMBER
    }
    texts = {
        f.name: winter[f.name].dictionary_encode() for f in flights.FEATURES if f.kind is FeatureKind.CATEGORY
    }
    time = winter["time"].cast(pa.timestamp("us", "UTC"))
    again = train_on(pa.table({**texts, "y_true": late, "time": time, **floats}), label="y_true")
    assert again.artifact == first.artifact


def test_the_artifact_says_what_scikit_learn_says(model: Model, first: Trained, year: pa.Table) -> None:
    some = year.take(np.arange(0, year.num_rows, 40))  # with airports and weather that training never saw
    numbers, categories = train.inputs(some)
    np.testing.assert_allclose(
        served(first.artifact, some), model.predict(numbers, categories), atol=2e-6, rtol=0
    )


number = st.none() | st.floats(-1e3, 1e3)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    weather=st.fixed_dictionaries(dict.fromkeys(flights.WEATHER, number)),
    clock=st.integers(0, 2359),
    carrier=st.sampled_from(["UA", "B6", "never seen", ""]),
    dest=st.text(max_size=4).filter(lambda text: "\x00" not in text),
)
def test_it_agrees_on_any_row(
    model: Model, first: Trained, weather: dict[str, float | None], clock: int, carrier: str, dest: str
) -> None:
    row = one(**weather, sched_dep_time=clock, carrier=carrier, dest=dest)
    expected = model.predict(*train.inputs(row))
    np.testing.assert_allclose(served(first.artifact, row), expected, atol=1e-4, rtol=0)
    assert expected.shape == (1,)


def test_the_bad_release_reads_the_local_time_for_the_hour(model: Model) -> None:
    good, bad = train.to_onnx(model), train.to_onnx(model, cut_hour=False)
    assert served(good, one(sched_dep_time=1745)) == served(bad, one(sched_dep_time=17))
    assert served(bad, one(sched_dep_time=1745)) > 0.999


def test_the_bad_release_is_only_seen_in_production(first: Trained, winter: pa.Table, year: pa.Table) -> None:
    bad = train.artifact(winter, cut_hour=False)
    assert train.artifact(winter) == first.artifact
    assert signature(bad) == signature(first.artifact)
    assert mean_loss(bad, year, 3) > 3.5


def signature(artifact: bytes) -> list[tuple[str, int]]:
    inputs = onnx.load_from_string(artifact).graph.input
    return [(value.name, value.type.tensor_type.elem_type) for value in inputs]


def test_the_artifact_asks_for_the_features_in_the_order_of_the_schema(first: Trained) -> None:
    assert [name for name, _ in signature(first.artifact)] == NAMES


def test_cross_validation_never_predicts_a_run_of_days_from_itself() -> None:
    days = np.arange(40)
    late = np.where(days // 4 == 3, 1.0, 0.0)  # the only late flights stand in one run ...
    late[::8] = 1.0  # ... but for a few elsewhere
    numbers = np.column_stack([(days // 4 == 3).astype(np.float64)] + [np.ones(40)] * 8)
    categories = np.full((40, 4), "same", dtype=np.object_)
    held_out = train.cross_validate(numbers, categories, late, days)
    fitted = train.fit(numbers, categories, late).predict(numbers, categories)
    assert held_out[12:16].mean() < 0.5 < fitted[12:16].mean()
    assert np.isfinite(held_out).all()


def test_the_reference_averages_days_first() -> None:
    found = train.reference(np.array([1.0, 3.0, 5.0, 5.0]), np.array([4, 4, 4, 9]), loss_name="some")
    assert found.block_means == (3.0, 5.0)
    assert found.mean == 3.5
    assert found.rows == 4


def test_too_few_days_are_refused(year: pa.Table) -> None:
    with pytest.raises(InputError, match="flights of 20 days or more"):
        train_on(flights.between(year, date(2013, 1, 1), date(2013, 1, 19)))


def test_a_single_label_is_refused(winter: pa.Table) -> None:
    with pytest.raises(InputError, match="that were late and flights that were not"):
        train_on(winter.filter(pa.compute.equal(winter["late"], 0)))


def test_no_rows_are_refused(winter: pa.Table) -> None:
    with pytest.raises(InputError, match="that were late and flights that were not"):
        train_on(winter.filter(winter["late"].is_null()))


def test_the_hour_of_a_local_time_is_its_hundreds() -> None:
    rows = pa.concat_tables([one(sched_dep_time=clock) for clock in (1, 59, 100, 1745, 2359)])
    numbers, _ = train.inputs(rows)
    assert numbers[:, 0].tolist() == [0, 0, 1, 17, 23]


def test_a_missing_reading_is_the_median_of_training(model: Model, first: Trained) -> None:
    assert model.imputer.strategy == "median"
    filled = one(temp=float(model.imputer.statistics_[2]))
    np.testing.assert_allclose(
        served(first.artifact, one(temp=None)), served(first.artifact, filled), rtol=1e-5
    )


def test_days_are_those_of_new_york(winter: pa.Table) -> None:
    evening = flights.midnight(date(2013, 1, 2)) - HOUR  # already 2 January in UTC
    assert flights.CALENDAR.label(int(flights.CALENDAR.blocks(np.array([evening]))[0])) == "2013-01-01"
