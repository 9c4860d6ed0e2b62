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
from lossloop.losses.business import action_cost, cost_matrix, warning_cost
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
from lossloop.losses.distributions import crps_ensemble, crps_quantiles, outside_interval, winkler
from lossloop.losses.forecasting import mase, naive_error
from lossloop.losses.implicit import one_minus_click
from lossloop.losses.ranking import one_minus_map, one_minus_mrr
from lossloop.losses.regression import absolute, huber, pinball, pinball_mean, poisson_deviance, squared
from lossloop.losses.survival import censoring_curve, integrated_brier
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
    "action_cost",
    "brier",
    "brier_multiclass",
    "censoring_curve",
    "constraint_violation",
    "cost_matrix",
    "crps_ensemble",
    "crps_quantiles",
    "get",
    "hinge",
    "huber",
    "integrated_brier",
    "log_loss",
    "log_loss_multiclass",
    "loss",
    "mase",
    "naive_error",
    "names",
    "one_minus_click",
    "one_minus_map",
    "one_minus_mrr",
    "one_minus_ndcg",
    "outside_interval",
    "parse",
    "pinball",
    "pinball_mean",
    "poisson_deviance",
    "register",
    "squared",
    "vector_squared",
    "warning_cost",
    "winkler",
    "zero_one",
]
