"""Models that bring code, small enough to be read in a test."""

from __future__ import annotations

import io
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.registry.process import Process
from lossloop.serve.runtimes import Columns
from lossloop.serve.runtimes.child import ChildRuntime
from lossloop.serve.runtimes.permits import Permit

FEATURES = (Feature(name="x"), Feature(name="colour", kind=FeatureKind.CATEGORY, nullable=True))
APART = Path(f"{sys.prefix}-apart") / "bin" / "python"
"""Another environment's interpreter, which has none of our code, and MLflow."""
SUM = b"""
def predict(columns):
    return [x + len(colour or "") for x, colour in zip(columns["x"], columns["colour"])]
"""
ORDERS = b"""
import os, socket, sys, time
import numpy as np

kept = []
state = {"asked": 0}

def predict(columns):
    state["asked"] += 1
    order = columns["colour"][0] or ""
    name, _, rest = order.partition(" ")
    return ORDERS.get(name, same)(rest, columns["x"])

def same(rest, x): return x
def nan(rest, x): return x * float("nan")
def fail(rest, x): raise ValueError("this is " + rest)
def hang(rest, x): time.sleep(1000)
def end(rest, x): os._exit(int(rest))
def leak(rest, x):
    kept.append(np.ones(int(rest) // 8))
    return x
def want(rest, x): return np.ones(int(rest) // 8)[:1]
def read(rest, x):
    with open(rest) as file: return [float(len(file.read()))]
def write(rest, x):
    with open(rest, "w") as file: file.write("x")
    return x
def tell(rest, x):
    print(rest.replace("|", "\\n"), flush=True)
    return x
def shape(rest, x): return np.zeros([int(each) for each in rest.split(",")])
def noise(rest, x):
    for fd in range(3, 256):
        try:
            socket.socket(fileno=os.dup(fd)).sendall(b"\\xff" * 64)
        except OSError:
            continue
    return x
def environment(rest, x): raise KeyError(",".join(sorted(os.environ)))
def connect(rest, x): socket.create_connection(("127.0.0.1", int(rest)), 5).close(); return x
def kill(rest, x): os.kill(int(rest), 9); return x
def asked(rest, x): return [state["asked"] / 1000]
def pid(rest, x): return [os.getpid() / 1e8]
def start(rest, x):
    import subprocess
    return [float(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]).pid)]
ORDERS = {name: value for name, value in globals().items() if callable(value) and name != "predict"}
"""
"""Does what its category says, so that a test can ask for any fault."""


def rows(*values: float, colour: str | None = None) -> Columns:
    colours = np.empty(len(values), dtype=object)
    colours[:] = colour
    return {"x": np.array(values, dtype=np.float64), "colour": colours}


def order(text: str) -> Columns:
    return rows(1.0, colour=text)


def loaded(
    artifact: bytes = ORDERS,
    runtime: str = "python",
    *,
    interpreters: dict[str, str] | None = None,
    features: tuple[Feature, ...] = FEATURES,
    **limits: object,
) -> ChildRuntime:
    process = Process(**limits)  # type: ignore[arg-type]
    manifest = Manifest(runtime=runtime, features=features, process=process)
    return ChildRuntime(runtime, artifact, manifest, Permit(name="m:1", interpreters=interpreters or {}))


def packed(**files: bytes) -> bytes:
    """A zip of files; two underscores stand for a dot."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return out.getvalue()


def gone(pid: int, seconds: float = 60.0) -> bool:
    """Whether a process ends; one that nobody has waited for yet has ended too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False
