"""Arms and a holdout served, logged and judged: the chain from a request to what an experiment has seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lossloop.app import operate
from lossloop.app.books import Books
from lossloop.app.commands import StartExperiment
from lossloop.app.drawing import held_and_served, in_experiment
from lossloop.app.experiments import experiment_of
from lossloop.app.holdouts import held_out
from lossloop.core.clock import HOUR
from lossloop.core.records import Role
from lossloop.core.traffic import Arm
from lossloop.ledger.joined.table import ROLES
from lossloop.serve.service import Outcome
from tests.serve.test_service import POLICY, Place

UNITS = 300
SERVING = "serving: {holdout: {share: 20%, version: 4}}\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def served(place: Place) -> str:
    """A model with two arms beside its champion, and a fifth of the units held out."""
    model = place.model(0.0, 10.0, 20.0, 30.0)
    operate.set_policy(place.home, POLICY.format(model=model, task="regression") + SERVING)
    arms = (Arm(version=2, share=0.25), Arm(version=3, share=0.25))
    operate.obey(place.home, StartExperiment(model=model, arms=arms), place.clock)
    place.follow()
    return model


def asked(place: Place, model: str, count: int = UNITS) -> Outcome:
    rows = [{"id": f"r{n}", "unit": f"u{n}", "features": {"x": 1.0}} for n in range(count)]
    return asyncio.run(place.running.service.predict(model, rows))


def test_what_is_served_is_what_is_judged(place: Place) -> None:
    model = served(place)
    answers = asked(place, model).answers
    ends = [{"id": f"r{number}", "y_true": 0.0} for number in range(UNITS)]
    place.happened(model, *ends)
    rows = place.rows(model)
    wanted = {1: 0.8 * 0.5, 2: 0.8 * 0.25, 3: 0.8 * 0.25, 4: 0.2}
    assert rows.propensity == pytest.approx([wanted[version] for version in rows.version.tolist()])
    met_as = zip(rows.version.tolist(), rows.role.tolist(), strict=True)
    assert {(version, ROLES[role]) for version, role in met_as} == {
        (1, "champion"), (2, "challenger"), (3, "challenger"), (4, "holdout"),
    }  # fmt: skip
    place.fold()
    place.clock.advance_to(Books(place.running.state).now() + 2 * HOUR)
    place.predict(model, {"id": "later", "unit": "later", "features": {"x": 1.0}})
    place.fold()
    state = place.running.state
    experiment, run = experiment_of(state, model), held_out(state, model)
    assert experiment is not None
    assert run is not None
    met = [answers[number].version for number in range(UNITS)]
    assert {arm.version: arm.seen for arm in experiment.arms} == {2: met.count(2), 3: met.count(3)}
    assert (run.held, run.others) == (met.count(4), UNITS - met.count(4))


def test_a_unit_meets_its_arm_again_and_in_another_server(place: Place) -> None:
    model = served(place)
    first = asked(place, model).answers
    again = [{"id": f"again{n}", "unit": f"u{n}", "features": {"x": 1.0}} for n in range(UNITS)]
    place.restart()
    place.follow()
    second = asyncio.run(place.running.service.predict(model, again)).answers
    assert [second[n].version for n in range(UNITS)] == [first[n].version for n in range(UNITS)]
    assert len({first[n].version for n in range(UNITS)}) == 4


def test_rows_served_before_it_began_are_no_evidence(place: Place) -> None:
    model = place.model(0.0, 10.0)
    place.predict(model, {"id": "a", "features": {"x": 1.0}})
    rows = place.rows(model)
    assert not in_experiment(
        rows.role, rows.version, rows.propensity, shares={1: 0.5, 2: 0.5}, held_out=0.0
    ).any()
    assert not np.any(held_and_served(rows.role, rows.propensity, share=0.2))


def test_an_arm_that_cannot_answer_costs_nobody_theirs(place: Place) -> None:
    """Its units get the champion's answers, with a chance that no comparison looks at."""
    model = served(place)
    arms = place.running.service.fleet.arms(model)
    lanes = dict(arms.lanes)
    del lanes[2], lanes[4]
    object.__setattr__(arms, "lanes", lanes)
    answers = asked(place, model).answers
    assert len(answers) == UNITS
    rows = place.rows(model)
    stepped_in = rows.propensity == 1.0
    assert 0 < np.count_nonzero(stepped_in) < UNITS
    assert set(rows.version[stepped_in].tolist()) == {1}
    assert set(rows.role[stepped_in].tolist()) == {ROLES.index(Role.CHAMPION)}
    assert set(rows.version.tolist()) == {1, 3}
