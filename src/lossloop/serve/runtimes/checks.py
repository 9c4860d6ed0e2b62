"""What every runtime must do, a plugin's too: run these on one with a model and rows that it fits."""

from __future__ import annotations

import numpy as np

from lossloop.serve.runtimes.base import Columns, Runtime


def check_runtime(runtime: Runtime, columns: Columns) -> None:
    """Raise AssertionError where a runtime breaks the contract; `columns` holds two rows or more."""
    rows = len(next(iter(columns.values())))
    answers = runtime.predict(columns)
    assert answers.dtype == np.float64, "predictions are float64"
    assert answers.shape[0] == rows, "one prediction a row"
    assert np.isfinite(answers).all(), "predictions are finite"
    assert np.array_equal(answers, runtime.predict(columns)), "the same rows give the same bits"
    alone = np.concatenate(
        [runtime.predict({k: v[i : i + 1] for k, v in columns.items()}) for i in range(rows)]
    )
    assert np.allclose(alone, answers, rtol=1e-6, atol=1e-7), (
        "a row's prediction does not depend on its neighbours"
    )
