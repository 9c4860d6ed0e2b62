"""The keys that an admin trusts to sign versions: `access/keys.json` of a state directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lossloop.access import files, signing
from lossloop.core.clock import Clock, Micros, SystemClock
from lossloop.core.errors import Forbidden, InputError, UnknownName
from lossloop.core.records import Record


class TrustedKey(Record, frozen=True):
    """The public half of a key, and since when it is trusted."""

    id: str
    name: str
    public: str
    """32 bytes, base64."""
    trusted: Micros
    revoked: Micros | None = None


class _Keys(Record, frozen=True):
    keys: tuple[TrustedKey, ...] = ()


class KeyBook:
    """The trusted keys of a state directory."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self._path = directory / "access" / "keys.json"
        self._clock = clock or SystemClock()

    def known(self) -> tuple[TrustedKey, ...]:
        """All that were ever trusted, oldest first."""
        return (files.read(self._path, _Keys) or _Keys()).keys

    def trust(self, name: str, public: str) -> TrustedKey:
        """Trust a key from now on.

        Raises:
            InputError: It is no key, it is trusted already, or it was revoked: that is for good.
        """
        made = TrustedKey(
            id=signing.id_of(public), name=name, public=public.strip(), trusted=self._clock.now()
        )
        with self._changed() as keys:
            found = next((each for each in keys if each.id == made.id), None)
            if found is not None:
                how = "is trusted already" if found.revoked is None else "was revoked, which is for good"
                raise InputError(f"the key {made.id} {how}", field="key")
            keys.append(made)
        return made

    def revoke(self, name: str) -> TrustedKey:
        """Trust a key no longer, by its id or its name; what it signed is not loaded again.

        Raises:
            UnknownName: No such key is trusted.
        """
        with self._changed() as keys:
            good = [each for each in keys if each.revoked is None]
            found = next((each for each in good if name in (each.id, each.name)), None)
            if found is None:
                raise UnknownName("key", name, [each.id for each in good], field="key")
            ended = msgspec.structs.replace(found, revoked=self._clock.now())
            keys[keys.index(found)] = ended
        return ended

    def check(self, key: str, signature: str, artifact: str, manifest: str) -> TrustedKey:
        """The key that signed an artifact and its manifest, by their digests.

        Raises:
            Forbidden: It is not trusted, was revoked, or signed something else.
            MissingExtra: cryptography is not installed.
        """
        found = next((each for each in self.known() if each.id == key), None)
        if found is None:
            raise Forbidden(f"the key {key} is not trusted here; an admin may: lossloop keys trust FILE")
        if found.revoked is not None:
            raise Forbidden(
                f"the key {key} ({found.name}) was revoked; sign with another, and register again"
            )
        signing.verify(found.public, signature, artifact, manifest)
        return found

    @contextlib.contextmanager
    def _changed(self) -> Iterator[list[TrustedKey]]:
        with files.locked(self._path.parent):
            keys = list(self.known())
            yield keys
            files.write(self._path, msgspec.json.encode(_Keys(keys=tuple(keys))))
