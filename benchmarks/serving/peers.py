"""Lossloop beside other servers: the same model, the same rows, the same load, each in its own environment.

    python -m benchmarks.serving.peers [--hosts lossloop,mlserver,...] [--models logistic,boosting]
        [--rows 1,64] [--seconds 10] [--connections 32] [--environments DIR] [--json]

The others are installed as they are today, into environments that are kept for the next time. Each gets
scikit-learn's own model, as its documentation shows; Lossloop the same model as ONNX, and it logs every
answer durably before it leaves. Processor time is of all processes that a server started, divided by
requests; for Lossloop that of the applier, which folds the log beside the server, is told apart. Two cores
carry the server and the load, so rates are no more than a comparison.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import urllib3

from benchmarks.judges.command import parser_of
from benchmarks.serving.hosts import HOSTS, Host, Setting, Start
from benchmarks.serving.load import load
from benchmarks.serving.models import fit, rows
from benchmarks.serving.processes import Tree, started
from lossloop.app.system import free_port

READY_WITHIN = 120.0
WARM_UP = 3.0
BESIDE = "lossloop.app.parts.applier"
"""The command line of what folds the log beside the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """What was measured of one server, model and number of rows."""

    host: str
    version: str
    model: str
    rows: int
    cpu_us: float
    """Processor time per request, all processes."""
    server_cpu_us: float
    """The same without the applier."""
    per_second: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    cold_start_s: float
    failed: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__, seeded=False)
    parser.add_argument("--hosts", default=",".join(HOSTS))
    parser.add_argument("--models", default="logistic,boosting")
    parser.add_argument("--rows", default="1,64")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--environments", type=Path, default=Path(".cache/peers"))
    args = parser.parse_args(arguments)
    figures: list[Figure] = []
    for name in args.hosts.split(","):
        python = _environment(name, HOSTS[name].needs, args.environments.resolve())
        for model in args.models.split(","):
            sizes = [int(size) for size in args.rows.split(",")]
            with tempfile.TemporaryDirectory() as folder:
                found = _measure(
                    name,
                    python,
                    model,
                    sizes,
                    Path(folder),
                    seconds=args.seconds,
                    connections=args.connections,
                )
            figures += found
            if not args.json:
                _tell(found, first=len(figures) == len(found))
    if args.json:
        print(json.dumps({"bench": "serving_peers", "figures": [asdict(each) for each in figures]}))


def _environment(name: str, needs: Sequence[str], where: Path) -> Path:
    """The interpreter of a server's environment, which is made where it is not there yet."""
    if not needs:
        return Path(sys.executable)
    python = where / name / "bin" / "python"
    done = where / name / ".installed"
    if not done.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(where / name)], check=True
        )
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *needs], check=True)
        done.touch()
    return python


def _measure(
    name: str, python: Path, model: str, sizes: Sequence[int], folder: Path, *, seconds: float,
    connections: int,
) -> list[Figure]:  # fmt: skip
    host = HOSTS[name]
    fit(model, folder)
    place = folder / "place"
    place.mkdir()
    setting = Setting(python=python, model=folder / model, folder=place, port=free_port("127.0.0.1"))
    start = host.prepare(setting)
    url = f"http://127.0.0.1:{setting.port}{host.path}"
    figures = []
    began = time.perf_counter()
    with started(start.command, start.environment, place, folder / "log") as (tree, process):
        _await_answer(host, url, start, process, folder / "log")
        cold = time.perf_counter() - began
        for size in sizes:
            body = json.dumps(host.body(rows(size))).encode()
            load(url, body, start.headers, connections=connections, seconds=WARM_UP)
            before = _taken(tree)
            told = load(url, body, start.headers, connections=connections, seconds=seconds)
            everything, server = (after - was for after, was in zip(_taken(tree), before, strict=True))
            per = 1e6 / max(told.requests, 1)
            figures.append(
                Figure(
                    host=name,
                    version=_version(host, python),
                    model=model,
                    rows=size,
                    cpu_us=everything * per,
                    server_cpu_us=server * per,
                    per_second=told.per_second,
                    p50_ms=told.p50_ms,
                    p99_ms=told.p99_ms,
                    memory_mb=tree.memory_mb(),
                    cold_start_s=cold,
                    failed=told.failed,
                )
            )
    return figures


def _taken(tree: Tree) -> tuple[float, float]:
    return tree.cpu(), tree.cpu(but=BESIDE)


def _await_answer(host: Host, url: str, start: Start, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the first answer that is one."""
    body = json.dumps(host.body(rows(1))).encode()
    headers = {"Content-Type": "application/json", **start.headers}
    deadline, said = time.monotonic() + READY_WITHIN, ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = urllib3.request("POST", url, body=body, headers=headers, retries=False, timeout=10.0)
            if answer.status == 200:
                return
            said = f"{answer.status}: {answer.data[:500]!r}"
        except urllib3.exceptions.HTTPError as error:
            said = str(error)
        time.sleep(0.02)
    sys.exit(f"{url} does not answer: {said}\n{log.read_text(errors='replace')[-3000:]}")


def _version(host: Host, python: Path) -> str:
    name = host.needs[0].partition("[")[0] if host.needs else "lossloop"
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    return subprocess.run(
        [str(python), "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _tell(figures: Sequence[Figure], *, first: bool) -> None:
    if first:
        heads = ("CPU us", "server", "req/s", "p50 ms", "p99 ms", "MB", "cold s", "failed")
        head = "{:>8} {:>8} {:>8} {:>7} {:>7} {:>6} {:>6} {:>6}".format(*heads)
        print(f"{'':10} {'':10} {'model':9} rows {head}")
    for each in figures:
        print(
            f"{each.host:10} {each.version:10} {each.model:9} {each.rows:4} {each.cpu_us:8.0f} "
            f"{each.server_cpu_us:8.0f} {each.per_second:8.0f} {each.p50_ms:7.1f} {each.p99_ms:7.1f} "
            f"{each.memory_mb:6.0f} {each.cold_start_s:6.1f} {each.failed:6}",
            flush=True,
        )


if __name__ == "__main__":
    main()
