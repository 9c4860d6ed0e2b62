"""The program of a child process that runs a version's own code.

It is run by path, by whichever interpreter the version names, so it needs nothing but Python and NumPy. It
shuts itself in before it loads anything, loads the artifact, and answers requests on a socket until that
closes. Frames are a header in JSON and float64 columns as they lie in memory: nothing is ever unpickled on
the other side.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import io
import json
import os
import pickle
import resource
import signal
import socket
import stat
import struct
import sys
import sysconfig
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

HEAD = struct.Struct("<IQ")
"""Bytes of the header, and of the columns behind it."""
LARGEST_FILE = 1 << 30
MOST_UNPACKED = 4 << 30
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_READ = 0b1101  # execute, read a file, read a directory
_TRUNCATE = 1 << 14  # known from version 3 on
_ALL = (1 << 13) - 1  # what the first version knows of files
_OF_A_FILE = 0b0111 | _TRUNCATE  # the rights that a rule for a file may have: execute, write, read, truncate
Predict = Callable[[dict[str, Any]], Any]


def main() -> None:
    """Shut in, load, answer."""
    order = json.loads(sys.argv[1])
    end_with_parent(order["alive"])
    sock = socket.socket(fileno=order["socket"])
    confine(Path.cwd(), order)
    try:
        predict = LOADERS[order["runtime"]](Path(order["artifact"]), order)
    except BaseException as error:  # noqa: BLE001 - told to who waits, whatever it is
        send(sock, {"error": said(error)})
        return
    send(sock, {"shape": [0]})
    while (asked := receive(sock)) is not None:
        header, payload = asked
        turn = header["turn"]  # said again with the answer: code that forks would give two
        try:
            found = answer(predict(columns(header, payload)))
        except BaseException as error:  # noqa: BLE001 - a version may raise what it likes
            send(sock, {"turn": turn, "error": said(error)})
        else:
            send(sock, {"turn": turn, "shape": found.shape}, found.tobytes())


# What it may not do.


def end_with_parent(fd: int) -> None:
    """Be killed, with all that was started here, when the other end of a pipe is closed."""
    if hasattr(fcntl, "F_SETSIG"):  # by the kernel itself, also where code never comes back to Python
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)

    def wait() -> None:
        os.read(fd, 1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def confine(place: Path, order: dict[str, Any]) -> None:
    """Limits of memory and files, and where the kernel can: only what a model needs of the file system."""
    for name, most in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", LARGEST_FILE),
        ("RLIMIT_DATA", 2 * order["memory"]),
    ):
        _, hard = resource.getrlimit(getattr(resource, name))
        held = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(getattr(resource, name), (held, held))
    os.umask(0o077)
    if sys.platform == "linux":
        landlock(readable(order["artifact"]), [str(place), "/dev/null"], network=order["network"])


def readable(artifact: str) -> set[str]:
    """What a model may read: the interpreter, its libraries, the system's, and its artifact."""
    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(os.path.isabs, sys.path), artifact}
    paths |= {*sysconfig.get_paths().values(), os.path.realpath(sys.executable), __file__}
    system = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl", "/etc/mime.types")
    return paths | {*system, "/dev/urandom", "/dev/zero", "/sys/devices/system/cpu", "/proc/cpuinfo"}


