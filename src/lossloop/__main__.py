"""`python -m lossloop` is `lossloop`."""

from __future__ import annotations

from lossloop.app.cli import main

if __name__ == "__main__":
    main()
