"""What a policy will need, before anyone waits: outcomes, time, and the smallest rise it can tell."""

from lossloop.app.planning.asking import FUTURES, plan
from lossloop.app.planning.base import Effect, Plan, StepPlan, WatchPlan

__all__ = ["FUTURES", "Effect", "Plan", "StepPlan", "WatchPlan", "plan"]
