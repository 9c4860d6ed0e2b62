"""How long `import lossloop` takes once NumPy and PyArrow are there: `make bench`, or with `--json`.

Each round is a fresh interpreter; the first one, which may write byte code, is not counted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from lossloop.app.bench import Figure, as_json

ROUNDS = 15
TARGET_SECONDS = 0.25
PROGRAM = """
import time, numpy, pyarrow
started = time.perf_counter()
import lossloop
print(time.perf_counter() - started)
"""


def measure(rounds: int = ROUNDS) -> list[float]:
    """Seconds of each round."""
    command = [sys.executable, "-c", PROGRAM]
    timed = [float(subprocess.check_output(command, text=True)) for _ in range(rounds + 1)]
    return timed[1:]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    seconds = measure()
    figures = [
        Figure(id="import_median", value=statistics.median(seconds), unit="s", target=TARGET_SECONDS),
        Figure(id="import_slowest", value=max(seconds), unit="s", target=TARGET_SECONDS),
    ]
    if "--json" in arguments:
        print(json.dumps(as_json("import_time", figures)))
    else:
        print(*figures, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
