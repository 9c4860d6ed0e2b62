"""`lossloop keys` and `lossloop sign`: who vouches for versions that bring code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.table import Table

from lossloop.access import signing
from lossloop.access.audit import AuditLog
from lossloop.access.keys import KeyBook, TrustedKey
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, answer, console, home, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.cli.models import bytes_of, manifest_of, text_of
from lossloop.core.clock import format_time
from lossloop.core.errors import InputError
from lossloop.core.ids import digest
from lossloop.registry import Approval


def create(path: Path, /, *, json: Json = False) -> None:
    """Make a key: its secret half into PATH, readable by you alone, its public half into PATH.pub.

    Parameters
    ----------
    path
        A new file.
    json
        Answer as JSON.
    """
    made, public = signing.make_pair(), path.with_name(path.name + ".pub")
    _write(path, made.secret, 0o600)
    try:
        _write(public, f"{made.public}\n".encode(), 0o644)
    except InputError:  # half a pair is of no use, and would stand in the way of the next try
        path.unlink(missing_ok=True)
        raise
    id = signing.id_of(made.public)
    words = f"made the key {id}.\nNext, by an admin: lossloop keys trust {public}"
    answer({"id": id, "secret": str(path), "public": str(public)}, as_json=json, words=words)


def trust(public: Path, /, *, name: str = "", state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Trust a key to vouch for versions that bring code; this is an admin's.

    Parameters
    ----------
    public
        The file of its public half.
    name
        Whose it is; the file's name if left out.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    key = KeyBook(place.path).trust(name or public.stem, text_of(public))
    AuditLog(place.path).append("key_trusted", msgspec.to_builtins(key))
    answer(msgspec.to_builtins(key), as_json=json, words=f"the key {key.id} ({key.name}) is trusted")


def list_keys(*, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Show which keys are trusted, and which were.

    Parameters
    ----------
    state
        The state directory.
    json
        Answer as JSON.
    """
    keys = KeyBook(home(state).path).known()
    if json:
        print_json({"keys": msgspec.to_builtins(keys)})
    elif keys:
        show_table(console(), _table(keys))
    else:
        print("No key is trusted yet. Next: lossloop keys create PATH")


def revoke(name: str, /, *, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Trust a key no longer: what it signed is not loaded again, from the next load on.

    Parameters
    ----------
    name
        The key's id or its name.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    key = KeyBook(place.path).revoke(name)
    AuditLog(place.path).append("key_revoked", msgspec.to_builtins(key))
    answer(
        msgspec.to_builtins(key), as_json=json, words=f"the key {key.id} ({key.name}) is trusted no longer"
    )


def sign(
    artifact: Path,
    /,
    *,
    manifest: Annotated[Path, Parameter(name="--manifest")],
    key: Annotated[Path, Parameter(name="--key")],
    output: Annotated[Path | None, Parameter(name="--output")] = None,
    json: Json = False,
) -> None:
    """Vouch for an artifact with its manifest; `lossloop register --signature` takes what is written.

    Parameters
    ----------
    artifact
        The model's file.
    manifest
        The manifest that it will be registered with.
    key
        The file of your secret key.
    output
        Where to; ARTIFACT.sig if left out.
    json
        Answer as JSON.
    """
    named = digest(bytes_of(artifact))
    signed = msgspec.structs.replace(manifest_of(manifest), artifact=named)
    secret = bytes_of(key)
    made = Approval(
        key=signing.id_of(signing.public_of(secret)), signature=signing.sign(secret, named, signed.digest)
    )
    where = output or artifact.with_name(artifact.name + ".sig")
    try:
        where.write_bytes(msgspec.json.encode(made) + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {where}: {error.strerror}", field="output") from None
    told = {"signature_file": str(where), "artifact": named, "manifest": signed.digest, "key": made.key}
    answer(told, as_json=json, words=f"signed {artifact} with key {made.key}: {where}")


def _write(path: Path, text: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", field="path") from None
    with os.fdopen(fd, "wb") as file:
        file.write(text)


def _table(keys: tuple[TrustedKey, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in ("id", "name", "trusted since", "revoked"):
        table.add_column(heading)
    for each in keys:
        revoked = "-" if each.revoked is None else format_time(each.revoked)[:10]
        table.add_row(each.id, each.name, format_time(each.trusted)[:10], revoked)
    return table
