"""What a conversion came to, as it is told."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from lossloop.app.cli.convert import lines, plain
from lossloop.app.converting import Converted, Cost, Parity, Shrink, Worst
from lossloop.app.converting.cost import cost
from lossloop.core.errors import InputError
from lossloop.registry import Manifest
from lossloop.serve.runtimes import Columns
from lossloop.serve.runtimes.base import Floats


def parity(largest: float = 2e-6, flips: float | None = 0.01, threshold: float | None = 0.5) -> Parity:
    worst = (
        Worst(row=7, before=0.5, after=0.5 + largest, difference=largest),
        Worst(row=3, before=0.25, after=0.25, difference=0.0),
    )
    return Parity(
        rows=1200,
        largest=largest,
        mean=largest / 10,
        tolerance=1e-5,
        worst=worst,
        threshold=threshold,
        flips=flips,
    )


def converted(found: Parity) -> Converted:
    before, after = Cost(bytes=304_230, one=328.6, many=767.0), Cost(bytes=217_542, one=23.1, many=209.7)
    return Converted(artifact=b"", manifest=Manifest(), parity=found, before=before, after=after)


def said(found: Parity) -> str:
    screen = Console(width=110, record=True, file=io.StringIO())
    for line in lines(converted(found)):
        screen.print(line)
    return " ".join(screen.export_text().split())


def test_words_have_every_figure() -> None:
    text = said(parity())
    assert "1,200 rows: answers differ by 2e-06 at most, 2e-07 on average (allowed: 1e-05)" in text
    assert "1.000% of decisions at 0.5 are others" in text
    assert "before 304,230 328.6 767.0" in text
    assert "after 217,542 23.1 209.7" in text
    assert "worst rows: 7 (2e-06)" in text
    assert "3 (" not in text, "a row that does not differ is none of the worst"


def test_words_leave_out_what_there_is_not() -> None:
    assert "decisions" not in said(parity(flips=None, threshold=None))
    assert "1.000% of decisions are others" in said(parity(threshold=None))
    assert "worst rows" not in said(parity(largest=0.0))


def test_json_says_whether_it_was_written() -> None:
    told = plain(converted(parity()), Path("late.onnx"))
    assert told["written"] == "late.onnx"
    assert told["parity"]["worst"][0]["row"] == 7
    assert told["after"] == {"bytes": 217_542, "one": 23.1, "many": 209.7}
    refused = plain(converted(parity(largest=1.0)), Path("late.onnx"))
    assert refused["written"] is None
    endless = plain(converted(parity(largest=math.inf)), Path("late.onnx"))
    assert json.loads(msgspec.json.encode(endless))["parity"]["largest"] is None


@pytest.mark.parametrize(
    ("largest", "holds"), [(0.0, True), (1e-5, True), (1.1e-5, False), (math.inf, False)]
)
def test_parity_holds_up_to_the_tolerance(largest: float, holds: bool) -> None:
    assert parity(largest=largest).holds == holds


@pytest.mark.parametrize("trees", [0, -1])
def test_no_trees_are_no_model(trees: int) -> None:
    with pytest.raises(InputError, match="keep one tree or more") as caught:
        Shrink(trees=trees)
    assert caught.value.field == "trees"


class Counting:
    """A runtime that remembers how many rows it was asked for."""

    native = False

    def __init__(self) -> None:
        self.asked: set[int] = set()

    def predict(self, columns: Columns) -> Floats:
        self.asked.add(len(columns["x"]))
        return np.zeros(len(columns["x"]))


@pytest.mark.parametrize("rows", [1, 3, 64, 100])
def test_a_cost_is_of_one_row_and_of_sixty_four_however_many_there_are(rows: int) -> None:
    runtime = Counting()
    found = cost(b"12345", runtime, {"x": np.arange(float(rows))})
    assert runtime.asked == {1, 64}
    assert found.bytes == 5
    assert min(found.one, found.many) > 0
