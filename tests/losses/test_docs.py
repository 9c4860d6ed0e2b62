"""The pages about losses: every loss is there with its facts, and the code on them runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from lossloop.losses import LIBRARY, Loss

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "losses.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def row(loss: Loss) -> list[str]:
    """The cells of a loss's row in the table."""
    match = re.search(rf"^\| \[`{loss.name}`\]\(#{loss.name}\) \|(.*)\|$", REFERENCE, re.MULTILINE)
    return [cell.strip() for cell in match[1].split("|")] if match else []


def section(loss: Loss) -> str:
    match = re.search(rf"^### `{loss.name}`\n(.*?)(?=^##|\Z)", REFERENCE, re.DOTALL | re.MULTILINE)
    return match[1] if match else ""


@pytest.mark.parametrize("loss", LIBRARY, ids=str)
def test_a_loss_is_in_the_table_with_its_facts(loss: Loss) -> None:
    low, high = loss.bounds
    kind, outcome, bounds, unit, gradient, version = row(loss)
    assert kind == loss.kind.replace("_", " ")
    assert outcome == (loss.declared.outcome if loss.needs_outcome else "none")
    assert bounds == f"[{low:g}, {high:g}{']' if np.isfinite(high) else ')'}"
    assert loss.unit in ("", unit)
    assert gradient.split(",")[0] == (loss.link or "none")
    assert ("no Hessian" in gradient) == (loss.link is not None and not loss.has_hessian)
    assert version == f"`{loss.digest[:6]}`", "a published version changed: is that meant?"


@pytest.mark.parametrize("loss", LIBRARY, ids=str)
def test_a_loss_has_a_section_with_formula_shapes_and_source(loss: Loss) -> None:
    text = section(loss)
    assert text.strip().startswith(f"`{loss}`:")
    assert "- Shapes: " in text
    assert "Source: " in text
    assert loss.link is None or "Gradient" in text


def test_no_loss_is_documented_that_is_not_there() -> None:
    assert sorted(re.findall(r"^### `(\w+)`$", REFERENCE, re.MULTILINE)) == sorted(
        loss.name for loss in LIBRARY
    )


@pytest.mark.parametrize("page", ["reference/losses.md", "how-to/own-loss.md"])
def test_the_code_on_a_page_runs(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall((DOCS / page).read_text())
    assert blocks
    path = tmp_path / "page.py"
    path.write_text("\n\n".join(blocks))
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "page"})
    shown = capsys.readouterr().out
    promised = re.findall(r"# (\[.*\]|\(.*\))$", path.read_text(), re.MULTILINE)
    assert [line for line in promised if line not in shown] == []
