"""What the checks of the house look at: the files of this repository."""

from __future__ import annotations

import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "lossloop"


@cache
def files() -> tuple[Path, ...]:
    """Every file that git keeps, or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def python_files(folder: Path) -> tuple[Path, ...]:
    """The Python files of a folder of this repository."""
    return tuple(path for path in files() if path.suffix == ".py" and path.is_relative_to(folder))


@cache
def project() -> dict[str, Any]:
    """pyproject.toml, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def name_of(path: Path) -> str:
    """A file as it is named in a failure."""
    return str(path.relative_to(ROOT))
