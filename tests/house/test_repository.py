"""No large file, no address to download from, no path of somebody's machine."""

from __future__ import annotations

import re

import pytest

from tests.house.repository import ROOT, files, name_of

# Written in parts, so that this file names none of them either.
HOSTS = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("debian", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("unpkg", "com"),
    ("jsdelivr", "net"),
    ("cloudflare", "com"),
    ("googleapis", "com"),
    ("gstatic", "com"),
    ("huggingface", "co"),
    ("anaconda", "org"),
    ("pytorch", "org"),
)
DOWNLOAD = re.compile("|".join(re.escape(".".join(parts)) for parts in HOSTS), re.IGNORECASE)
MACHINE = re.compile(r"(?<![\w.~$}*-])/(?:root|work|home|Users|opt|mnt)/")
MOST_BYTES = 1_000_000


def test_no_file_is_over_a_megabyte() -> None:
    large = {name_of(path): path.stat().st_size for path in files() if path.stat().st_size > MOST_BYTES}
    assert not large


@pytest.mark.parametrize("pattern", [DOWNLOAD, MACHINE], ids=["download host", "machine path"])
def test_no_file_names_a_download_host_or_a_path_of_a_machine(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path in files()
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("cd " + "/ro" + "ot/.cache", True),
        ("'" + "/ho" + "me/someone/x'", True),
        ("tests/work/file", False),
        ("$HOME/work/x", False),
    ],
)
def test_a_machine_path_is_told_from_a_relative_one(text: str, is_one: bool) -> None:
    assert bool(MACHINE.search(text)) is is_one


@pytest.mark.parametrize(
    "name", ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", ".ci/run", "Makefile"]
)
def test_what_people_look_for_is_there(name: str) -> None:
    assert (ROOT / name).is_file()
