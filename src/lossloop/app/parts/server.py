"""The server: answers HTTP and appends to the log. Run as ``python -m lossloop.app.parts.server HOST PORT``.

This process only looks after the one that answers, which loads the application for itself.
"""

from __future__ import annotations

import os
import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from lossloop.app.parts.stop import as_part
from lossloop.app.system import PARENT


def main() -> None:
    """Serve until told to stop."""
    host, port = sys.argv[1:]
    os.environ[PARENT] = str(os.getpid())  # of the process that will answer
    server = Granian(
        "lossloop.app.http:create", factory=True, interface=Interfaces.ASGI, address=host, port=int(port),
        workers=1, http=HTTPModes.http1, websockets=False, log_level=LogLevels.warning,
    )  # fmt: skip
    server.serve()


if __name__ == "__main__":
    as_part("server", main)
