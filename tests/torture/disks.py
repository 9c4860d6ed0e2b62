"""Small disks of a test's own: tmpfs in a mount namespace, seen from outside through /proc."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lossloop.app.home import Home
from tests.app.processes import Started, started

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "--"]
ROOM = 100
"""Megabytes of a disk that is not to be full."""


def needs_mounts(place: Path) -> None:
    """Skip the test where this machine lets nobody mount."""
    found = shutil.which("unshare") and shutil.which("nsenter")
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "none", str(place)]
    if not found or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here, so no disk of our own can be mounted")


@dataclass(frozen=True)
class Disks:
    """A running Lossloop whose log lies on one disk and everything else on another."""

    up: Started
    home: Home
    """Its directory, as it is seen from here."""

    @property
    def log(self) -> Path:
        return self.home.path / "log"

    def door(self) -> tuple[str, str]:
        """Where senders may send to."""
        return self.up.url, self.home.tokens.read()


@contextmanager
def disks(place: Path, *, state: int = ROOM, log: int = ROOM) -> Iterator[Disks]:
    """Run `lossloop up` over two disks of so many megabytes."""
    path = place / "s"
    script = f"""
        mount -t tmpfs -o size={state}m none {place} && {sys.executable} -m tests.torture.begin {path} &&
        mv {path}/log {place}/begun && mkdir {path}/log && mount -t tmpfs -o size={log}m none {path}/log &&
        mv {place}/begun/* {path}/log && exec "$@"
    """
    with started(path, before=[*NAMESPACE, "sh", "-c", script, "sh"]) as up:
        yield Disks(up, Home(path=Path(f"/proc/{up.process.pid}/root{path}")))


@contextmanager
def full(directory: Path) -> Iterator[None]:
    """No room on a disk, for as long as the block lasts."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b" " * 4096):
            pass
    try:
        yield
    finally:
        filler.unlink()
