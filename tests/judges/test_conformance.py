"""Every judge passes every check; a judge without an example fails the suite."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from lossloop import judges
from lossloop.judges import (
    Assigned,
    Audited,
    Audits,
    Averages,
    BlockDrift,
    Canary,
    Certificate,
    Domain,
    Drift,
    Estimated,
    Guardrail,
    Pairs,
    Regression,
    Seasonal,
    SeasonalGuardrail,
    Shadow,
    Share,
    Skill,
    SliceLosses,
    Slices,
    parse,
    reference_of,
)
from lossloop.judges.checks import CHECKS, Example
from tests.judges.references import averages, binned, block_means, columns, reference

Array = npt.NDArray[np.float64]


def _losses(low: float, high: float) -> Callable[[np.random.Generator, int], Array]:
    def draw(rng: np.random.Generator, rows: int) -> Array:
        return rng.uniform(low, high, rows)

    return draw


def _zeros_and_ones(share: float) -> Callable[[np.random.Generator, int], Array]:
    def draw(rng: np.random.Generator, rows: int) -> Array:
        found: Array = (rng.random((rows, 1)) < share).astype(np.float64)
        return found

    return draw


def _assigned(gap: float, missing: float = 0.0) -> Callable[[np.random.Generator, int], Assigned]:
    def draw(rng: np.random.Generator, rows: int) -> Assigned:
        p = rng.choice([0.3, 0.5], rows)
        canary = rng.random(rows) < p
        loss = np.clip(rng.uniform(0.0, 0.4, rows) + gap * canary, 0.0, 1.0)
        loss[rng.random(rows) < missing] = np.nan
        return Assigned(loss=loss, is_canary=canary, propensity=p)

    return draw


def _pairs(gap: float, missing: float = 0.0) -> Callable[[np.random.Generator, int], Pairs]:
    def draw(rng: np.random.Generator, rows: int) -> Pairs:
        difference = rng.uniform(-0.3, 0.3, rows) + gap
        difference[rng.random(rows) < missing] = np.nan
        return Pairs(difference=difference)

    return draw


def _rows(shift: float) -> Callable[[np.random.Generator, int], npt.NDArray[np.uint8]]:
    return lambda rng, rows: binned(PROFILE, columns(rng, rows, shift=shift))


def _blocks(shift: float) -> Callable[[np.random.Generator, int], Averages]:
    return lambda rng, blocks: block_means(PROFILE, columns(rng, 20 * blocks, shift=shift), blocks)


def _bad_losses(*more: float) -> tuple[Array, ...]:
    return tuple(np.array([0.1, bad]) for bad in (np.nan, np.inf, -np.inf, *more))


def _bad_rows(loss: float, propensity: float) -> Assigned:
    return Assigned(
        loss=np.array([0.1, loss]), is_canary=np.array([True, False]), propensity=np.array([0.5, propensity])
    )


PROFILE = reference()


def _audits(judge: Audited, gap: float) -> Callable[[np.random.Generator, int], Audits]:
    def draw(rng: np.random.Generator, rows: int) -> Audits:
        loss = np.clip(rng.uniform(0.0, 0.4, rows) + gap, 0.0, 1.0)
        drawn = rng.random(rows) < judge.rate
        loss[rng.random(rows) < 0.05] = np.nan
        return judge.audits(rng.uniform(0.0, 0.4, rows), loss, drawn)

    return draw


def _bad_audits(judge: Audited) -> tuple[Audits, ...]:
    fine, drawn = np.array([0.1, 0.1]), np.array([True, True])
    return tuple(judge.audits(fine, np.array([0.1, bad]), drawn) for bad in (np.inf, -np.inf, -0.5))


def _seasonal(gap: float) -> Callable[[np.random.Generator, int], Seasonal]:
    def draw(rng: np.random.Generator, rows: int) -> Seasonal:
        limit = rng.choice([0.4, 0.6], rows)
        return Seasonal(loss=limit * rng.uniform(0.5, 1.3, rows) + gap, limit=limit)

    return draw


AUDITED = Audited(limit=0.3, promise=parse("1 per 1000 outcomes"), rate=0.5, cap=0.5)
TRUSTED = Audited(limit=0.3, promise=parse("5% ever"), rate=0.5, cap=0.5, eta=0.5)


def _slices(high: float, every: int = 1) -> Callable[[np.random.Generator, int], SliceLosses]:
    """Three slices; the last one loses up to `high`, and is there in one moment of `every`."""

    def draw(rng: np.random.Generator, moments: int) -> SliceLosses:
        there = np.column_stack([np.ones((moments, 2), bool), np.arange(moments) % every == 0])
        moment, place = np.nonzero(there)
        loss = rng.uniform(0.0, np.where(place == 2, high, 1.0))
        rows = np.full(len(place), 4)
        total = np.full(moments, 12)
        return SliceLosses(
            names=("a", "b", "c"),
            moment=moment,
            place=place,
            loss=loss,
            rows=rows,
            labelled=rows,
            total=total,
        )

    return draw


def _bad_slices(loss: float) -> SliceLosses:
    two = np.arange(2)
    return SliceLosses(
        names=("a", "b"), moment=two, place=two, loss=np.array([0.1, loss]), rows=two, labelled=two, total=two
    )


BAD_SLICES = tuple(map(_bad_slices, (np.nan, np.inf, -np.inf, -0.5)))
PROMISE = parse("1 per 1000 outcomes")
REFERENCE = reference_of(np.linspace(0.0, 1.0, 200), bound=1.0)
BAD_ROWS = tuple(
    _bad_rows(*bad)
    for bad in ((np.inf, 0.5), (1.5, 0.5), (-0.1, 0.5), (0.1, np.nan), (0.1, 0.0), (0.1, 1.0), (0.1, 7.0))
)
BAD_PAIRS = tuple(Pairs(difference=np.array([0.1, bad])) for bad in (np.inf, -np.inf, 1.5))


def _canary(missing: str) -> Canary:
    return Canary(bound=1.0, roll_back_if_worse_by=0.02, promote_if_within=0.01, missing=missing)


def _shadow(missing: str) -> Shadow:
    return Shadow(bound=1.0, roll_back_if_worse_by=0.02, promote_if_within=0.01, missing=missing)


EXAMPLES = {
    "guardrail": Example(
        Guardrail(limit=0.6, promise=PROMISE), _losses(0.0, 1.0), _losses(0.6, 1.4), _bad_losses(-0.5)
    ),
    "guardrail with a floor": Example(
        Guardrail(limit=0.0, promise=parse("5% ever"), floor=-1.0),
        _losses(-1.0, 0.8),
        _losses(0.0, 1.0),
        _bad_losses(-1.5),
    ),
    "certificate": Example(
        Certificate(limit=0.6, bound=1.0, promise=parse("5% once")),
        _losses(0.3, 0.9),
        _losses(0.0, 0.6),
        _bad_losses(1.5),
    ),
    "regression": Example(
        Regression(reference=REFERENCE, tolerance=0.02, promise=PROMISE),
        _losses(0.0, 1.0),
        _losses(0.6, 1.4),
        _bad_losses(-0.5),
    ),
    "estimated": Example(
        Estimated(limit=0.6, promise=PROMISE),
        _losses(0.0, 1.0),
        _losses(0.6, 1.4),
        tuple(np.array([0.1, bad]) for bad in (np.inf, -np.inf, -0.5)),
    ),
    "audited": Example(AUDITED, _audits(AUDITED, 0.0), _audits(AUDITED, 0.5), _bad_audits(AUDITED)),
    "audited, half trusted": Example(
        TRUSTED, _audits(TRUSTED, 0.0), _audits(TRUSTED, 0.5), _bad_audits(TRUSTED)
    ),
    "canary": Example(_canary("worst_case"), _assigned(0.0, 0.05), _assigned(0.5, 0.05), BAD_ROWS),
    "canary, missing alike": Example(
        _canary("same_in_both_arms"), _assigned(0.0, 0.2), _assigned(0.5, 0.2), BAD_ROWS
    ),
    "slices by blocks": Example(
        Slices(limit=0.6, promise=parse("5% false among alarms")), _slices(1.0), _slices(2.0), BAD_SLICES
    ),
    "slices by rows": Example(
        Slices(limit=0.6, promise=parse("5% false among alarms over outcomes")),
        _slices(1.0, 3),
        _slices(2.0, 3),
        BAD_SLICES,
    ),
    "slices, ever": Example(
        Slices(reference=REFERENCE, tolerance=0.02, promise=parse("5% ever")),
        _slices(1.0),
        _slices(2.0),
        BAD_SLICES,
    ),
    "seasonal guardrail": Example(
        SeasonalGuardrail(promise=PROMISE),
        _seasonal(0.0),
        _seasonal(0.6),
        tuple(Seasonal(loss=np.array([0.1, bad]), limit=np.ones(2)) for bad in (np.nan, np.inf, -0.5)),
    ),
    "share": Example(
        Share(limit=0.3, promise=PROMISE, what="slow"),
        _zeros_and_ones(0.2),
        _zeros_and_ones(0.9),
        tuple(np.array([0.0, bad]) for bad in (np.inf, -np.inf, 1.5, -0.5)),
    ),
    "skill": Example(
        Skill(tolerance=0.1, promise=PROMISE, reach=1.0),
        _losses(-0.3, 0.3),
        _losses(0.1, 0.9),
        tuple(np.array([0.1, bad]) for bad in (np.inf, -np.inf, 1.5, -1.5)),
    ),
    "shadow": Example(_shadow("worst_case"), _pairs(0.0, 0.05), _pairs(0.4, 0.05), BAD_PAIRS),
    "shadow, missing alike": Example(
        _shadow("same_in_both_arms"), _pairs(0.0, 0.2), _pairs(0.4, 0.2), BAD_PAIRS
    ),
    "shadow, clipped": Example(
        Shadow(clip=0.25, roll_back_if_worse_by=0.02, promote_if_within=0.01),
        _pairs(0.0),
        _pairs(-0.4),
        (Pairs(difference=np.array([0.0, np.inf])),),
    ),
    "drift": Example(
        Drift(features=PROFILE.features, tolerance=0.02, promise=PROMISE),
        _rows(0.0),
        _rows(2.0),
        (np.array([[0, 0, 0], [0, 255, 0]], np.uint8), np.array([[-1, 0, 0]])),
    ),
    "drift, joint": Example(
        Drift(
            features=PROFILE.features,
            tolerance=0.02,
            promise=parse("5% ever"),
            joint=Domain.of(PROFILE, PROFILE.features),
        ),
        _rows(0.0),
        _rows(2.0),
        (np.array([[0, 0, 200]], np.uint8),),
    ),
    "drift of blocks": Example(
        BlockDrift(features=PROFILE.features, tolerance=0.05, promise=parse("1 per 1000 blocks"), usual=20),
        _blocks(0.0),
        _blocks(2.0),
        tuple(
            averages(means, 20)
            for means in (np.array([[0.5] * 16 + [np.nan]]), np.full((1, 17), -0.1), np.full((2, 17), np.inf))
        ),
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", EXAMPLES)
def test_judge_keeps_the_law(name: str, check: Callable[[Example], None]) -> None:
    check(EXAMPLES[name])


def test_every_judge_has_an_example() -> None:
    public = [getattr(judges, name) for name in judges.__all__]
    found = {
        cls
        for cls in public
        if inspect.isclass(cls)
        and hasattr(cls, "update")
        and hasattr(cls, "start")
        and cls not in (judges.Engine, judges.Streams)
    }
    assert found == {type(example.judge) for example in EXAMPLES.values()}


def test_public_names_are_sorted() -> None:
    assert judges.__all__ == sorted(judges.__all__)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_checks_can_fail(check: Callable[[Example], None]) -> None:
    forgetful = Example(_Forgetful(), *_example_parts())
    with pytest.raises(AssertionError):
        check(forgetful)


def _example_parts() -> tuple[
    Callable[[np.random.Generator, int], Array],
    Callable[[np.random.Generator, int], Array],
    tuple[Array, ...],
]:
    return _losses(0.0, 1.0), _losses(0.6, 1.4), _bad_losses()


class _Forgetful:
    """A judge that breaks every law: it counts batches, passes on no data, and forgets what it decided."""

    def start(self) -> judges.Moments:
        return judges.Moments(mean=float("nan"))

    def update(self, state: judges.Moments, evidence: Array, /) -> tuple[judges.Moments, object]:
        from lossloop.core.records import Verdict, VerdictKind

        moved = judges.Moments(count=state.count + 1, mean=float("nan"))
        crossed = len(evidence) - 1 if len(evidence) > 150 else None
        return moved, Verdict(
            kind=VerdictKind.HEALTHY,
            evidence=float(len(evidence) - state.count),
            threshold=1000.0,
            count=state.count,
            crossed_at=crossed,
        )
