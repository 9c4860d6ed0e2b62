"""The processes that a bench starts: `python -m lossloop.app.bench load`, `... write`, `... bare PORT`."""

from __future__ import annotations

import sys

from lossloop.app.bench import bare, load, writing
from lossloop.app.bench.apart import serve

if __name__ == "__main__":
    if sys.argv[1] == "load":
        serve(load.Job, load.prepare)
    elif sys.argv[1] == "write":
        serve(writing.Job, writing.prepare)
    else:
        bare.main(int(sys.argv[2]))
