"""The report's words and figures: what happened, why days are judged, what is missing. Pure.

Every figure comes from the state or from what the demo ended with. Colour, tables and charts are the page's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from lossloop.app import words
from lossloop.app.charts.history import mark_of
from lossloop.app.charts.spec import Plain
from lossloop.app.demo.account import Account
from lossloop.app.demo.run import Told
from lossloop.core.clock import DAY, parse_time, to_datetime
from lossloop.core.records import Role
from lossloop.judges import Mode, Promise, parse
from lossloop.judges.reference import MOST_DESIGN_EFFECT

_COUNTED = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def headline(decisions: Sequence[Plain]) -> str:
    """What the loop did by itself, in one line."""
    own = [d["action"] for d in decisions if d.get("by") != "operator" and d["status"] == "done"]
    parts = [
        f"{_counted(own.count(action))} {noun}{'s' * (own.count(action) > 1)} {what}"
        for action, noun, what in (
            ("roll_back", "bad release", "rolled back"),
            ("refuse", "version", "refused"),
            ("promote", "better version", "promoted"),
        )
        if action in own
    ]
    if not parts:
        return "Nothing was rolled back or promoted"
    return f"{', '.join(parts).capitalize()}, with no human command"


def _counted(count: int) -> str:
    return _COUNTED[count] if count < len(_COUNTED) else str(count)


def facts(account: Account, told: Told) -> list[Plain]:
    """The row of facts: a name, a figure with its unit, and what it rests on."""
    decisions = told.decisions
    own = [d for d in decisions if d.get("by") != "operator"]
    alarms = {(d.get("watch"), d["verdict"]["reason"]) for d in own if _kind(d) == "alarm"}
    back = [d for d in own if d["action"] == "roll_back" and d["status"] == "done"]
    counts, times = account.counts, told.timings
    missing = counts.predictions - counts.outcomes
    return [
        _fact("Flights", f"{counts.predictions:,}", "", f"{times.get('requests', 0):,} HTTP requests"),
        _fact("Outcomes missing", _share(missing, counts.predictions), "", f"{missing:,} flights"),
        _fact("Decisions", str(len(decisions)), "", f"{len(decisions) - len(own)} by people"),
        _fact("Alarms", str(len(alarms)), "", ", ".join(sorted({str(watch) for watch, _ in alarms}))),
        _fact("Rollbacks", str(len(back)), "", "; ".join(_exposed(account, d) for d in back)),
        _fact("To safe traffic", *_safe(times, back)),
        _fact("Speed", f"{times.get('rows_per_s', 0):,.0f}", "rows/s", f"{times.get('rows', 0):,} rows"),
    ]  # fmt: skip


def _fact(name: str, figure: str, unit: str, under: str) -> Plain:
    return {"name": name, "figure": figure, "unit": unit, "under": under}


def _kind(decision: Plain) -> str:
    return str((decision.get("verdict") or {}).get("kind", ""))


def _exposed(account: Account, decision: Plain) -> str:
    """How many flights a version that was rolled back had answered."""
    mine = [day for day in account.days if day.version == decision["version"] and day.role == Role.CHALLENGER]
    return f"version {decision['version']}, {sum(day.predictions for day in mine):,} flights exposed"


def _safe(times: Plain, back: Sequence[Plain]) -> tuple[str, str, str]:
    wanted = {decision["id"] for decision in back}
    moves = times.get("safe_traffic_ms", [])
    found = [move["ms"] for move in moves if move["id"] in wanted]
    if not found:
        return "\N{EN DASH}", "", "no rollback was timed"
    slowest = max(move["ms"] for move in moves)
    return f"{max(found):.1f}", "ms", f"from the deciding outcome; slowest move {slowest:.1f} ms"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "\N{EN DASH}"


def timeline(account: Account, decisions: Sequence[Plain]) -> list[Plain]:
    """Every decision as the list and the table show it."""
    return [_told(account, number, decision) for number, decision in enumerate(decisions, start=1)]


def _told(account: Account, number: int, decision: Plain) -> Plain:
    verdict, version, reason = decision.get("verdict"), decision.get("version"), decision["reason"]
    from_verdict = verdict is not None and reason == verdict["reason"]
    shown = None if verdict is None else _verdict(verdict)
    return {
        "n": number,
        "mark": mark_of(decision),
        "when": _when(account, decision),
        "what": words.action(decision),
        "version": "" if version is None else f"v{version}",
        "target": decision.get("target") or "",
        "verdict": shown,
        "outcomes": f"{decision.get('outcomes', 0):,}",
        "status": str(decision["status"]).replace("_", " "),
        "reason": words.minus(reason) if from_verdict else reason,
        "why": "" if from_verdict else reason,
        "by": decision.get("by") or "policy",
    }  # fmt: skip


def _verdict(verdict: Plain) -> Plain:
    effect = verdict.get("effect")
    return {
        "kind": str(verdict["kind"]).replace("_", "-"),
        "word": str(verdict["kind"]).replace("_", " "),
        "evidence": words.minus(words.e_value(verdict["evidence"])),
        "threshold": words.e_value(verdict["threshold"]),
        "effect": "" if effect is None else words.minus(words.signed(effect["estimate"])),
        "interval": "" if effect is None else words.minus(words.interval(effect)),
        "count": f"{verdict['count']:,}",
        "promise": verdict.get("promise", ""),
        "assumption": verdict.get("assumption", ""),
    }


def _when(account: Account, decision: Plain) -> str:
    moment = parse_time(decision["at"])
    if moment < DAY:
        return "at set-up"
    local: datetime = to_datetime(moment).astimezone(ZoneInfo(account.policy.timezone))
    return f"{local.day} {local:%b, %H:%M}"


def days_not_flights(account: Account) -> Plain | None:
    """Why blocks are judged: the design effect on the first version's reference; None without one."""
    reference = account.made[0].manifest.reference if account.made else None
    if reference is None:
        return None
    effect = reference.design_effect
    return {
        "version": account.made[0].number,
        "effect": f"{effect:.1f}",
        "days": len(reference.block_means),
        "rows": f"{reference.rows:,}",
        "worth": f"{reference.rows / effect:,.0f}" if effect else "",
        "most": f"{MOST_DESIGN_EFFECT:g}",
        "mean": f"{reference.mean:.3f}",
        "lineage": account.made[0].manifest.lineage,
        "promises": [
            {"name": f"Watch '{name}'", "text": watch.promise, "words": _promised(account, watch.promise)}
            for name, watch in account.policy.watches.items()
        ],
        "error": "" if account.policy.rollout is None else f"{account.policy.rollout.error:.0%}",
    }  # fmt: skip


