"""The laws of `base.py` as code: any summary must pass them, a plugin's too.

Each check takes an empty summary and a source of values that it can summarise; it raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.summaries.base import Summary

Array = npt.NDArray[np.float64]
SummaryT = TypeVar("SummaryT", bound=Summary)
Values = Callable[[int], Array]
"""Makes that many values, shape (n,) or (n, c); the same number gives the same values."""


def check_order_does_not_matter(empty: SummaryT, values: Values) -> None:
    """Merging is associative and commutative, and adding is merging."""
    a, b, c = empty.add(values(40)), empty.add(values(7)), empty.add(values(1))
    _assert_close(a.merge(b).merge(c), a.merge(b.merge(c)))
    _assert_close(a.merge(b), b.merge(a))
    _assert_close(empty.add(np.concatenate((values(40), values(7)))), a.merge(b))


def check_nothing_changes_nothing(empty: SummaryT, values: Values) -> None:
    """No values, and the empty summary, leave a summary as it is."""
    some = empty.add(values(12))
    assert empty.count == 0, "an empty summary counts something"
    assert some.add(values(3)[:0]) == some, "adding no values changed the summary"
    assert some.merge(empty) == some, "merging the empty summary changed the summary"


def check_minus_takes_back(empty: SummaryT, values: Values) -> None:
    """What was added can be taken away: the count exactly, the sums to rounding."""
    kept, corrected = empty.add(values(30)), empty.add(values(4))
    assert kept.merge(corrected).minus(corrected).count == kept.count, "minus lost count"
    _assert_close(kept.merge(corrected).minus(corrected).merge(corrected), kept.merge(corrected))


def check_json_is_exact(empty: SummaryT, values: Values) -> None:
    """A summary goes through JSON bit for bit."""
    for summary in (empty, empty.add(values(25))):
        raw = msgspec.json.encode(summary)
        assert msgspec.json.decode(raw, type=type(summary)) == summary, "JSON changed the summary"


def check_bad_values_are_refused(empty: SummaryT, values: Values) -> None:
    """NaN and infinities raise InputError that names the row."""
    for bad in (np.nan, np.inf, -np.inf):
        broken = np.concatenate((values(2), np.full_like(values(1), bad)))
        try:
            empty.add(broken)
        except InputError as error:
            assert error.row == 2, f"the error about {bad} names row {error.row}, not 2"
        else:
            raise AssertionError(f"{bad} was summarised")


CHECKS = (
    check_order_does_not_matter,
    check_nothing_changes_nothing,
    check_minus_takes_back,
    check_json_is_exact,
    check_bad_values_are_refused,
)


def _assert_close(one: Summary, other: Summary) -> None:
    assert one.count == other.count, "counts differ"
    assert isinstance(one, Record) and isinstance(other, Record), "a summary must be a Record"
    for name in one.__struct_fields__:
        left, right = _number(getattr(one, name)), _number(getattr(other, name))
        assert np.allclose(left, right, rtol=1e-9, atol=1e-9), f"{name} depends on the order"


def _number(value: object) -> npt.NDArray[np.float64]:
    """What can be compared of a field: packed floats, a number, or nothing."""
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype="<f8")
    return np.asarray(value if isinstance(value, int | float | tuple) else 0.0, dtype=np.float64)
