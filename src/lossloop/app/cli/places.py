"""`lossloop init` and `lossloop up`: a state directory, and what runs over it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from lossloop.act.settings import Settings
from lossloop.app import home as homes
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, Store, answer, home
from lossloop.app.up import running


def init(state: StatePath = DEFAULT_STATE, /, *, store: Store = "", json: Json = False) -> None:
    """Make a state directory with a token of its own.

    Parameters
    ----------
    state
        Where; an empty or a new directory.
    store
        Where log and derived state lie: postgresql://..., or env:NAME of a variable that says so. Left out,
        in files in the directory. A ledger that is not there yet is made.
    json
        Answer as JSON.
    """
    made = homes.init(state, Settings(store=store))
    answer(
        {"state": str(made.path), "token_file": str(made.path / "token")},
        as_json=json,
        words=f"Made {made.path}; its token is the file token in it.\nNext: lossloop up --state {made.path}",
    )


def up(
    *,
    state: StatePath = DEFAULT_STATE,
    store: Store = "",
    host: str = "127.0.0.1",
    port: int = 8765,
    grpc_port: int | None = None,
    json: Json = False,
) -> None:
    """Serve, record, judge and act until stopped by Ctrl-C or SIGTERM.

    Parameters
    ----------
    state
        The state directory.
    store
        Where log and derived state lie, in place of what settings.yaml says: postgresql://...
    host
        The address to listen on; loopback unless you say otherwise.
    port
        The port to listen on; 0 takes a free one.
    grpc_port
        The port on which gRPC is answered too; 0 takes a free one. Without it none is.
    json
        Answer as JSON: one line once the server is ready.
    """
    if store:
        os.environ[homes.STORE] = store
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with running(home(state), host=host, port=port, grpc_port=grpc_port) as processes:
        grpc = {} if processes.grpc_port is None else {"grpc": f"{processes.host}:{processes.grpc_port}"}
        if json:
            answer({"url": processes.url, **grpc, "pids": processes.pids()}, as_json=True, words="")
        else:
            Console().print(
                f"Lossloop is up at [bold]{processes.url}[/]{_beside(grpc)} over {Path(state)}. "
                "Ctrl-C stops it."
            )
        stop.wait()


def _beside(grpc: Mapping[str, str]) -> str:
    return f" and for gRPC at [bold]{grpc['grpc']}[/]" if grpc else ""
