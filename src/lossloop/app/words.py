"""Numbers as people read them, the same in terminal and report: e-values, effects with their interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossloop.judges import e_value


def evidence(verdict: Mapping[str, Any]) -> str:
    """How far a verdict's evidence has come: ``27.7 of 20``, both as e-values."""
    return f"{e_value(verdict['evidence'])} of {e_value(verdict['threshold'])}"


def signed(value: float, *, decimals: int = 3) -> str:
    """A difference with its sign: ``+0.072``; zero has none."""
    rounded = f"{value:+,.{decimals}f}"
    return rounded[1:] if float(rounded.replace(",", "")) == 0 else rounded


def interval(effect: Mapping[str, Any], *, decimals: int = 3) -> str:
    """An effect's interval: ``[-0.378, -0.096]``."""
    return f"[{signed(effect['low'], decimals=decimals)}, {signed(effect['high'], decimals=decimals)}]"


def minus(text: str) -> str:
    """A number's text with a true minus sign, for pages; terminals may not have one."""
    return text.replace("-", "\N{MINUS SIGN}")


def action(decision: Mapping[str, Any]) -> str:
    """A decision's action, and the share of traffic that a ramp leads to: ``ramp to 5%``."""
    verb = str(decision["action"]).replace("_", " ")
    share = decision.get("share")
    return f"{verb} to {share:.0%}" if decision["action"] == "ramp" and share is not None else verb


def moment(decision: Mapping[str, Any]) -> str:
    """A decision's day; what was set up before any prediction came has none."""
    day = str(decision["at"])[:10]
    return "at set-up" if day.startswith("1970") else day


__all__ = ["action", "e_value", "evidence", "interval", "minus", "moment", "signed"]
