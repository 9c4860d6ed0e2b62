"""The admin's file of a state directory: which code and which addresses the names in a policy may mean.

A policy can only name what stands here, so that whoever writes policies can neither run code of their own
choosing nor send data to an address of their own choosing.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from lossloop.act.policy import Policy, Verb
from lossloop.act.strict import Problem, build
from lossloop.act.yaml import load
from lossloop.core.errors import InputError, PolicyError, StateError, alternatives
from lossloop.core.records import Record

LOG = "log"
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Settings(Record, frozen=True):
    """What `settings.yaml` of a state directory may say."""

    retrain: dict[str, str] = {}
    """Name in a policy to ``package.module:function``."""
    notify: dict[str, str] = {}
    """Name in a policy to a webhook's address, or ``log``; the name ``log`` is always there."""
    salt: str = ""
    """Mixed into the assignment of units to arms, so that two installations do not assign alike."""
    clock: str = "receipt"
    """``receipt``: time is when facts arrive. ``event``: a replay, time is what the events say."""
    label_folders: dict[str, str] = {}
    """Model to a folder of label files that are taken as they come; relative to the state directory."""
    interpreters: dict[str, str] = {}
    """Name in a manifest to the path of a Python interpreter, which runs a version's own code."""
    store: str = ""
    """Where log and state lie: ``postgresql://...``, or ``env:NAME`` of a variable; empty for files."""

    @property
    def secret(self) -> bytes:
        """What ids are hashed with; made of the salt, which nobody who sends ids knows."""
        return hashlib.blake2b(self.salt.encode(), person=b"lossloop.keys", digest_size=32).digest()


def read_settings(path: Path) -> Settings:
    """Read a settings file; no file means the defaults.

    Raises:
        PolicyError: With the line and the alternatives.
    """
    if not path.exists():
        return Settings()
    try:
        text = path.read_text()
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise PolicyError("not readable as UTF-8 text", source=path.name) from None
    return _read(text, path.name)


@lru_cache(maxsize=16)
def _read(text: str, source: str) -> Settings:
    """The settings that a text says; a process looks at the same text again with every command."""
    document = load(text, source=source)
    try:
        settings: Settings = build(Settings, document.value, {})
        _check(settings)
    except Problem as problem:
        place = ".".join(map(str, problem.path))
        raise PolicyError(f"{place}: {problem}", line=document.line(problem.path), source=source) from None
    return settings


def check_targets(policy: Policy, settings: Settings) -> None:
    """Raise InputError where a policy names a target that the settings do not have."""
    known: dict[Any, dict[str, str]] = {
        Verb.RETRAIN: settings.retrain,
        Verb.NOTIFY: {LOG: LOG, **settings.notify},
    }
    for watch, entries in policy.on.items():
        for verb, target in (pair for entry in entries for pair in entry.items()):
            if target not in known[verb]:
                raise InputError(
                    f"{verb} {target!r} is not in settings.yaml, where an admin lists what a policy may "
                    f"name; {alternatives(target, known[verb])}",
                    field=f"on.{watch}",
                )


def _check(settings: Settings) -> None:
    for name, target in settings.retrain.items():
        if not _TARGET.fullmatch(target):
            raise Problem(("retrain", name), f"{target!r} is not package.module:function")
    for name, address in settings.notify.items():
        if address != LOG and not re.match(r"https?://", address):
            raise Problem(("notify", name), f"{address!r} is neither an address with http(s):// nor 'log'")
    for name, path in settings.interpreters.items():
        if not path.startswith("/"):
            raise Problem(("interpreters", name), f"{path!r} is not a whole path, such as /usr/bin/python3")
    if settings.clock not in ("receipt", "event"):
        raise Problem(("clock",), f"{settings.clock!r} is not possible; there are: event, receipt")
