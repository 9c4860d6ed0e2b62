"""Makes .venv and installs the pinned requirements and this project into it.

`python3 scripts/setup.py run` installs what `lossloop demo` needs, `dev` what tests, docs and benches need
as well: next to .venv there is then .venv-apart, with other people's clients and servers. A second call with
nothing changed returns at once. Only the standard library is used, and syntax that an old Python can read,
so that it can say what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
SETS = ("run", "dev")


def main(arguments: list[str]) -> int:
    """Install the set named by the only argument; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in SETS:
        return _fail("usage: setup.py {}".format("|".join(SETS)))
    wanted = arguments[0]
    problem = python_problem(sys.version_info[:2], ROOT / "requirements")
    if problem:
        return _fail(problem)
    venv = Path(os.environ.get("VENV", ROOT / ".venv"))
    minor = "{}.{}".format(*sys.version_info[:2])
    stamp = fingerprint(ROOT, minor)
    if installed(venv, wanted, stamp):
        return 0
    started = time.monotonic()
    print(f"Installing into {venv.name} for Python {minor}: one to three minutes.", flush=True)
    try:
        if not installed(venv, "run", stamp):
            _make(venv, minor)
        _install(venv, wanted, minor)
        if wanted == "dev":
            _make_apart(venv, minor)
    except subprocess.CalledProcessError as error:
        return _fail("this step failed (exit code {}):\n  {}".format(error.returncode, " ".join(error.cmd)))
    (venv / f".installed-{wanted}").write_text(stamp)
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)
    return 0


def python_problem(version: tuple[int, ...], requirements: Path) -> str | None:
    """Say why this Python cannot be used and which can, or None."""
    minor = ".".join(str(part) for part in version)
    if version < OLDEST:
        return f"Python {minor} is too old; 3.11 or newer is needed. Name one: make PYTHON=python3.13 ..."
    locked = sorted(path.stem.removeprefix("run-") for path in requirements.glob("run-*.txt"))
    if minor not in locked:
        return (
            f"there is no lock for Python {minor}, only for {', '.join(locked)}. "
            "Name one of those: make PYTHON=python3.13 ..."
        )
    return None


def fingerprint(root: Path, minor: str) -> str:
    """Digest of everything that decides what gets installed."""
    digest = hashlib.sha256(f"{minor} {sys.base_prefix} {root}".encode())
    import tomllib  # only here: an old Python must get as far as being told that it is old

    metadata = tomllib.loads((root / "pyproject.toml").read_text())
    digest.update(json.dumps([metadata[table] for table in ("build-system", "project")]).encode())
    for lock in sorted((root / "requirements").glob(f"*-{minor}.txt")):
        digest.update(lock.read_bytes())
    return digest.hexdigest()


def installed(venv: Path, wanted: str, stamp: str) -> bool:
    """Whether `wanted`, or more, is installed from the same inputs."""
    return any(
        (venv / f".installed-{name}").is_file() and (venv / f".installed-{name}").read_text() == stamp
        for name in SETS[SETS.index(wanted) :]
    )


def _make(venv: Path, minor: str) -> None:
    for name in SETS:
        (venv / f".installed-{name}").unlink(missing_ok=True)
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
    except subprocess.CalledProcessError:
        print("If ensurepip is missing: on Debian and Ubuntu, install python3-venv.", file=sys.stderr)
        raise
    # The build tools come first and pinned too: nothing is then built with whatever is newest today.
    _pip(venv, "--require-hashes", "-r", str(ROOT / "requirements" / f"build-{minor}.txt"))


def _install(venv: Path, wanted: str, minor: str) -> None:
    lock = ROOT / "requirements" / f"{wanted}-{minor}.txt"
    _pip(venv, "--require-hashes", "--no-build-isolation", "-r", str(lock))
    _pip(venv, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def _make_apart(venv: Path, minor: str) -> None:
    """The environment of what could not share ours; our code is not in it."""
    apart = venv.with_name(f"{venv.name}-apart")
    _run([sys.executable, "-m", "venv", "--clear", str(apart)])
    _pip(apart, "--require-hashes", "-r", str(ROOT / "requirements" / f"apart-{minor}.txt"))


def _pip(venv: Path, *arguments: str) -> None:
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location")
    _run([str(venv / "bin" / "python"), "-m", "pip", "install", *quiet, *arguments])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, cwd=ROOT)


def _fail(message: str) -> int:
    print(f"setup: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