def landlock(read: Iterable[str], write: Iterable[str], *, network: bool) -> bool:
    """Leave this process, for good, only these parts of the file system; False where the kernel cannot.

    Also no connection by TCP, unless it may, and no signal to a process outside.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, 0, 1)
    if version < 1:
        return False
    files = _ALL | (_TRUNCATE if version >= 3 else 0)
    # Files; from 4 on connections by TCP; from 6 on abstract sockets and signals to those outside.
    held = struct.pack("=QQQ", files, 0 if network else 3, 3)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruled = libc.syscall(_CREATE, held, size, 0)
    if ruled < 0:
        return False
    for paths, rights in ((read, _READ), (write, files)):
        for path in paths:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            allowed = rights if stat.S_ISDIR(os.fstat(fd).st_mode) else rights & _OF_A_FILE
            libc.syscall(_ADD_RULE, ruled, 1, struct.pack("=Qi", allowed, fd), 0)
            os.close(fd)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, which the next call wants
    done: int = libc.syscall(_RESTRICT, ruled, 0)
    os.close(ruled)
    return done == 0


# Artifacts.


def load_python(path: Path, order: dict[str, Any]) -> Predict:
    """A module, or a zip of modules: a function ``predict(columns)``, or a class with load and predict."""
    module, _, name = order["entry"].partition(":")
    raw = path.read_bytes()
    home = Path.cwd() / "code"
    home.mkdir(exist_ok=True)
    if zipfile.is_zipfile(io.BytesIO(raw)):
        unpack(raw, home)
    else:
        (home / f"{module}.py").write_bytes(raw)
    sys.path.insert(0, str(home))
    found = importlib.import_module(module)
    held = getattr(found, name, None) if name else getattr(found, "predict", getattr(found, "Model", None))
    if held is None:
        raise TypeError(f"{module} has no {name or 'function predict, nor a class Model'}")
    if isinstance(held, type):
        made = held()
        if hasattr(made, "load"):
            made.load(str(home))
        held = made.predict
    if not callable(held):
        raise TypeError(f"{order['entry']} is neither a function nor a class")
    return held  # type: ignore[no-any-return]


def load_mlflow(path: Path, order: dict[str, Any]) -> Predict:
    """A folder of MLflow, packed as tar or zip: its flavour pyfunc."""
    home = Path.cwd() / "mlflow"
    home.mkdir(exist_ok=True)
    unpack(path.read_bytes(), home)
    folder = next((each.parent for each in sorted(home.rglob("MLmodel"))), None)
    if folder is None:
        raise FileNotFoundError("there is no file MLmodel in the artifact")
    pyfunc, pandas = importlib.import_module("mlflow.pyfunc"), importlib.import_module("pandas")
    model = pyfunc.load_model(str(folder))
    schema = model.metadata.get_input_schema()
    kinds = {} if schema is None or not schema.has_input_names() else dict(
        zip(schema.input_names(), schema.pandas_types(), strict=True)
    )  # fmt: skip

    def predict(rows: dict[str, Any]) -> Any:
        frame = pandas.DataFrame(rows)
        return model.predict(frame.astype({name: kinds[name] for name in frame.columns if name in kinds}))

    return predict


def load_pickle(path: Path, order: dict[str, Any]) -> Predict:
    """An estimator that was pickled."""
    return estimator(pickle.loads(path.read_bytes()))


def load_joblib(path: Path, order: dict[str, Any]) -> Predict:
    """An estimator that joblib wrote."""
    return estimator(importlib.import_module("joblib").load(path))


LOADERS: dict[str, Callable[[Path, dict[str, Any]], Predict]] = {
    "joblib": load_joblib,
    "mlflow": load_mlflow,
    "pickle": load_pickle,
    "python": load_python,
}


def estimator(model: Any) -> Predict:
    """Ask as scikit-learn is asked: the chance of the second of two classes, chances of more, or a value."""
    chances = getattr(model, "predict_proba", None)
    ask = chances or model.predict
    by_name = getattr(model, "feature_names_in_", None) is not None

    def predict(rows: dict[str, Any]) -> Any:
        if by_name:
            frame = importlib.import_module("pandas").DataFrame(rows)
            found = ask(frame[list(model.feature_names_in_)])
        else:
            found = ask(np.column_stack(list(rows.values())))
        return found[:, 1] if chances and found.ndim == 2 and found.shape[1] == 2 else found

    return predict


def unpack(raw: bytes, home: Path) -> None:
    """Unpack a zip or a tar; nothing lands outside, and no more than so much of it."""
    if zipfile.is_zipfile(io.BytesIO(raw)):
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            check(sum(each.file_size for each in packed.infolist()))
            packed.extractall(home)
        return
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        check(sum(each.size for each in archive.getmembers()))
        archive.extractall(home, filter="data")


def check(size: int) -> None:
    """Raise ValueError where an artifact would unpack to too much."""
    if size > MOST_UNPACKED:
        raise ValueError(f"the artifact unpacks to {size} bytes; at most {MOST_UNPACKED} are taken")


# Frames.


def columns(header: dict[str, Any], payload: memoryview) -> dict[str, Any]:
    """Columns by feature: float64 (n,), or objects (n,)."""
    found: dict[str, Any] = {}
    place, rows = 0, int(header["rows"])
    for name in header["names"]:
        if name in header["texts"]:
            found[name] = np.array([*header["texts"][name], None], dtype=object)[:-1]
            continue
        found[name] = np.frombuffer(payload[place : place + 8 * rows], dtype=np.float64).copy()
        place += 8 * rows
    return found


def answer(found: Any) -> np.ndarray[Any, Any]:
    """What a model answered, as float64 (n,) or (n, k)."""
    made = np.asarray(found, dtype=np.float64)
    if not 1 <= made.ndim <= 2:
        raise ValueError(f"the answers have the shape {made.shape}; (n,) or (n, k) is taken")
    return np.ascontiguousarray(made[:, 0] if made.ndim == 2 and made.shape[1] == 1 else made)


def said(error: BaseException) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}"[:500]


def send(sock: socket.socket, header: dict[str, Any], payload: bytes = b"") -> None:
    """Send a frame."""
    text = json.dumps(header).encode()
    sock.sendall(HEAD.pack(len(text), len(payload)) + text + payload)


def receive(sock: socket.socket) -> tuple[dict[str, Any], memoryview] | None:
    """The next frame; None where the other side has closed."""
    head = exactly(sock, HEAD.size)
    if head is None:
        return None
    size, rest = HEAD.unpack(head)
    body = exactly(sock, size + rest)
    return None if body is None else (json.loads(bytes(body[:size])), body[size:])


def exactly(sock: socket.socket, size: int) -> memoryview | None:
    """So many bytes; None where the other side closes before."""
    body, got = memoryview(bytearray(size)), 0
    while got < size:
        count = sock.recv_into(body[got:])
        if not count:
            return None
        got += count
    return body


if __name__ == "__main__":
    main()
