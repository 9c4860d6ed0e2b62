"""Experiments as they are kept, and what draws a model's units among versions now."""

from __future__ import annotations

from lossloop.act.experiment import Experiment
from lossloop.act.rollout import Rollout
from lossloop.core.documents import Documents

_KIND, _PAST = "experiment", "experiment_past"


def experiment_of(documents: Documents, model: str) -> Experiment | None:
    """The present experiment, or the last one."""
    return documents.get(_KIND, model, Experiment)


def past_experiments(documents: Documents, model: str) -> list[Experiment]:
    """Every experiment the model has had, oldest first, the present one included."""
    return list(documents.all(_PAST, Experiment, prefix=f"{model}/").values())


def put_experiment(documents: Documents, experiment: Experiment) -> None:
    """Keep an experiment as it stands."""
    documents.put(_KIND, experiment.model, experiment)
    documents.put(_PAST, f"{experiment.model}/{experiment.id}", experiment)


def under_way(documents: Documents, model: str) -> str:
    """What draws units among versions now, in words; empty where nothing does."""
    rollout, experiment = documents.get("rollout", model, Rollout), experiment_of(documents, model)
    if rollout is not None and rollout.running:
        return f"the rollout of version {rollout.challenger}"
    if experiment is not None and experiment.running:
        return f"the experiment with versions {', '.join(str(arm.version) for arm in experiment.arms)}"
    return ""
