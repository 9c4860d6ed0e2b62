"""A process that seals and prunes a log until it is killed; tests kill it.

python -m tests.ledger.sealing_process DIRECTORY [STEP]

With STEP it kills itself at that change of the file system, counted from 1.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lossloop.ledger.files.sealing import seal

CHANGES = ("replace", "unlink", "fsync", "mkdir")
"""What every change goes through, or ends with."""


def at_step(step: int, act: Callable[[], None]) -> Callable[[], None]:
    """Act just before that change of the file system; return what takes this back."""
    count = 0
    real = {name: getattr(os, name) for name in CHANGES}

    def wrap(name: str) -> Callable[..., Any]:
        def changed(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                act()
            return real[name](*arguments, **more)

        return changed

    for name in CHANGES:
        setattr(os, name, wrap(name))

    def back() -> None:
        for name in CHANGES:
            setattr(os, name, real[name])

    return back


def main(directory: Path, step: int) -> None:
    """Seal; say so when it is done."""
    if step:
        at_step(step, lambda: os.kill(os.getpid(), signal.SIGKILL))
    print("sealing", flush=True)
    seal(directory)
    print("sealed", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
