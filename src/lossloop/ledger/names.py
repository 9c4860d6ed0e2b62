"""Names of documents, some of which end as somebody's own text does: with any character there is."""

from __future__ import annotations

import re

_LAST = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)
_WRITTEN = {"\x00": "\x01\x01", "\x01": "\x01\x02"}
_READ = {written: name for name, written in _WRITTEN.items()}


def behind(prefix: str) -> str:
    """What sorts behind all names that begin with a prefix, and before all others that sort behind them.

    Names sort as their UTF-8 bytes do. Behind an empty prefix that is the last character there is, with which
    no name begins.
    """
    prefix = prefix.rstrip(_LAST)
    if not prefix:
        return _LAST
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def written(name: str) -> str:
    """A name where no text may hold the character 0; its beginnings and its order stay as they are."""
    return re.sub("[\x00\x01]", lambda found: _WRITTEN[found[0]], name)


def read(name: str) -> str:
    """The name that was written so."""
    return re.sub("\x01[\x01\x02]", lambda found: _READ[found[0]], name)
