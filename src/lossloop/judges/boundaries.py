"""Boundaries that a sum crosses with a chance of at most `error`, however long anyone looks.

The sum starts at 0 and has mean 0 while all is well; `variance` is what it has gathered so far (its intrinsic
time). Formulas of Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
sequences" (2021); their values are checked against the authors' library, confseq.

A mixture is an average of bets of all sizes, and crosses when its logarithm reaches log(1/error). `rho` says
at which variance it is narrowest. The normal mixture bounds sums of sub-Gaussian steps, two-sided for
`intervals`; the beta-binomial one sums of steps in [-g, h]. Stitching bounds sub-gamma steps of scale c, is
wider, and grows as slowly as a boundary can.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lossloop.core.errors import InputError

_ZETA_TERMS = 20


def normal_mixture_rho(v_opt: float, error: float) -> float:
    """The `rho` at which the two-sided boundary is narrowest at variance `v_opt`; one-sided, give 2 error."""
    return v_opt / (2.0 * math.log(1.0 / error) + math.log(1.0 + 2.0 * math.log(1.0 / error)))


def normal_mixture_bound(variance: float, error: float, rho: float) -> float:
    """What a sum of that variance stays below in size: the two-sided boundary, in closed form."""
    return math.sqrt((variance + rho) * (math.log1p(variance / rho) + 2.0 * math.log(1.0 / error)))


def log_normal_mixture(total: float, variance: float, rho: float) -> float:
    """The log wealth of two-sided bets on a sum."""
    return 0.5 * math.log(rho / (variance + rho)) + total**2 / (2.0 * (variance + rho))


def log_one_sided_normal_mixture(total: float, variance: float, rho: float) -> float:
    """The log wealth of bets on a sum that is too large."""
    spread = math.sqrt(variance + rho)
    below = 0.5 * math.erfc(-total / (spread * math.sqrt(2.0)))
    return math.log(2.0 * below) + log_normal_mixture(total, variance, rho)


def one_sided_normal_mixture_bound(variance: float, error: float, rho: float) -> float:
    """What a sum of that variance stays below."""
    return _crossing(lambda total: log_one_sided_normal_mixture(total, variance, rho), error)


def log_beta_binomial_mixture(total: float, variance: float, rho: float, *, g: float, h: float) -> float:
    """The log wealth of two-sided bets on a sum of steps in [-g, h].

    Raises:
        InputError: `rho` is not above g h, or the steps could not have come to such a sum.
    """
    both, rest = g + h, rho - g * h
    up, down = (rest + variance + h * total) / (h * both), (rest + variance - g * total) / (g * both)
    if min(g, h, rest, up, down) <= 0.0:
        raise InputError(
            f"a sum of {total:g} and variance {variance:g} of steps in [-{g:g}, {h:g}] cannot be"
        )
    return (
        variance / (g * h) * math.log(both)
        - (variance + h * total) / (h * both) * math.log(g)
        - (variance - g * total) / (g * both) * math.log(h)
        + _log_beta(down, up)
        - _log_beta(rest / (g * both), rest / (h * both))
    )


def poly_stitching_bound(
    variance: float, error: float, v_min: float, *, c: float = 0.0, s: float = 1.4, eta: float = 2.0
) -> float:
    """What a sum of that variance, at least `v_min`, stays below; c is the scale of sub-gamma steps.

    Raises:
        InputError: Unless s and eta are above 1 and `v_min` above 0.
    """
    if min(s, eta) <= 1.0 or v_min <= 0.0:
        raise InputError("stitching needs s > 1, eta > 1 and v_min > 0")
    epochs = s * math.log(math.log(eta * max(variance, v_min) / v_min))
    log_term = epochs + math.log(_zeta(s) / (error * math.log(eta) ** s))
    root = (eta**0.25 + eta**-0.25) ** 2 / 2.0 * max(variance, v_min) * log_term
    linear = (math.sqrt(eta) + 1.0) / 2.0 * c * log_term
    return math.sqrt(root + linear**2) + linear


def _crossing(log_wealth: Callable[[float], float], error: float) -> float:
    """Where a log wealth that rises with the sum reaches log(1/error), from 0."""
    low, high, needed = 0.0, 1.0, math.log(1.0 / error)
    while log_wealth(high) < needed:
        low, high = high, 2.0 * high
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if log_wealth(middle) < needed else (low, middle)
    return high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _zeta(s: float) -> float:
    """Riemann's zeta for s > 1, by the formula of Euler and Maclaurin; to 1e-9 from 1.1 on."""
    n = float(_ZETA_TERMS)
    head: float = math.fsum(float(k) ** -s for k in range(1, _ZETA_TERMS))
    tail: float = n ** (1.0 - s) / (s - 1.0) + 0.5 * n**-s + s * n ** (-s - 1.0) / 12.0
    rest: float = s * (s + 1.0) * (s + 2.0) * n ** (-s - 3.0) / 720.0
    return head + tail - rest
