"""How much disk the core install takes: `python -m benchmarks.install_size [--json]`.

Adds up the files, compiled byte code included, of Lossloop and of every distribution that it needs without
extras, as they are installed beside the interpreter that runs this. Block rounding is counted, as `du` does.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lossloop.app.bench import Figure, as_json

TARGET_MB = 350.0
BLOCK_BYTES = 512
MB = 2**20


def needed(name: str) -> dict[str, Distribution]:
    """The distribution called `name` and all that it needs, by name."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        key = canonicalize_name(waiting.pop())
        if key not in found:
            found[key] = distribution(key)
            waiting += [line.name for line in map(Requirement, found[key].requires or []) if _applies(line)]
    return found


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def size(installed: Distribution) -> int:
    """Bytes on disk of one distribution."""
    paths = (Path(str(installed.locate_file(file))) for file in installed.files or ())
    return sum(path.stat().st_blocks * BLOCK_BYTES for path in paths if path.is_file())


def main(arguments: list[str]) -> None:
    """Measure and print, the largest first."""
    sizes = {name: size(found) / MB for name, found in needed("lossloop").items()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])
    figures = [Figure(id="core_install", value=sum(sizes.values()), unit="MB", target=TARGET_MB)]
    figures += [Figure(id=f"core_install.{name}", value=megabytes, unit="MB") for name, megabytes in largest]
    if "--json" in arguments:
        print(json.dumps(as_json("install_size", figures)))
    else:
        print(*figures, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
