"""What every runtime must do, a plugin's too: run these on one with a model and rows that it fits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lossloop.serve.runtimes.base import Columns, Floats, Runtime


def check_runtime(runtime: Runtime, columns: Columns) -> None:
    """Raise AssertionError where a runtime breaks the contract; `columns` holds two rows or more."""
    kept = {name: each.copy() for name, each in columns.items()}
    rows = len(next(iter(columns.values())))
    answers = runtime.predict(columns)
    assert answers.dtype == np.float64, "predictions are float64"
    assert answers.shape[0] == rows, "one prediction a row"
    assert np.isfinite(answers).all(), "predictions are finite"
    assert np.array_equal(answers, runtime.predict(columns)), "the same rows give the same bits"
    with ThreadPoolExecutor(1) as other:
        assert np.array_equal(answers, other.submit(runtime.predict, columns).result()), (
            "another thread gives the same bits"
        )
    alone = np.concatenate([runtime.predict(row(columns, place)) for place in range(rows)])
    assert _close(alone, answers), "a row's prediction does not depend on its neighbours"
    assert all(np.array_equal(kept[name], columns[name]) for name in kept), "columns stay what they are"


def check_odd_rows(runtime: Runtime, columns: Columns, odd: Columns) -> None:
    """Raise AssertionError where an odd row costs ordinary ones their answers.

    Args:
        runtime: What is asked.
        columns: Ordinary rows.
        odd: Others: with nulls, categories that nobody has seen, numbers beyond single precision. They may
            have no answer (NaN).
    """
    both = {name: np.concatenate([columns[name], odd[name]]) for name in columns}
    ordinary = runtime.predict(columns)
    found = runtime.predict(both)
    assert len(found) == len(next(iter(both.values()))), "one prediction a row, of odd ones too"
    assert _close(found[: len(ordinary)], ordinary), "an odd row does not cost its neighbours their answers"


def row(columns: Columns, place: int) -> Columns:
    """One of the rows."""
    return {name: each[place : place + 1] for name, each in columns.items()}


def _close(found: Floats, wanted: Floats) -> bool:
    return bool(np.allclose(found, wanted, rtol=1e-6, atol=1e-7))
