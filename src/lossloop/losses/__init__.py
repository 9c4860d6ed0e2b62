"""What a mistake costs: the contract, the library, versions by content, and training objectives."""

from lossloop.losses.base import (
    Array,
    Declaration,
    Features,
    Golden,
    Kind,
    Loss,
    Requirement,
    RowProblem,
    loss,
)
from lossloop.losses.business import cost_matrix, warning_cost
from lossloop.losses.catalogue import LIBRARY, get, names, register
from lossloop.losses.classification import (
    brier,
    brier_multiclass,
    hinge,
    log_loss,
    log_loss_multiclass,
    zero_one,
)
from lossloop.losses.constraint import constraint_violation
from lossloop.losses.implicit import one_minus_click
from lossloop.losses.regression import absolute, huber, pinball, pinball_mean, poisson_deviance, squared
from lossloop.losses.text import parse
from lossloop.losses.vectors import one_minus_ndcg, vector_squared

__all__ = [
    "LIBRARY",
    "Array",
    "Declaration",
    "Features",
    "Golden",
    "Kind",
    "Loss",
    "Requirement",
    "RowProblem",
    "absolute",
    "brier",
    "brier_multiclass",
    "constraint_violation",
    "cost_matrix",
    "get",
    "hinge",
    "huber",
    "log_loss",
    "log_loss_multiclass",
    "loss",
    "names",
    "one_minus_click",
    "one_minus_ndcg",
    "parse",
    "pinball",
    "pinball_mean",
    "poisson_deviance",
    "register",
    "squared",
    "vector_squared",
    "warning_cost",
    "zero_one",
]
