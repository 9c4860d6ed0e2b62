"""A loss trains LightGBM to about what the built-in objective reaches."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression

from lossloop.core.errors import InputError
from lossloop.integrations.lightgbm import metric, objective
from lossloop.losses import Loss, absolute, brier, huber, log_loss, log_loss_multiclass, squared, zero_one

ROUNDS = 30
PARAMETERS: dict[str, Any] = {
    "num_leaves": 7,
    "num_threads": 1,
    "seed": 0,
    "verbose": -1,
    "boost_from_average": False,  # a custom objective starts at 0
}
X, LABELS = make_classification(600, 8, random_state=0)
X_VALUES, VALUES = make_regression(600, 8, noise=5.0, random_state=0)
VALUES = VALUES / VALUES.std()
WEIGHTS = np.where(LABELS == 1, 3.0, 1.0)


def dataset(features: Any, labels: Any, weights: Any = None) -> lightgbm.Dataset:
    return lightgbm.Dataset(features, labels, weight=weights)


def train(kind: Any, data: lightgbm.Dataset, **more: Any) -> lightgbm.Booster:
    return lightgbm.train({**PARAMETERS, "objective": kind, **more}, data, ROUNDS)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_log_loss_trains_as_binary_does(weights: Any) -> None:
    ours = log_loss.predict(train(objective(log_loss), dataset(X, LABELS, weights)).predict(X))
    theirs = train("binary", dataset(X, LABELS, weights)).predict(X)
    assert log_loss(LABELS, ours).mean() < 0.25
    assert np.allclose(ours, theirs, atol=1e-3)


def test_squared_trains_as_regression_does() -> None:
    ours = train(objective(squared), dataset(X_VALUES, VALUES)).predict(X_VALUES)
    theirs = train("regression", dataset(X_VALUES, VALUES)).predict(X_VALUES)
    assert squared(VALUES, ours).mean() == pytest.approx(squared(VALUES, theirs).mean(), rel=0.05)


def test_huber_trains_as_huber_does() -> None:
    ours = train(objective(huber), dataset(X_VALUES, VALUES)).predict(X_VALUES)
    theirs = train("huber", dataset(X_VALUES, VALUES), alpha=1.0).predict(X_VALUES)
    assert huber(VALUES, ours).mean() == pytest.approx(huber(VALUES, theirs).mean(), rel=0.05)


def test_absolute_trains_without_curvature() -> None:
    ours = train(objective(absolute), dataset(X_VALUES, VALUES)).predict(X_VALUES)
    assert absolute(VALUES, ours).mean() < 0.7 * np.abs(VALUES).mean()


def test_many_classes_train_as_multiclass_does() -> None:
    features, classes = make_classification(600, 8, n_informative=5, n_classes=3, random_state=0)
    rate = 0.1 * 2 / 3  # LightGBM's Hessian holds k / (k - 1)
    ours = train(objective(log_loss_multiclass), dataset(features, classes), num_class=3, learning_rate=rate)
    theirs = train("multiclass", dataset(features, classes), num_class=3, learning_rate=0.1)
    probabilities = log_loss_multiclass.predict(np.asarray(ours.predict(features)))
    expected = log_loss_multiclass(classes, theirs.predict(features)).mean()
    assert log_loss_multiclass(classes, probabilities).mean() == pytest.approx(expected, rel=0.02)


def test_the_scikit_learn_interface_takes_the_same_callable() -> None:
    options: dict[str, Any] = {"n_estimators": ROUNDS, "num_leaves": 7, "n_jobs": 1, "verbose": -1}
    ours = lightgbm.LGBMRegressor(objective=objective(log_loss), **options)
    ours.fit(X, LABELS, sample_weight=WEIGHTS)
    theirs = lightgbm.LGBMClassifier(boost_from_average=False, **options).fit(
        X, LABELS, sample_weight=WEIGHTS
    )
    margin, probabilities = ours.predict(X), np.asarray(theirs.predict_proba(X))
    assert np.allclose(log_loss.predict(np.asarray(margin)), probabilities[:, 1], atol=1e-3)


def test_the_mean_loss_is_watched_while_training() -> None:
    seen: dict[str, Any] = {}
    data = dataset(X, LABELS)
    booster = lightgbm.train(
        {**PARAMETERS, "objective": objective(log_loss), "metric": "none"},
        data,
        ROUNDS,
        valid_sets=[data],
        feval=metric(log_loss),
        callbacks=[lightgbm.record_evaluation(seen)],
    )
    final = log_loss(LABELS, log_loss.predict(np.asarray(booster.predict(X)))).mean()
    assert seen["training"]["log_loss"][-1] == pytest.approx(final, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (zero_one, "has no gradient, so it can be watched but not trained on"),
        (brier.where(carrier="UA"), "which LightGBM does not hand to its objective"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_training(loss: Loss, words: str) -> None:
    for make in (objective, metric):
        with pytest.raises(InputError, match=words):
            make(loss)


def test_an_ill_label_is_named_in_training() -> None:
    with pytest.raises(InputError, match="row 0: label 2 is not 0 or 1"):
        train(objective(log_loss), dataset(X, LABELS + 2.0))
