"""The laws of `base.py` as code: any judge must pass them, a plugin's too.

Each check takes an `Example` of the judge and raises AssertionError where a law is broken. Verdicts are the
same bit for bit however evidence is cut: evidence, effect and words, and the deciding outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from lossloop.core.records import Record, Verdict, VerdictKind
from lossloop.judges.base import Evidence, Judge
from lossloop.judges.comparison import Comparison

PASSES = (VerdictKind.HEALTHY, VerdictKind.BETTER)


@dataclass(frozen=True)
class Example:
    """A judge with evidence to try it on.

    The types of state, evidence and answer belong together and are the judge's own, hence Any.
    """

    judge: Judge[Any, Any, Any]
    draw: Callable[[np.random.Generator, int], Evidence]
    """Draw that many rows on which no test decides within a few hundred."""
    draw_deciding: Callable[[np.random.Generator, int], Evidence]
    """Draw that many rows on which some test decides within a few hundred."""
    broken: tuple[Evidence, ...]
    """Evidence that cannot be judged."""


def verdicts(answer: object) -> tuple[Verdict, ...]:
    """The verdicts that an answer consists of."""
    if isinstance(answer, Comparison):
        return (answer.verdict, answer.roll_back, answer.promote)
    assert isinstance(answer, Verdict), f"a judge answered {type(answer).__name__}"
    return (answer,)


def check_no_data_is_no_pass(example: Example) -> None:
    """Nothing judged: `no_data`, the state untouched, however often it is asked."""
    start = example.judge.start()
    state, answer = example.judge.update(start, _rows(example, 3)[:0])
    state, again = example.judge.update(state, _rows(example, 3)[:0])
    assert state == start, "no evidence changed the state"
    assert answer == again, "asking twice changed the answer"
    for verdict in verdicts(answer):
        assert verdict.kind is VerdictKind.NO_DATA, f"no data gave {verdict.kind}"
        assert verdict.count == 0, "no data was counted"


def check_empty_batch_changes_nothing(example: Example) -> None:
    """An empty batch after others leaves state and verdict, and decides nothing."""
    state, answer = example.judge.update(example.judge.start(), _rows(example, 40))
    after, same = example.judge.update(state, _rows(example, 40)[:0])
    assert after == state, "an empty batch changed the state"
    for was, verdict in zip(verdicts(answer), verdicts(same), strict=True):
        assert (verdict.kind, verdict.evidence, verdict.count) == (was.kind, was.evidence, was.count)
        assert verdict.crossed_at is None, "an empty batch decided"


def check_batches_do_not_matter(example: Example) -> None:
    """However evidence is cut, verdicts are the same bit for bit, and so are the deciding outcomes."""
    for rows in (_rows(example, 400), _deciding(example, 400)):
        whole = verdicts(example.judge.update(example.judge.start(), rows)[1])
        for size in (1, 7, 150):
            answer, crossed = _in_batches(example, rows, size)
            for index, (one, other) in enumerate(zip(whole, verdicts(answer), strict=True)):
                alike = msgspec.structs.replace(other, crossed_at=one.crossed_at)
                assert alike == one, f"batches of {size} changed it: {one} became {alike}"
                assert crossed[index] == one.crossed_at, f"batches of {size} moved the deciding outcome"


def check_future_does_not_matter(example: Example) -> None:
    """What was decided within a prefix is decided alike whatever follows it."""
    rows = _deciding(example, 400)
    _, answer = example.judge.update(example.judge.start(), rows)
    for index, verdict in enumerate(verdicts(answer)):
        if verdict.crossed_at is not None:
            cut = verdict.crossed_at + 1
            shorter = verdicts(example.judge.update(example.judge.start(), rows[:cut])[1])[index]
            before = verdicts(example.judge.update(example.judge.start(), rows[: cut - 1])[1])[index]
            assert shorter.kind is verdict.kind, "the future changed a verdict"
            assert before.crossed_at is None, "it decided later than it could"
            assert shorter.evidence == verdict.evidence, "the evidence moved"


def check_decision_stays(example: Example) -> None:
    """Once decided, a verdict stays until the judge is started again."""
    state, answer = example.judge.update(example.judge.start(), _deciding(example, 400))
    decided = [v for v in verdicts(answer) if v.crossed_at is not None]
    assert decided, "the example's deciding rows decided nothing"
    for verdict in decided:
        assert verdict.evidence >= verdict.threshold, "it decided below its threshold"
    _, later = example.judge.update(state, _rows(example, 200))
    for was, verdict in zip(verdicts(answer), verdicts(later), strict=True):
        if was.crossed_at is not None:
            assert (verdict.kind, verdict.evidence) == (was.kind, was.evidence), "a decision went away"


def check_json_is_exact(example: Example) -> None:
    """States and answers go through JSON bit for bit, and judging goes on from there the same."""
    state = example.judge.start()
    for rows in (_rows(example, 30)[:0], _rows(example, 30), _deciding(example, 300)):
        state, answer = example.judge.update(state, rows)
        back = _through_json(state)
        assert back == state, "JSON changed the state"
        for verdict in verdicts(answer):
            assert _through_json(verdict) == verdict, "JSON changed the verdict"
        more = _rows(example, 20)
        assert example.judge.update(back, more) == example.judge.update(state, more), "JSON lost something"


def check_broken_is_error(example: Example) -> None:
    """Evidence that cannot be judged: `error` with a reason, the state untouched."""
    assert example.broken, "the example shows no broken evidence"
    before, _ = example.judge.update(example.judge.start(), _rows(example, 10))
    for state in (example.judge.start(), before):
        for broken in example.broken:
            after, answer = example.judge.update(state, broken)
            assert after == state, "broken evidence changed the state"
            for verdict in verdicts(answer):
                assert verdict.kind is VerdictKind.ERROR, f"broken evidence gave {verdict.kind}"
                assert "row" in verdict.reason, "the reason names no row"


def check_words(example: Example) -> None:
    """Every verdict says its promise, its assumption and its reason."""
    _, answer = example.judge.update(example.judge.start(), _rows(example, 50))
    for verdict in verdicts(answer):
        assert all((verdict.promise, verdict.assumption, verdict.reason)), "a verdict leaves words out"


CHECKS = (
    check_no_data_is_no_pass,
    check_empty_batch_changes_nothing,
    check_batches_do_not_matter,
    check_future_does_not_matter,
    check_decision_stays,
    check_json_is_exact,
    check_broken_is_error,
    check_words,
)


def _rows(example: Example, count: int) -> Evidence:
    return example.draw(np.random.default_rng(11), count)


def _deciding(example: Example, count: int) -> Evidence:
    return example.draw_deciding(np.random.default_rng(12), count)


def _in_batches(example: Example, rows: Evidence, size: int) -> tuple[object, list[int | None]]:
    """The last answer, and where each verdict's deciding outcome lay within all rows."""
    state = example.judge.start()
    answer: object = None
    crossed: list[int | None] = [None, None, None]
    for start in range(0, len(rows), size):
        state, answer = example.judge.update(state, rows[start : start + size])
        for index, verdict in enumerate(verdicts(answer)):
            if verdict.crossed_at is not None and crossed[index] is None:
                crossed[index] = start + verdict.crossed_at
    return answer, crossed


def _through_json(record: Record) -> Record:
    try:
        return msgspec.json.decode(msgspec.json.encode(record), type=type(record))
    except msgspec.ValidationError as error:
        raise AssertionError(f"{type(record).__name__} does not go through JSON: {error}") from None
