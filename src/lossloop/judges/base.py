"""The contract of a judge: a small pure state machine that turns evidence into a verdict.

    state = judge.start()
    state, verdict = judge.update(state, evidence)

- `evidence` comes in prediction order, in batches of any size; how it is cut changes no bit of a verdict.
- A verdict is `no_data` only while nothing was ever judged. No data is never a pass.
- Evidence that holds NaN or an infinity (or a value outside the declared bounds) gives the verdict `error`
  and leaves the state as it was. Evidence of the wrong shape raises InputError.
- Once the evidence has reached the threshold the verdict stays, with the evidence at the deciding outcome,
  until the owner begins again with `start()` (after an action or a cooldown).
- A state is a Record: JSON keeps it bit for bit.

`checks.py` holds these laws as code; every judge passes them, a plugin's too.
"""

from __future__ import annotations

import math
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval, Record, Verdict, VerdictKind
from lossloop.judges.engine import Engine, Step, Wealth

Array = npt.NDArray[np.float64]
Kinds = tuple[VerdictKind, VerdictKind]
"""What a verdict is once the evidence has reached the threshold, and what before."""

StateT = TypeVar("StateT", bound=Record)
EvidenceT_contra = TypeVar("EvidenceT_contra", contravariant=True)
AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Evidence(Protocol):
    """Rows (or blocks) in prediction order: they have a length and can be cut. An array is evidence."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Self: ...


class Sketch(Protocol):
    """A block of losses known by its digest only: sums, and weights on knots that have the same sum.

    The bets are concave, so what they win on the knots is at most what they win on the losses.
    `lossloop.summaries.Digest` is one.
    """

    @property
    def count(self) -> int: ...

    @property
    def total(self) -> float: ...

    @property
    def squares(self) -> float:
        """The sum of the squares."""
        ...

    @property
    def knots(self) -> Array:
        """Ascending, shape (b,), in the loss's unit."""
        ...

    @property
    def weights(self) -> Array:
        """How many losses each knot stands for, shape (b,), at least 0."""
        ...


class Judge(Protocol[StateT, EvidenceT_contra, AnswerT_co]):
    """Anything that keeps the laws above; its answer is a Verdict or a Comparison."""

    def start(self) -> StateT:
        """The state before any evidence."""
        ...

    def update(self, state: StateT, evidence: EvidenceT_contra, /) -> tuple[StateT, AnswerT_co]:
        """Judge more evidence; pure."""
        ...


def losses_array(values: npt.ArrayLike, *, name: str = "losses") -> Array:
    """A float64 array of shape (n,); InputError for any other shape or kind."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers", field=name) from None
    if array.ndim != 1:
        raise InputError(f"{name} must have one dimension, not {array.ndim}", field=name)
    return array


def problem_in(values: Array, low: float, high: float, *, name: str = "loss") -> str:
    """Say what is wrong with the first value that is not a number in [low, high]; "" if all are.

    Values may stand outside by rounding (1e-9 of the range), as a mean of bounded losses may.
    """
    slack = 1e-9 * max((abs(end) for end in (low, high) if math.isfinite(end)), default=0.0)
    bad = ~(np.isfinite(values) & (values >= low - slack) & (values <= high + slack))
    if not bad.any():
        return ""
    row = int(bad.argmax())
    if np.isfinite(values[row]):
        return f"{name} {values[row]:.6g} at row {row} lies outside [{low:g}, {high:g}]"
    return f"{name} at row {row} is {values[row]}, not a finite number"


def verdict_of(
    engine: Engine,
    wealth: Wealth,
    step: Step,
    kinds: Kinds,
    *,
    effect: Interval | None,
    assumption: str,
    reason: str,
) -> Verdict:
    """The verdict on a state: `kinds[0]` once it has crossed, else `kinds[1]`, or `no_data` before any."""
    crossed = wealth.crossed is not None
    kind = kinds[0] if crossed else kinds[1]
    return Verdict(
        kind=kind if wealth.count else VerdictKind.NO_DATA,
        evidence=step.evidence,
        threshold=engine.promise.log_threshold,
        count=wealth.count,
        effect=effect,
        crossed_at=step.crossed_at,
        promise=engine.promise.words,
        assumption=assumption,
        reason=reason if wealth.count else "nothing was judged yet",
    )


def error_of(engine: Engine, wealth: Wealth, problem: str, *, assumption: str) -> Verdict:
    """The verdict on evidence that cannot be judged; the state stays as it was."""
    return Verdict(
        kind=VerdictKind.ERROR,
        evidence=engine.evidence(wealth),
        threshold=engine.promise.log_threshold,
        count=wealth.count,
        promise=engine.promise.words,
        assumption=assumption,
        reason=f"{problem}; nothing of this batch was judged",
    )


def reached(engine: Engine, wealth: Wealth, evidence: float) -> str:
    """The tail of a reason: how the evidence, as an e-value, stands to its threshold."""
    needed = e_value(engine.promise.log_threshold)
    if wealth.crossed is not None:
        return f"evidence {e_value(evidence)} reached {needed} at number {wealth.crossed:,}"
    return f"evidence {e_value(evidence)} of {needed}"


def e_value(log: float) -> str:
    """An e-value in words, from its natural logarithm: ``27.7``, ``3,650``; beyond a million ``1.2e8``.

    To three digits, and to all of them above a thousand, where thresholds are round numbers.
    """
    tenth = log / math.log(10)
    if not -3 <= tenth < 9:
        power = math.floor(tenth)
        return f"{min(10 ** (tenth - power), 9.9):.1f}e{power}"  # not 10.0e8
    value = math.exp(log)
    decimals = max(0, 2 - math.floor(tenth + 1e-12))
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:,.0f}"
