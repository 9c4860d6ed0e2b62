"""`lossloop check skew`: what was sent and answered, against what the version makes of the same inputs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cyclopts import Parameter

from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, answer, home
from lossloop.app.skew import Difference, Found, Question, check_skew


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is looked at, and what may differ.

    Attributes:
        rows: How many predictions are drawn at most.
        tolerance: How far numbers may lie apart, relative to the larger of both, or of 1.
        allow: The share of rows that may differ.
    """

    rows: Annotated[int, Parameter(name="--rows")] = 10_000
    tolerance: Annotated[float, Parameter(name="--tolerance")] = 1e-5
    allow: Annotated[float, Parameter(name="--allow")] = 0.0


def skew(
    model: str,
    /,
    *,
    raw: Annotated[tuple[str, ...], Parameter(name="--raw", negative="")] = (),
    id: Annotated[str, Parameter(name="--id")] = "",
    version: Annotated[int | None, Parameter(name="--version")] = None,
    since: Annotated[str | None, Parameter(name="--since")] = None,
    limits: Limits = Limits(),
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Recompute sampled predictions offline, and find features that are not what they should be.

    Ends with 1 where anything differs in more rows than is allowed.

    Parameters
    ----------
    model
        The model.
    raw
        A file, a glob, a folder or an address of raw inputs; any number of times.
    id
        Their column that has the ids of the predictions.
    version
        Whose predictions; the champion's if left out.
    since
        From when on they were made: a moment, a day, or how long ago, such as 7d.
    limits
        How much is looked at, and what may differ.
    state
        The state directory.
    json
        Answer as JSON.
    """
    question = Question(
        model=model, version=version, since=since, raw=raw, id=id, rows=limits.rows,
        tolerance=limits.tolerance, allow=limits.allow,
    )  # fmt: skip
    found = check_skew(home(state), question)
    told = {**msgspec.to_builtins(found), "fine": found.fine}
    answer(told, as_json=json, words="\n".join(_lines(found)))
    if not found.fine:
        sys.stdout.flush()
        sys.exit(1)


def _lines(found: Found) -> Iterator[str]:
    drawn = (
        f"{found.rows:,} of {found.seen:,} predictions"
        if found.rows < found.seen
        else f"{found.rows:,} predictions"
    )
    yield f"{found.model}:{found.version}, {drawn} recomputed"
    if found.unread:
        yield f"{found.unread:,} rows of raw inputs are not what the transform takes, and were left out"
    for each in (*found.features, *([found.answers] if found.answers is not None else [])):
        yield from _told(each, skewed=each.name in found.skewed)
    if found.answers is None:
        yield "y_pred: not recomputed; another system serves the version"


def _told(each: Difference, *, skewed: bool) -> Iterator[str]:
    share = f"{each.share.low:.3%} to {each.share.high:.3%}"
    if not each.differing:
        yield f"  {each.name}: the same in all {each.rows:,} rows (95%: at most {each.share.high:.3%} differ)"
        return
    word = "SKEW" if skewed else "differs"
    yield f"  {each.name}: {word} in {each.share.estimate:.2%} of {each.rows:,} rows (95%: {share})"
    if each.pattern:
        yield f"    {each.pattern}"
    elif each.typical is not None:
        yield f"    typically by {each.typical:.6g}"
    for row in each.examples:
        yield (
            f"    {row.id}: {row.sent} was sent, {row.made} should be"
            if each.name != "y_pred"
            else (f"    {row.id}: {row.sent} was answered, {row.made} is what the version says")
        )
