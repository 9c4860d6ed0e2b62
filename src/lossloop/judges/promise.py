"""A promise: a watch's error budget, in the user's words.

Four kinds (shared/statistics.md, section 1), each with a number A; a watch acts once its wealth M >= A:

- `rate`, "1 per 3650 blocks": at most one false alarm per A outcomes (or blocks) on average, and a chance of
  at most T/A of a false alarm within the first T, for every T;
- `life`, "5% ever": a chance of at most 1/A of a false alarm ever; still fast after a long healthy life;
- `once`, "5% once": the same chance; best where a fault would be there from the first outcome (a canary);
- `among`, "5% false among alarms": of the slices that alarm together a share of at most 1/A is healthy, on
  average, whenever anyone looks; for a watch over many slices, and for no other.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum

import msgspec

from lossloop.core.errors import InputError
from lossloop.core.records import Record

EXAMPLES = "'1 per 3650 blocks', '1 per 1,000,000 outcomes', '5% ever' or '5% once'"
AMONG_EXAMPLES = "'5% false among alarms' or '5% ever'"

_RATE = re.compile(
    r"(?P<alarms>[-\d.,_]+)(?: false alarms?)? per (?P<span>[-\d.,_]+) (?P<unit>outcome|prediction|block)s?",
    re.IGNORECASE,
)
_CHANCE = re.compile(r"(?P<percent>[-\d.,_]+) ?%(?: chance)? (?P<mode>ever|once)", re.IGNORECASE)
_AMONG = re.compile(
    r"(?P<percent>[-\d.,_]+) ?% false among alarms(?: over (?P<unit>outcome|prediction|block)s)?",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s+")


class Mode(StrEnum):
    """What kind of error budget a promise is."""

    RATE = "rate"
    LIFE = "life"
    ONCE = "once"
    AMONG = "among"


class Counts(StrEnum):
    """What a promise counts; a chance (`life`, `once`) holds for either."""

    OUTCOMES = "outcomes"
    BLOCKS = "blocks"
    EITHER = "either"


class Promise(Record, frozen=True):
    """An error budget: its kind, the wealth A at which a watch acts, what it counts, and the user's words.

    Raises InputError unless A is finite and above 1.
    """

    mode: Mode
    threshold: float
    """A, an e-value: 3650 for "1 per 3650 blocks", 20 for "5% ever"."""
    counts: Counts = Counts.EITHER
    words: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold > 1.0):
            raise InputError(
                f"a promise needs a finite threshold above 1, not {self.threshold!r}; write {EXAMPLES}",
                field="promise",
            )

    @property
    def log_threshold(self) -> float:
        """`log A`: act once the log wealth is at least this."""
        return math.log(self.threshold)


def parse(text: str) -> Promise:
    """Read a promise in words: ``1 per 3650 blocks``, ``5% ever``, ``5% once``, ``5% false among alarms``.

    Raises InputError that says what is wrong, with examples.
    """
    words = _SPACE.sub(" ", text).strip()
    if match := _RATE.fullmatch(words):
        return _rate(match, words)
    if match := _CHANCE.fullmatch(words):
        return chance(_number(match["percent"], words) / 100, _mode(match["mode"]), words=words)
    if match := _AMONG.fullmatch(words):
        unit = (match["unit"] or "").lower()
        counts = {"": Counts.EITHER, "block": Counts.BLOCKS}.get(unit, Counts.OUTCOMES)
        return msgspec.structs.replace(
            chance(_number(match["percent"], words) / 100, Mode.AMONG, words=words), counts=counts
        )
    raise _error(f"{text!r} is not a promise")


def chance(error: float, mode: Mode = Mode.ONCE, *, words: str = "") -> Promise:
    """A promise of at most `error` (strictly between 0 and 1), of the mode `life`, `once` or `among`."""
    if mode is Mode.RATE:
        raise _error("a rate is no chance")
    if not 0.0 < error < 1.0:
        raise _error(f"{words or error!r}: a chance lies above 0% and below 100%")
    when = {Mode.ONCE: "once", Mode.AMONG: "false among alarms"}.get(mode, "ever")
    return Promise(mode=mode, threshold=1.0 / error, words=words or f"{100 * error:.6g}% {when}")


def spend(error: float, release: int) -> float:
    """The share of a total `error` that release number `release` (from 1) may use: 6 error / (pi j)^2.

    The shares of all releases, however many there will be, add up to `error` (statistics.md, 2i).
    """
    if release < 1:
        raise InputError(f"releases are numbered from 1, not {release}")
    return 6.0 * error / (math.pi * release) ** 2


def _rate(match: re.Match[str], words: str) -> Promise:
    alarms, span = _number(match["alarms"], words), _number(match["span"], words)
    if alarms <= 0.0 or span <= 0.0:
        raise _error(f"{words!r}: both numbers must be above 0")
    if span <= alarms:
        raise _error(f"{words!r} allows an alarm at every {match['unit']}; the second number must be larger")
    counts = Counts.BLOCKS if match["unit"].lower() == "block" else Counts.OUTCOMES
    return Promise(mode=Mode.RATE, threshold=span / alarms, counts=counts, words=words)


def _mode(word: str) -> Mode:
    return Mode.ONCE if word.lower() == "once" else Mode.LIFE


def _number(text: str, words: str) -> float:
    try:
        return float(text.replace(",", "").replace("_", ""))
    except ValueError:
        raise _error(f"{words!r}: {text!r} is not a number") from None


def _error(problem: str) -> InputError:
    return InputError(f"{problem}; write {EXAMPLES}", field="promise")
