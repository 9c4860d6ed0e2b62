"""A loss scores scikit-learn's estimators: greater is better there."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import LinearSVC

from lossloop.core.errors import InputError
from lossloop.integrations.sklearn import scorer
from lossloop.losses import (
    Features,
    Loss,
    brier,
    get,
    hinge,
    log_loss,
    log_loss_multiclass,
    squared,
    warning_cost,
    zero_one,
)

X, LABELS = make_classification(300, 6, random_state=0)
X3, CLASSES = make_classification(300, 6, n_informative=4, n_classes=3, random_state=0)
NAMES = np.asarray(["late", "on time", "very late"])
VALUES = X @ np.arange(6.0) + np.sin(X[:, 0])


@pytest.mark.parametrize(
    ("loss", "theirs", "estimator", "features", "labels"),
    [
        (log_loss, "neg_log_loss", LogisticRegression(), X, LABELS),
        (brier, "neg_brier_score", LogisticRegression(), X, LABELS),
        (log_loss_multiclass, "neg_log_loss", LogisticRegression(), X3, CLASSES),
        (log_loss_multiclass, "neg_log_loss", LogisticRegression(), X3, NAMES[CLASSES]),
        (squared, "neg_mean_squared_error", Ridge(), X, VALUES),
        (get("absolute"), "neg_mean_absolute_error", Ridge(), X, VALUES),
    ],
)
def test_scores_are_those_of_scikit_learn(
    loss: Loss, theirs: str, estimator: Any, features: Any, labels: Any
) -> None:
    ours = cross_val_score(estimator, features, labels, scoring=scorer(loss))
    assert np.allclose(ours, cross_val_score(estimator, features, labels, scoring=theirs), rtol=1e-9)
    assert (ours < 0).all()


def test_wrong_classes_are_counted_whatever_they_are_called() -> None:
    for labels in (CLASSES, NAMES[CLASSES]):
        ours = cross_val_score(LogisticRegression(), X3, labels, scoring=scorer(zero_one))
        accuracy = cross_val_score(LogisticRegression(), X3, labels, scoring="accuracy")
        assert np.allclose(ours, accuracy - 1)


def test_scores_of_a_decision_function_and_names_of_two_classes() -> None:
    model = LinearSVC(random_state=0).fit(X, NAMES[LABELS])
    expected = hinge(LABELS, model.decision_function(X)).mean()
    assert scorer(hinge)(model, X, NAMES[LABELS]) == pytest.approx(-expected)


def test_a_search_keeps_the_cheapest() -> None:
    cost = scorer(warning_cost.with_parameters(missed=20, false_alarm=10))
    search = GridSearchCV(LogisticRegression(), {"C": [1e-6, 1.0]}, scoring=cost).fit(X, LABELS)
    assert search.best_params_ == {"C": 1.0}


def test_rows_may_weigh_differently() -> None:
    model, weights = LogisticRegression().fit(X, LABELS), np.where(LABELS == 1, 3.0, 1.0)
    costs = log_loss(LABELS, model.predict_proba(X)[:, 1])
    expected = np.average(costs, weights=weights)
    assert scorer(log_loss)(model, X, LABELS, sample_weight=weights) == pytest.approx(-expected)


def test_a_scorer_can_be_pickled() -> None:
    model, made = LogisticRegression().fit(X, LABELS), scorer(get("log_loss", cap=5))
    assert pickle.loads(pickle.dumps(made))(model, X, LABELS) == made(model, X, LABELS)


def first_column(features: Any) -> Features:
    return {"first": features[:, 0] > 0}


def test_features_are_made_of_the_estimators_input() -> None:
    model, made = LogisticRegression().fit(X, LABELS), brier.where(first=True)
    expected = made(LABELS, model.predict_proba(X)[:, 1], first_column(X)).mean()
    assert scorer(made, features=first_column)(model, X, LABELS) == pytest.approx(-expected)
    with pytest.raises(InputError, match=re.escape("scorer(loss, features=...) says how to make them of X")):
        scorer(made)


@pytest.mark.parametrize(
    ("loss", "estimator", "labels", "words"),
    [
        (
            log_loss,
            LinearRegression(),
            LABELS,
            "takes a probability: LinearRegression needs the method predict_proba",
        ),
        (log_loss, LogisticRegression(), CLASSES, "a loss of two classes cannot score 3 columns"),
    ],
)
def test_an_estimator_that_cannot_be_scored_is_named(
    loss: Loss, estimator: Any, labels: Any, words: str
) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        scorer(loss)(estimator.fit(X3, labels), X3, labels)


def test_a_class_that_training_never_saw_is_named() -> None:
    model = DummyClassifier().fit(X3, CLASSES % 2)
    with pytest.raises(InputError, match=r"row \d+: .*2.* was not among the classes in training"):
        scorer(log_loss_multiclass)(model, X3, CLASSES)
