"""All checks, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from lossloop.act.checks import Check
from lossloop.app.versions import behaviour, load, loss, outcomes, parity, scenarios, schema, skew
from lossloop.app.versions.base import Decide

CHECKS: Mapping[Check, Decide] = {
    Check.SCENARIOS: scenarios.check,
    Check.SCHEMA: schema.check,
    Check.SKEW: skew.check,
    Check.PARITY: parity.check,
    Check.LOSS: loss.check,
    Check.LOAD: load.check,
    Check.BEHAVIOUR: behaviour.check,
    Check.OUTCOMES: outcomes.check,
}
