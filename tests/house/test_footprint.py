"""The core stays small, and the figures about it have one shape."""

from __future__ import annotations

import json

import pytest

from benchmarks import import_time, install_size
from lossloop.app.bench import Figure, as_json
from tests.house.test_imports import optional_modules

FIGURE = Figure(id="x", value=0.5, unit="s", target=1.0)


def test_the_core_install_is_within_its_target() -> None:
    sizes = {name: install_size.size(found) for name, found in install_size.needed("lossloop").items()}
    assert sum(sizes.values()) / install_size.MB < install_size.TARGET_MB, sizes


def test_the_core_needs_numpy_and_no_optional_library() -> None:
    needed = install_size.needed("lossloop")
    assert {"lossloop", "numpy", "pyarrow"} <= needed.keys()
    assert not needed.keys() & (optional_modules() | {"scikit-learn"})


def test_an_import_is_timed_without_its_first_round() -> None:
    (seconds,) = import_time.measure(rounds=1)
    assert seconds > 0


def test_a_figure_reads_as_a_line() -> None:
    assert str(FIGURE).split() == ["x", "0.5", "s", "(at", "most", "1)"]
    assert "at most" not in str(Figure(id="x", value=0.5, unit="s"))


def test_figures_are_told_with_the_machine() -> None:
    told = as_json("bench", [FIGURE])
    assert told["bench"] == "bench"
    (figure,) = told["figures"]
    assert figure == {
        "id": "x", "value": 0.5, "unit": "s", "target": 1.0, "floor": None, "peer": None, "met": True
    }  # fmt: skip
    assert told["machine"]["cores"] >= 1


def test_the_script_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    install_size.main(["--json"])
    assert json.loads(capsys.readouterr().out)["figures"][0]["id"] == "core_install"
