"""The applier: folds the log. Run as ``python -m lossloop.app.parts.applier``."""

from __future__ import annotations

from lossloop.app.fold import fold_until, when_free
from lossloop.app.home import here
from lossloop.app.parts.stop import Stop, as_part


def main() -> None:
    """Fold until told to stop."""
    folding = when_free(here())
    fold_until(folding, Stop())
    folding.close()


if __name__ == "__main__":
    as_part("applier", main)
