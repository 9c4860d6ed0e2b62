"""The `lossloop` command, loaded once for all that a page types.

A page types a dozen commands, and loading the program costs more than what most of them do. So one process
loads it, and forks for each command: the same program with the arguments, directory, environment and streams
of whoever typed it. `lossloop up`, which runs on, is started as ever. That commands start from nothing, and
load no more than they need, is tested elsewhere.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from lossloop.app.cli import program

Typed: TypeAlias = tuple[list[str], str, dict[str, str]]
"""Arguments, the directory and the environment of a command."""
_SHIM = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] == ["up"]:
    os.execv({python!r}, [{python!r}, "-m", "lossloop", *sys.argv[1:]])
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    socket.send_fds(line, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    line.sendall(asked)
    code = line.recv(1)
sys.exit(code[0] if code else 70)
"""


@contextlib.contextmanager
def warmed() -> Iterator[Path]:
    """A folder for the front of PATH, with a `lossloop` that starts at once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        address = str(folder / "line")
        command = [sys.executable, "-m", "tests.docs.warm", address]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            with process.stdout as said:
                assert said.readline() == b"ready\n"
            shim = folder / "lossloop"
            shim.write_text(_SHIM.format(python=sys.executable, address=address))
            shim.chmod(0o755)
            yield folder
        finally:
            process.kill()
            process.wait()


def _serve(address: str) -> None:
    """Fork for each command that comes in."""
    for path, _ in program._COMMANDS.values():
        importlib.import_module(path.partition(":")[0])
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        print("ready", flush=True)
        while True:
            line, _ = door.accept()
            typed, streams = _read(line)
            child = os.fork()
            if child == 0:
                door.close()
                _become(typed, streams)
            for stream in streams:
                os.close(stream)
            threading.Thread(target=_answer, args=(line, child), daemon=True).start()


def _read(line: socket.socket) -> tuple[Typed, list[int]]:
    raw, streams, _, _ = socket.recv_fds(line, 8, 3)
    left, asked = int.from_bytes(raw, "big"), b""
    while len(asked) < left:
        asked += line.recv(left - len(asked))
    return json.loads(asked), streams


def _answer(line: socket.socket, child: int) -> None:
    """Tell who typed a command how it ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with line, contextlib.suppress(OSError):
        line.send(bytes([code & 0xFF]))


def _become(typed: Typed, streams: list[int]) -> None:
    """Be the command; does not return."""
    arguments, directory, environment = typed
    code = 70
    try:
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["lossloop", *arguments]
        program.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
