"""The worker: carries out what was decided. Run as ``python -m lossloop.app.parts.worker``."""

from __future__ import annotations

from lossloop.app.home import here
from lossloop.app.parts.stop import Stop, as_part
from lossloop.app.worker import Worker


def main() -> None:
    """Work until told to stop."""
    worker = Worker(here())
    worker.run(Stop())
    worker.close()


if __name__ == "__main__":
    as_part("worker", main)
