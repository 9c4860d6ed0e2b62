"""What a retraining takes and gives, and the child process in which it runs.

A target is the user's own code, so it runs in a process of its own, with none of this one's secrets in its
environment, and its result is read from a file. That process ends with the one that started it, and whatever
it started ends with it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa

from lossloop.act.settings import read_settings
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError, LossloopError
from lossloop.core.profile import Profile
from lossloop.core.records import Record
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.history import labelled
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.sqlite.state import State
from lossloop.registry import Artifacts, Feature, Manifest, Reference

SECONDS = 6 * 3600
"""How long a retraining may take."""
LAST_WORDS = 2000
"""Bytes that are kept of what a target writes."""

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "TZ")
"""What of the environment a target is given; secrets live elsewhere in it."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a target is called with."""

    model: str
    at: Micros
    """The moment of the decision: nothing that came later is in `rows`."""
    loss: str
    """The policy's loss, as written there."""
    rows: pa.Table
    """Matured predictions: id, time, unit, version, role, y_pred, the features, and the outcome as y_true."""
    previous: bytes | None = None
    """The champion's artifact, for a warm start; None where there is none that Lossloop has."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a target returns: the makings of a version."""

    artifact: bytes
    runtime: str
    features: tuple[Feature, ...]
    reference: Reference
    lineage: dict[str, Any]
    profile: Profile | None = None
    """Made by `lossloop.profile_of`; needed where a watch asks for drift."""
    thresholds: Thresholds | None = None
    """What is done at which score; needed where the champion has some."""


class Order(Record, frozen=True):
    """What the child process is told."""

    target: str
    state: str
    model: str
    at: Micros
    age: Micros
    loss: str
    rows: str = ""
    """A file of the rows to train on; left out, the child reads them from the state directory."""
    previous: str = ""
    """The digest of the artifact to start from, if there is one."""


def retrain(order: Order, rows: pa.Table | None = None) -> Manifest:
    """Run a target in a child process and return the manifest of what it made.

    Args:
        order: What to make.
        rows: What to train on, where the child cannot read it.

    Raises:
        LossloopError: It failed; the message holds the end of what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "manifest.json"
        if rows is not None:
            order = msgspec.structs.replace(order, rows=str(Path(folder) / "rows.arrow"))
            with pa.ipc.new_file(order.rows, rows.schema) as writer:
                writer.write_table(rows)
        # Unbuffered: its last words are those that it said last.
        command = [sys.executable, "-u", "-m", "lossloop.act.child", str(out), str(os.getpid())]
        try:
            code, words = _run(command, msgspec.json.encode(order))
        except subprocess.TimeoutExpired:
            raise LossloopError(f"{order.target} took longer than {SECONDS} s") from None
        if code or not out.exists():
            raise LossloopError(f"{order.target} failed with exit code {code}: {words}")
        return msgspec.json.decode(out.read_bytes(), type=Manifest)


def _run(command: list[str], order: bytes) -> tuple[int, str]:
    """The exit code of a process in a group of its own, and the end of what it wrote; none of it is left."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen(
        command, env=environment, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    words = bytearray()
    reader = threading.Thread(target=_keep_end, args=(process.stdout, words), daemon=True)
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(order)
        code = process.wait(SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(1.0)
    return code, words.decode(errors="replace").strip()


def _keep_end(stream: IO[bytes], words: bytearray) -> None:
    """Read all, and keep the last bytes of it: a target may write more than a memory holds."""
    with stream:
        while part := os.read(stream.fileno(), 1 << 16):
            words += part
            del words[:-LAST_WORDS]


def make(order: Order) -> Manifest:
    """Call the target and store its artifact; this runs in the child."""
    rows = _read(order.rows) if order.rows else _labelled(order)
    artifacts = Artifacts(Path(order.state) / "artifacts")
    data = TrainingData(
        model=order.model, at=order.at, loss=order.loss, rows=rows,
        previous=artifacts.get(order.previous) if order.previous else None,
    )  # fmt: skip
    trained = _target(order.target)(data)
    if not isinstance(trained, Trained):
        raise InputError(f"{order.target} must return lossloop.Trained, not {type(trained).__name__}")
    artifact = artifacts.put(trained.artifact)
    return Manifest(
        runtime=trained.runtime, artifact=artifact, features=trained.features, reference=trained.reference,
        profile=trained.profile, thresholds=trained.thresholds,
        lineage={"target": order.target, "rows": len(rows), "at": order.at, **trained.lineage},
    )  # fmt: skip


def _read(path: str) -> pa.Table:
    with pa.memory_map(path) as file, pa.ipc.open_file(file) as reader:
        return reader.read_all()


def _labelled(order: Order) -> pa.Table:
    state = State(Path(order.state) / "state.db", read_only=True)
    reader = SegmentLog(Path(order.state) / "log").reader()
    try:
        keys = Keys(read_settings(Path(order.state) / "settings.yaml").secret)
        return labelled(reader, state, keys, order.model, until=order.at, age=order.age)
    finally:
        reader.close()
        state.close()


def _target(text: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot import {text}: {error}", field="retrain") from error
