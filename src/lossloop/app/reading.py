"""What people and tools are shown of the state, as plain values: the same for CLI and HTTP."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from lossloop.act import outbox
from lossloop.act.policy import read_policy
from lossloop.act.rollout import Rollout
from lossloop.act.watches import SlicesWatch, Watch
from lossloop.app.answers import answers, errors
from lossloop.app.books import Books, Counts
from lossloop.app.circuits import open_circuits
from lossloop.app.eras import Switch, switches
from lossloop.app.experiments import experiment_of
from lossloop.app.gated import gated
from lossloop.app.holdouts import held_out
from lossloop.app.reasons import reasons
from lossloop.app.releases import part_of
from lossloop.app.showing import Shelf, beside, judging, shown
from lossloop.app.slices import worst
from lossloop.app.telling import told_experiment, told_holdout
from lossloop.app.watches import kind_of
from lossloop.core.clock import format_duration, format_time
from lossloop.core.records import Decision, Verdict
from lossloop.core.traffic import Traffic
from lossloop.judges import parse
from lossloop.ledger.applier import DAMAGE
from lossloop.ledger.base import LogReader
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.lookup import find
from lossloop.ledger.store import Store
from lossloop.registry import Version, versions


def overview(state: Store) -> dict[str, Any]:
    """How far the loop has come."""
    books = Books(state)
    return {
        "models": len(books.models()),
        "clock": format_time(books.now()) if books.now() else None,
        "frozen": books.frozen() is not None,
        "pending": len(outbox.pending(state)),
        "damaged_bytes": sum(state.all(DAMAGE, int).values()),
    }


def status(books: Books, model: str) -> dict[str, Any]:
    """All about one model.

    Raises:
        UnknownName: There is no such model.
    """
    policy = books.policy(model)
    rollout = books.rollout(model)
    return {
        "model": model,
        "mode": str(policy.mode),
        "loss": books.lens(model).loss.version,
        "clock": format_time(books.now()) if books.now() else None,
        "frozen": msgspec.to_builtins(books.frozen()),
        "aliases": versions.aliases(books.documents, model),
        "versions": [_version(version) for version in versions.versions(books.documents, model)],
        "traffic": _traffic(books.traffic(model)),
        "rollout": None if rollout is None else _rollout(books, rollout),
        "experiment": told_experiment(experiment_of(books.documents, model)),
        "holdout": told_holdout(held_out(books.documents, model)),
        "watches": {name: _watch(books, model, name, watch) for name, watch in policy.watches.items()},
        "counts": msgspec.to_builtins(books.documents.get("counts", model, Counts)) or {},
        "missing": reasons(books.documents, model),
        "losses": _losses(books, model, judging(model)),
        "beside": [
            {"loss": other.loss.version, "unit": other.loss.unit,
             "losses": _losses(books, model, beside(model, other.policy.loss))}
            for other in books.lens(model).beside
        ],
        "answers": answers(books.documents, model),
        "errors": errors(books.documents, model),
        "circuits": open_circuits(books.decisions(model)),
        "switches": [_switch(switch) for switch in switches(books.documents, model)],
    }  # fmt: skip


def decisions(books: Books, model: str) -> list[dict[str, Any]]:
    """Every decision on a model as plain values, times in ISO 8601."""
    books.policy(model)
    return [plain(decision) for decision in books.decisions(model)]


def plain(decision: Decision) -> dict[str, Any]:
    """A decision as plain values, every key there, its time in ISO 8601."""
    verdict = decision.verdict
    shown: dict[str, Any] = {
        **msgspec.structs.asdict(decision),
        "at": format_time(decision.at),
        "verdict": None if verdict is None else _plain_verdict(verdict),
    }
    return shown


def _plain_verdict(verdict: Verdict) -> dict[str, Any]:
    effect = None if verdict.effect is None else msgspec.structs.asdict(verdict.effect)
    return {**msgspec.structs.asdict(verdict), "kind": str(verdict.kind), "effect": effect}


def prediction(store: Store, log: LogReader, keys: Keys, model: str, id: str) -> dict[str, Any] | None:
    """One prediction and its outcome; None where the loop has not folded it."""
    found = find(store, log, keys, model, id)
    if found is None:
        return None
    thresholds = versions.find(store, model, found.version).manifest.thresholds if found.version else None
    score = found.y_pred if isinstance(found.y_pred, float) else None
    return {
        "model": model, "id": id, "version": found.version, "role": found.role,
        "propensity": found.propensity, "time": format_time(found.time), "unit": found.sent.get("unit"),
        "y_pred": found.y_pred, "error": found.sent.get("error"), "latency_ms": found.sent.get("latency_ms"),
        "y_true": found.y_true,
        "action": thresholds.action(score) if thresholds and score is not None else None,
        "limited": found.sent.get("limited"), "raw_y_pred": found.sent.get("raw_y_pred"),
        "explanation": _explanation(found.sent.get("explanation")),
        "outcome_time": None if found.labelled_at is None else format_time(found.labelled_at),
    }  # fmt: skip


def _explanation(text: str | None) -> dict[str, Any] | None:
    """As it was made; None where there is none, or another system wrote something else there."""
    with contextlib.suppress(msgspec.DecodeError):
        return None if text is None else msgspec.json.decode(text, type=dict[str, Any])
    return None


def _rollout(books: Books, rollout: Rollout) -> dict[str, Any]:
    """A rollout, its share of the traffic, the chance of each mistake that it has, and what its gates say."""
    plan, told = rollout.plan, _without_salt(rollout)
    told["plan"] |= {
        "step_for": format_duration(plan.step_for), "decide_within": format_duration(plan.decide_within)
    }  # fmt: skip
    return {
        **told, "started": format_time(rollout.started), "since": format_time(rollout.since),
        "share": rollout.share, "promise": part_of(plan, rollout.number).promise.words,
        "gates": {
            name: _plain_verdict(each.verdict)
            for name, each in gated(books.documents, rollout.model).items()
        },
    }  # fmt: skip


def _traffic(traffic: Traffic | None) -> dict[str, Any] | None:
    """Who should answer; of a rollout, whose arm is the only one, also as its challenger and the share."""
    if traffic is None:
        return None
    told = _without_salt(traffic)
    if len(traffic.arms) == 1:
        told |= {"challenger": traffic.challenger} | ({"share": traffic.share} if traffic.share else {})
    return told


def _without_salt(found: Traffic | Rollout) -> dict[str, Any]:
    """As plain values: who knows what units are assigned by could choose the version that they meet."""
    told: dict[str, Any] = msgspec.to_builtins(found)
    if not told.get("serving"):
        told.pop("serving", None)  # the policy says nothing of it
    return {name: value for name, value in told.items() if name not in ("salt", "holdout_salt")}


def _version(version: Version) -> dict[str, Any]:
    reference = version.manifest.reference
    return {
        "version": version.number, "digest": version.digest[:12], "runtime": version.manifest.runtime,
        "registered_at": format_time(version.registered_at) if version.registered_at else None,
        "reference": None if reference is None else {"loss": reference.loss, "mean": reference.mean},
        "thresholds": msgspec.to_builtins(version.manifest.thresholds),
    }  # fmt: skip


def _watch(books: Books, model: str, name: str, watch: Watch) -> dict[str, Any]:
    """A watch's last verdict, what it asks, and what it cannot see."""
    asks = {
        "asks": watch.kind,
        "promise": parse(watch.promise).words,
        "cannot_see": kind_of(watch).cannot_see,
    }
    state = books.watch(model, name)
    if state is None or state.verdict is None:
        failed = books.documents.get("watch_error", f"{model}/{name}", Verdict)
        silent = {"kind": "no_data", "reason": "nothing was judged yet"}
        return {**asks, **(msgspec.to_builtins(failed) if failed else silent)}
    incident = None if state.incident is None else format_time(state.incident)
    more = {"worst": worst(books, model, name)} if isinstance(watch, SlicesWatch) else {}
    return {**asks, **msgspec.to_builtins(state.verdict), "incident": incident, **more}


def _switch(switch: Switch) -> dict[str, Any]:
    """When which loss took over from which, by whom and why."""
    old, new = (read_policy(text).loss for text in (switch.before, switch.after))
    return {
        "at": format_time(switch.at), "from": old, "to": new, "by": switch.by, "reason": switch.reason,
    }  # fmt: skip


def _losses(books: Books, model: str, shelf: Shelf) -> list[dict[str, Any]]:
    """Mean loss by version and role over all blocks, as outcomes came."""
    totals: dict[tuple[int, str], list[float]] = {}
    for part in shown(books.documents, model, shelf):
        total = totals.setdefault((part.version, part.role), [0, 0, 0.0])
        total[0] += part.predictions
        total[1] += part.losses.count
        total[2] += part.losses.total
    return [
        {"version": version, "role": role, "predictions": int(sent), "outcomes": int(count),
         "mean": loss / count if count else None}
        for (version, role), (sent, count, loss) in sorted(totals.items())
    ]  # fmt: skip
