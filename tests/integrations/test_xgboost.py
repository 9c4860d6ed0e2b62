"""A loss trains XGBoost to about what the built-in objective reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import make_classification, make_regression

from lossloop.core.errors import InputError
from lossloop.integrations.xgboost import metric, objective
from lossloop.losses import (
    Loss,
    absolute,
    brier,
    get,
    huber,
    log_loss,
    log_loss_multiclass,
    poisson_deviance,
    squared,
    warning_cost,
    zero_one,
)

ROUNDS = 30
# A base score given, since the built-in objective estimates one and a custom one cannot.
PARAMETERS: dict[str, Any] = {"max_depth": 3, "nthread": 1, "seed": 0, "base_score": 0.0}
X, LABELS = make_classification(600, 8, random_state=0)
X_VALUES, VALUES = make_regression(600, 8, noise=5.0, random_state=0)
VALUES = VALUES / VALUES.std()
WEIGHTS = np.where(LABELS == 1, 3.0, 1.0)


def built_in(name: str, data: xgboost.DMatrix, **more: Any) -> xgboost.Booster:
    return xgboost.train({**PARAMETERS, "objective": name, **more}, data, ROUNDS)


def trained(loss: Loss, data: xgboost.DMatrix, **more: Any) -> xgboost.Booster:
    return xgboost.train({**PARAMETERS, **more}, data, ROUNDS, obj=objective(loss))


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_log_loss_trains_as_logistic_does(weights: Any) -> None:
    data = xgboost.DMatrix(X, LABELS, weight=weights)
    ours = log_loss.predict(trained(log_loss, data).predict(data, output_margin=True))
    theirs = built_in("binary:logistic", data, base_score=0.5).predict(data)
    assert log_loss(LABELS, ours).mean() < 0.2
    assert np.allclose(ours, theirs, atol=1e-3)


def test_squared_trains_as_squarederror_does() -> None:
    data = xgboost.DMatrix(X_VALUES, VALUES)
    ours, theirs = trained(squared, data).predict(data), built_in("reg:squarederror", data).predict(data)
    assert squared(VALUES, ours).mean() == pytest.approx(squared(VALUES, theirs).mean(), rel=0.1)
    assert squared(VALUES, ours).mean() < 0.1


# Without regularisation a leaf is -eta * gradient / Hessian: a factor in the Hessian is one in eta.
FREE: dict[str, Any] = {"reg_lambda": 0.0, "min_child_weight": 0.0}


def test_poisson_deviance_trains_as_poisson_does() -> None:
    counts = np.random.default_rng(0).poisson(np.exp(VALUES))
    data = xgboost.DMatrix(X_VALUES, counts)
    factor = float(np.exp(0.7))  # by which XGBoost's Hessian is larger
    ours = trained(poisson_deviance, data, eta=0.3 / factor, max_delta_step=0.7 * factor, **FREE)
    theirs = built_in("count:poisson", data, base_score=1.0, eta=0.3, max_delta_step=0.7, **FREE)
    rates = poisson_deviance.predict(ours.predict(data, output_margin=True))
    means = [poisson_deviance(counts, some).mean() for some in (rates, theirs.predict(data))]
    assert means[0] == pytest.approx(means[1], rel=0.02)


def test_many_classes_train_as_softprob_does() -> None:
    features, classes = make_classification(600, 8, n_informative=5, n_classes=3, random_state=0)
    data = xgboost.DMatrix(features, classes)
    ours = trained(log_loss_multiclass, data, num_class=3, eta=0.15, **FREE)  # XGBoost doubles the Hessian
    theirs = built_in("multi:softprob", data, num_class=3, eta=0.3, **FREE).predict(data)
    probabilities = log_loss_multiclass.predict(ours.predict(data, output_margin=True))
    means = [log_loss_multiclass(classes, table).mean() for table in (probabilities, theirs)]
    assert means[0] == pytest.approx(means[1], rel=0.02)


@pytest.mark.parametrize("loss", [absolute, huber, get("pinball", level=0.5)], ids=str)
def test_losses_without_curvature_train_too(loss: Loss) -> None:
    data = xgboost.DMatrix(X_VALUES, VALUES)
    before = loss(VALUES, np.zeros_like(VALUES)).mean()
    assert loss(VALUES, trained(loss, data).predict(data)).mean() < 0.7 * before


def test_a_composition_trains() -> None:
    loss, data = 0.5 * log_loss + brier, xgboost.DMatrix(X, LABELS)
    assert loss(LABELS, loss.predict(trained(loss, data).predict(data))).mean() < 0.2


def test_the_scikit_learn_interface_takes_the_same_callable() -> None:
    options: dict[str, Any] = {"n_estimators": ROUNDS, "max_depth": 3, "n_jobs": 1}
    ours = xgboost.XGBRegressor(objective=objective(log_loss), base_score=0.0, **options)
    ours.fit(X, LABELS, sample_weight=WEIGHTS)
    theirs = xgboost.XGBClassifier(base_score=0.5, **options).fit(X, LABELS, sample_weight=WEIGHTS)
    assert np.allclose(log_loss.predict(ours.predict(X)), theirs.predict_proba(X)[:, 1], atol=1e-3)


def test_the_mean_loss_is_watched_while_training() -> None:
    seen: dict[str, Any] = {}
    data = xgboost.DMatrix(X, LABELS)
    booster = xgboost.train(
        {**PARAMETERS, "disable_default_eval_metric": True},
        data,
        ROUNDS,
        obj=objective(log_loss),
        custom_metric=metric(log_loss),
        evals=[(data, "train")],
        evals_result=seen,
        verbose_eval=False,
    )
    final = log_loss(LABELS, log_loss.predict(booster.predict(data))).mean()
    assert seen["train"]["log_loss"][-1] == pytest.approx(final, rel=1e-4)


@pytest.mark.parametrize("loss", [zero_one, warning_cost], ids=str)
def test_a_loss_without_gradient_is_refused_before_training(loss: Loss) -> None:
    for make in (objective, metric):
        with pytest.raises(InputError, match="has no gradient, so it can be watched but not trained on"):
            make(loss)


def test_a_loss_that_needs_features_is_refused() -> None:
    with pytest.raises(InputError, match="which XGBoost does not hand to its objective"):
        objective(brier.where(carrier="UA"))


def test_an_ill_label_is_named_in_training() -> None:
    data = xgboost.DMatrix(X[:3], [0.0, 2.0, 1.0])
    with pytest.raises(InputError, match="row 1: label 2 is not 0 or 1"):
        trained(log_loss, data)
