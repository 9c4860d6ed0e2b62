"""Sizes in bytes, in words: ``10GB`` is 10,000,000,000, ``10GiB`` is 10,737,418,240."""

from __future__ import annotations

import re

from lossloop.core.errors import InputError

_UNITS = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*")
_LOWER = {name.lower(): size for name, size in _UNITS.items()}


def parse_size(text: str) -> int:
    """Read ``10GB`` or ``512MiB``; raise InputError that lists the units otherwise."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _LOWER:
        raise InputError(
            f"{text!r} is not a size; write a number and one of {', '.join(_UNITS)}, such as 10GB"
        )
    return round(float(match[1]) * _LOWER[match[2].lower()])


def format_size(size: int) -> str:
    """A size in the largest decimal unit of which it has one, to three digits: ``1.25 GB``."""
    for name in ("TB", "GB", "MB", "kB"):
        if size >= _UNITS[name]:
            return f"{size / _UNITS[name]:.3g} {name}"
    return f"{size} B"
