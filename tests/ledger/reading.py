"""A process that reads a stream of a state again and again while another one writes it.

python -m tests.ledger.reading DATABASE

It reads column `x` of stream `s` until document `done` of kind `test` is there. Each reading must be numbers
from 0 on, and no shorter than the one before. It prints how many they were in the end, and how often more.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lossloop.ledger.joined.columns import columns_of
from lossloop.ledger.sqlite.state import State


def read(state: State) -> int:
    """How many rows there are; raise AssertionError where they are not the numbers from 0 on."""
    batches = [chunk.batch for chunk in state.chunks("s")]
    found = [columns_of(batch)["x"] for batch in batches]
    rows = np.concatenate(found) if found else np.empty(0, np.int64)
    assert np.array_equal(rows, np.arange(len(rows))), "rows are missing, or twice there"
    return len(rows)


def main(path: Path) -> None:
    state, rows, changes = State(path, read_only=True), 0, 0
    print("reading", flush=True)
    while True:
        done = state.get("test", "done", bool)
        now = read(state)
        assert now >= rows, "rows that were committed are gone"
        changes += now > rows
        rows = now
        if done:
            break
    print(rows, changes, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
