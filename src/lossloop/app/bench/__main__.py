"""The processes that a bench starts: `python -m lossloop.app.bench load`, and `... bare PORT`."""

from __future__ import annotations

import sys

from lossloop.app.bench import bare, load

if __name__ == "__main__":
    if sys.argv[1] == "load":
        load.main()
    else:
        bare.main(int(sys.argv[2]))
