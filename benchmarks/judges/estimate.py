"""Losses estimated before labels come, their blind spot, and what a few audit labels add (statistics.md, 2d).

    python -m benchmarks.judges.estimate [--replications 500] [--seed 0] [--json]

A calibrated classifier, whose chances follow a beta distribution, is judged by the Brier score.

*Estimates.* The inputs move (the chances come closer to a half), or the answer to the same inputs changes
(the model is right less often than it believes). The mean estimate is set beside the true mean.

*Audits.* A guardrail at "5% ever" with 5% of the labels. The chance of a false alarm in 20,000 outcomes whose
risk is the limit itself, and the median outcomes to an alarm once the answer has changed and the risk is a
quarter above it: by labels alone, by estimates and audits, and the same with estimates that are wrong: a
tenth of what they should be, all zero, all at the bound, and the opposite.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import print_figures
from lossloop.core.estimates import Estimate
from lossloop.judges import Audited, Estimated, calibration, expected_loss, parse, probabilities

Array = npt.NDArray[np.float64]
Bias = Callable[[Array], Array]

RATE, OUTCOMES, LONGEST = 0.05, 20_000, 60_000
SHAPE, MOVED = (1.0, 4.0), (4.0, 6.0)
"""Of the beta distribution of chances: as in the reference, and when the inputs have moved."""
BELIEVED = 0.86
"""How much of the model's confidence is left of use once the answer has changed."""


def outcomes(rng: np.random.Generator, chances: Array, *, changed: bool = False) -> Array:
    """The Brier score of each prediction."""
    true = 0.5 + (chances - 0.5) * BELIEVED if changed else chances
    return np.square((rng.random(len(chances)) < true) - chances)


def profile(rng: np.random.Generator, rows: int = 20_000) -> Estimate:
    """What a version's reference would hold."""
    chances = rng.beta(*SHAPE, rows)
    return calibration((rng.random(rows) < chances).astype(np.float64), chances, most=1.0)


def risk(*, changed: bool = False, rows: int = 2_000_000) -> float:
    """The true mean loss."""
    rng = np.random.default_rng(3)
    return float(outcomes(rng, rng.beta(*SHAPE, rows), changed=changed).mean())


REFERENCE, LIMIT = profile(np.random.default_rng(1)), risk()

WRONG: dict[str, Bias] = {
    "right": lambda f: f,
    "a tenth": lambda f: 0.1 * f,
    "all zero": np.zeros_like,
    "all at the bound": np.ones_like,
    "the opposite": lambda f: np.max(f) - f,
}
"""What is made of estimates before they are used."""


def estimates(chances: Array) -> Array:
    """The loss to expect of each prediction, from the version's profile."""
    costs = np.column_stack((np.square(chances), np.square(1.0 - chances)))
    return expected_loss(REFERENCE, probabilities(REFERENCE, chances), costs)


def blind_spot(rng: np.random.Generator, rows: int = 200_000) -> dict[str, float]:
    """Mean estimates beside the true means."""
    usual, moved = rng.beta(*SHAPE, rows), rng.beta(*MOVED, rows)
    return {
        "healthy: true loss": float(outcomes(rng, usual).mean()),
        "healthy: estimated": float(estimates(usual).mean()),
        "inputs moved: true loss": float(outcomes(rng, moved).mean()),
        "inputs moved: estimated": float(estimates(moved).mean()),
        "answers changed: true loss": float(outcomes(rng, usual, changed=True).mean()),
        "answers changed: estimated": float(estimates(usual).mean()),
    }


def first_alarm(
    rng: np.random.Generator, rows: int, *, eta: float | None, bias: Bias, changed: bool
) -> float:
    """After how many outcomes estimates and audits alarm; infinite where they do not."""
    judge = Audited(limit=LIMIT, promise=parse("5% ever"), rate=RATE, cap=1.0, eta=eta)
    chances = rng.beta(*SHAPE, rows)
    loss, drawn = outcomes(rng, chances, changed=changed), rng.random(rows) < RATE
    state, _ = judge.update(judge.start(), judge.audits(bias(estimates(chances)), loss, drawn))
    return np.inf if state.wealth.crossed is None else float(state.wealth.crossed)


def estimated_alarm(rng: np.random.Generator, shape: tuple[float, float]) -> float:
    """After how many predictions estimates alone alarm, at a limit with 5% of room."""
    judge = Estimated(limit=1.05 * LIMIT, promise=parse("5% ever"))
    state, _ = judge.update(judge.start(), estimates(rng.beta(*shape, OUTCOMES)))
    return np.inf if state.wealth.crossed is None else float(state.wealth.crossed)


def measure(replications: int, seed: int) -> dict[str, float]:
    """All figures, by name."""
    rng = np.random.default_rng(seed)
    found = blind_spot(rng)
    ways: dict[str, tuple[float | None, Bias]] = {
        "labels alone": (0.0, WRONG["right"]),
        "estimates trusted in full": (1.0, WRONG["right"]),
    }
    ways |= {f"estimates {name}": (None, bias) for name, bias in WRONG.items()}
    for name, (eta, bias) in ways.items():
        false, delays = (
            np.array(
                [first_alarm(rng, rows, eta=eta, bias=bias, changed=changed) for _ in range(replications)]
            )
            for rows, changed in ((OUTCOMES, False), (LONGEST, True))
        )
        found[f"{name}: false alarms"] = float(np.isfinite(false).mean())
        found[f"{name}: outcomes to an alarm"] = float(np.median(delays))
    alone, moved = ([estimated_alarm(rng, shape) for _ in range(replications)] for shape in (SHAPE, MOVED))
    found["no audits, answers changed: alarms"] = float(np.isfinite(alone).mean())
    found["no audits, inputs moved: predictions to an alarm"] = float(np.median(moved))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    print_figures("estimate", __doc__, measure, arguments, replications=500)


if __name__ == "__main__":
    main()