def _promised(account: Account, text: str) -> str:
    return promised(parse(text), account.policy.block)


def promised(promise: Promise, block: int) -> str:
    """A promise in a sentence; `block` in microseconds."""
    if promise.mode is not Mode.RATE:
        when = "over a whole rollout" if promise.mode is Mode.ONCE else "ever, however long it watches"
        return f"A chance of at most {1 / promise.threshold:.0%} of a false alarm {when}."
    counted = "day" if promise.counts == "blocks" and block == DAY else str(promise.counts).rstrip("s")
    span = (
        f", about {promise.threshold / 365:.0f} years" if counted == "day" and promise.threshold > 730 else ""
    )
    return f"On average at most one false alarm in {promise.threshold:,.0f} {counted}s{span}."


def missing_by_month(account: Account) -> list[Plain]:
    """Flights and missing outcomes of each month of prediction."""
    found: dict[str, list[int]] = {}
    for day in account.answered():
        month = found.setdefault(account.policy.calendar.label(day.block)[:7], [0, 0])
        month[0] += day.predictions
        month[1] += day.predictions - day.outcomes
    most = max((gone / sent for sent, gone in found.values() if sent), default=1.0) or 1.0
    return [
        {"month": month, "flights": f"{sent:,}", "missing": f"{gone:,}", "share": _share(gone, sent),
         "width": round(100 * gone / sent / most, 1) if sent else 0}
        for month, (sent, gone) in sorted(found.items())
    ]  # fmt: skip


def times(timings: Plain, decisions: Sequence[Plain]) -> list[tuple[str, str]]:
    """Elapsed times, which differ from run to run, apart from the decisions, which do not."""
    names = {
        "setup_s": ("Set-up: reading flights, training two versions", "s"), "replay_s": ("Replay", "s"),
        "waited_for_retraining_s": ("of it, waiting for retraining", "s"), "total_s": ("In all", "s"),
        "peak_memory_mb": ("Peak memory of the largest process", "MB"),
    }  # fmt: skip
    rows = [(name, f"{timings[key]:,.1f} {unit}") for key, (name, unit) in names.items() if key in timings]
    numbers = {decision["id"]: number for number, decision in enumerate(decisions, start=1)}
    for move in timings.get("safe_traffic_ms", []):
        what = str(move["action"]).replace("_", " ")
        rows.append(
            (
                f"Decision {numbers.get(move['id'], '?')}, {what}: deciding outcome to new traffic",
                f"{move['ms']:.1f} ms",
            )
        )
    return rows
