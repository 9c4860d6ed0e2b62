"""A service in a process of its own, which tests kill, fork and starve.

python -m tests.client.sending URL SPOOL for-ever | exits | limited | forks | forks-early

It prints the id of each row once its hand-over has returned.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from itertools import count
from pathlib import Path

from lossloop.client import Client, SpoolFull

LIMIT = 4000
"""Bytes that a file may have in the mode `limited`: a few rows."""
MODEL = os.environ.get("MODEL", "m")


def send(client: Client, name: str) -> None:
    id = client.send_prediction(MODEL, id=name, version=1, y_pred=0.5)
    os.write(1, f"{id}\n".encode())  # in one piece, also where several processes write


def for_ever(client: Client) -> None:
    """Hand over until killed."""
    for number in count():
        send(client, f"{os.getpid()}-{number}")
        time.sleep(0.0005)


def exits(client: Client) -> None:
    """End without a word to the client."""
    for number in range(50):
        send(client, f"{os.getpid()}-{number}")


def limited(client: Client) -> None:
    """Hand over under a limit on the size of files, as some file systems have one; lift it in the end."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    refused = 0
    for number in range(60):
        try:
            send(client, f"a{number}")
        except SpoolFull as error:
            refused += 1
            print(f"refused a{number}: {error}", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for number in range(60, 80):
        send(client, f"a{number}")
    os._exit(0 if refused else 1)


def forks(client: Client) -> None:
    """Fork, as a server that preloads does, once the parent sends already; and again in a child."""
    send(client, "parent-0")
    _fork(client, [f"child{number}" for number in range(3)], deeper=True)
    send(client, "parent-1")


def forks_early(client: Client) -> None:
    """Fork before anything was handed over."""
    _fork(client, ["child0", "child1"], deeper=False)


def _fork(client: Client, names: list[str], *, deeper: bool) -> None:
    children = []
    for name in names:
        if pid := os.fork():
            children.append(pid)
            continue
        for number in range(20):
            send(client, f"{name}-{number}")
        if deeper:
            _fork(client, [f"{name}-deeper"], deeper=False)
        sys.exit(0)  # what is registered to be done at exit is done in a child too
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children)


MODES = {"for-ever": for_ever, "exits": exits, "limited": limited, "forks": forks, "forks-early": forks_early}

if __name__ == "__main__":
    url, spool, mode = sys.argv[1:]
    token = os.environ.get("TOKEN", "ll_token")
    MODES[mode](Client(url, token=token, spool=Path(spool), linger=0.01))
