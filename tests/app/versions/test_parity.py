"""A converted version against the model that it was made of: as it was measured, and measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from lossloop.act.checks import Check, Finding, Status
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.converting import convert
from lossloop.app.versions import Question, check_version, parity
from lossloop.app.versions.base import Arm
from lossloop.registry import Manifest
from tests.app.desk import MODEL, Desk, asked
from tests.app.server import tiny_manifest, tiny_model
from tests.app.versions.cases import Says, arm, case, recent, sigmoid

ORIGINAL = arm(sigmoid(), name="m:1", number=1, artifact="first")


def lineage(largest: float | None = 1e-7, tolerance: float = 1e-5, **more: Any) -> dict[str, Any]:
    """As `lossloop convert` writes it, with what else it says."""
    found = {"rows": 500, "mean": 1e-8, "tolerance": tolerance, "worst": [], "threshold": 0.5, "flips": 0.0}
    return {
        "converted": {
            "from": "m:1",
            "artifact": "first",
            "runtime": "skops",
            "parity": {**found, "largest": largest},
            "before": {"bytes": 10, "one": 9.0, "many": 99.0},
            **more,
        }
    }


def converted(runtime: Says | None = None, **said: Any) -> Arm:
    return arm(runtime or sigmoid(), lineage=lineage(**said))


def tried(version: Arm, original: Arm | None = None, **given: Any) -> Finding:
    return parity.check(case(version, original=original, **given)).finding


# As it was measured.


def test_a_version_that_was_not_converted_is_skipped() -> None:
    assert tried(arm(sigmoid())).status is Status.SKIPPED
    assert tried(arm(sigmoid(), lineage={"rows": 3})).status is Status.SKIPPED


def test_what_the_conversion_measured_is_read() -> None:
    found = tried(converted())
    assert found.status is Status.PASSED
    assert found.words.startswith("when it was converted 500 rows differed by 1e-07 at most")
    assert "the original cannot be run here" in found.words
    assert found.figures == {"rows": 500.0, "tolerance": 1e-5, "largest": 1e-7}


@pytest.mark.parametrize(
    ("largest", "words"),
    [(2e-5, "differed by 2e-05, more than 1e-05"), (None, "differed by answers that only one gave")],
)
def test_a_conversion_that_did_not_hold_is_refused(largest: float | None, words: str) -> None:
    found = tried(converted(largest=largest), ORIGINAL)
    assert found.status is Status.FAILED
    assert words in found.words


@pytest.mark.parametrize(
    "said",
    [3, "m:1", {}, {"parity": None}, {"parity": {"rows": 1}}, {"parity": {"rows": "x", "tolerance": 1}}],
)
def test_a_lineage_that_says_nothing_of_parity_is_no_pass(said: Any) -> None:
    found = tried(arm(sigmoid(), lineage={"converted": said}))
    assert found.status is Status.FAILED
    assert "its lineage says it was converted" in found.words


# Measured again.


def test_the_same_answers_on_recent_rows() -> None:
    found = tried(converted(), ORIGINAL)
    assert found.status is Status.PASSED
    assert found.figures["recent_rows"] == 400
    assert found.figures["recent_largest"] == 0.0


def test_other_answers_on_recent_rows_than_on_those_of_the_conversion() -> None:
    """Traffic brings what the held-out rows did not have."""
    rare = Says(lambda columns: np.where(columns["x"] > 1.99, 0.5, 1 / (1 + np.exp(-columns["x"]))))
    found = tried(converted(rare), ORIGINAL)
    assert found.status is Status.FAILED
    assert "400 recent rows differ by 0.381" in found.words
    assert "more than 1e-05" in found.words


def test_a_tolerance_that_was_stated_holds() -> None:
    off = Says(lambda columns: np.minimum(1.0, 1 / (1 + np.exp(-columns["x"])) + 0.004))
    assert tried(converted(off, tolerance=0.005), ORIGINAL).status is Status.PASSED
    assert tried(converted(off, tolerance=0.003), ORIGINAL).status is Status.FAILED


def test_an_answer_that_only_one_gives_is_a_difference() -> None:
    half = Says(lambda columns: np.where(columns["x"] > 0, np.nan, 1 / (1 + np.exp(-columns["x"]))))
    found = tried(converted(half), ORIGINAL)
    assert found.status is Status.FAILED
    assert "recent_largest" not in found.figures


def test_answers_that_neither_gives_are_none() -> None:
    half = Says(lambda columns: np.where(columns["x"] > 0, np.nan, 1 / (1 + np.exp(-columns["x"]))))
    both = arm(half, name="m:1", number=1, artifact="first")
    assert tried(converted(half), both).status is Status.PASSED


def test_one_that_raises_is_named() -> None:
    found = tried(converted(Says(lambda columns: 1 / 0)), ORIGINAL)
    assert found.status is Status.FAILED
    assert found.words == "m:2 raises ZeroDivisionError: division by zero"


def test_without_recent_rows_the_conversion_stands() -> None:
    found = tried(converted(), ORIGINAL, rows=recent(0))
    assert found.status is Status.PASSED
    assert "no recent row for another look" in found.words


# Over a ledger.


def test_the_original_is_found_by_its_artifact(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy()
    operate.register(desk.home, MODEL, tiny_manifest("original"), tiny_model())
    desk.obey(Promote(model=MODEL, version=1))
    first = desk.home.artifacts.put(tiny_model())
    rows: list[dict[str, Any]] = [{"x": row / 10.0, "colour": "red"} for row in range(20)]
    desk.send(asked(1, [0.25] * 20, desk.ids(20), features=rows))
    for bias, status in ((0.0, Status.PASSED), (0.1, Status.FAILED)):
        said = {"converted": {"artifact": first, "parity": {"rows": 9, "largest": 0.0, "tolerance": 1e-6}}}
        made: Manifest = msgspec.structs.replace(tiny_manifest(f"off by {bias}"), lineage=said)
        question = Question(model=MODEL, manifest=made, artifact=tiny_model(bias), seconds=0.01)
        found = {each.check: each for each in check_version(desk.home, question).checked.findings}
        assert found[Check.PARITY].status is status
        assert found[Check.PARITY].figures["recent_rows"] == 20


def test_what_convert_writes_is_what_is_read(tmp_path: Path) -> None:
    """The lineage is one contract: what `lossloop convert` makes passes here."""
    desk = Desk.at(tmp_path / "s")
    desk.policy()
    operate.register(desk.home, MODEL, tiny_manifest("original"), tiny_model())
    desk.obey(Promote(model=MODEL, version=1))
    table = pa.table({"x": [0.0, 1.0, -1.0], "y": [1.0, None, 2.0], "colour": ["red", None, "blue"]})
    made = convert(tiny_model(), tiny_manifest("original"), table, name="m:1")
    rows: list[dict[str, Any]] = [{"x": row / 10.0, "colour": "red"} for row in range(20)]
    desk.send(asked(1, [0.25] * 20, desk.ids(20), features=rows))
    question = Question(model=MODEL, manifest=made.manifest, artifact=made.artifact, seconds=0.01)
    report = check_version(desk.home, question)
    found = next(each for each in report.checked.findings if each.check is Check.PARITY)
    assert found.status is Status.PASSED
    assert found.figures["rows"] == 3
    assert found.figures["recent_rows"] == 20
    assert found.figures["recent_largest"] == 0.0
