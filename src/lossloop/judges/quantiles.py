"""The two quantiles that references need, beta and Student's t, without SciPy.

The regularised incomplete beta function by its continued fraction (Press et al., "Numerical Recipes", 6.4,
the modified Lentz method); its inverse by bisection, which cannot fail.
"""

from __future__ import annotations

import math
from functools import lru_cache

from lossloop.core.errors import InputError

_TINY = 1e-300
_TERMS = 100_000


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) for X ~ Beta(a, b); a, b > 0."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x with P(X <= x) = probability for X ~ Beta(a, b)."""
    _check(probability)
    return _bisected(probability, a, b)


@lru_cache(maxsize=1024)
def _bisected(probability: float, a: float, b: float) -> float:
    """Some milliseconds of work, and a watch asks for the same one whenever it judges."""
    low, high = 0.0, 1.0
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            return middle
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle


def t_quantile(probability: float, freedom: float) -> float:
    """The t with P(T <= t) = probability for Student's t with `freedom` > 0 degrees of freedom."""
    _check(probability)
    if probability < 0.5:
        return -t_quantile(1.0 - probability, freedom)
    if probability == 0.5:
        return 0.0
    # T^2 / (v + T^2) is Beta(1/2, v/2); its complement y keeps its digits where T is large.
    y = beta_quantile(2.0 * (1.0 - probability), freedom / 2.0, 0.5)
    return math.sqrt(freedom * (1.0 - y) / y)


def _check(probability: float) -> None:
    if not 0.0 < probability < 1.0:
        raise InputError(f"a quantile needs a probability between 0 and 1, not {probability}")


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
