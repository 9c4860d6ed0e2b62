"""The load: wrk, a generator in C that is the same for every server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """How a server fared under load."""

    requests: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float


def generator() -> str:
    """Where wrk is; ends the program with a sentence where it is not."""
    found = shutil.which("wrk")
    if found is None:
        sys.exit("wrk is needed: apt-get install wrk")
    return found


def load(url: str, body: bytes, headers: dict[str, str], *, connections: int, seconds: float) -> Answered:
    """Send the same request over some connections, each as soon as it has its answer."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
        command = [generator(), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s"]
        command += ["--latency", "-s", str(SCRIPT), url]
        printed = subprocess.run(
            command, check=True, capture_output=True, text=True,
            env={**os.environ, "BENCH_BODY": file.name, "BENCH_HEADERS": lines},
        )  # fmt: skip
    told: dict[str, Any] = json.loads(printed.stdout.strip().splitlines()[-1])
    return Answered(
        requests=told["requests"], failed=told["failed"],
        per_second=told["requests"] / (told["microseconds"] / 1e6),
        p50_ms=told["p50_us"] / 1e3, p99_ms=told["p99_us"] / 1e3,
    )  # fmt: skip
