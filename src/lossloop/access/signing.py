"""Signatures over versions: Ed25519 (RFC 8032) over the digests of an artifact and of its manifest.

The secret half of a key is a file of its owner's; the public half is what an admin trusts. A key's id is made
of the public half, so nobody can give another key that id.
"""

from __future__ import annotations

import base64
import binascii
import importlib
from dataclasses import dataclass
from typing import Any

from lossloop.core.errors import Forbidden, InputError, MissingExtra
from lossloop.core.ids import digest

_PURPOSE = b"lossloop version, 1\n"
"""Signed along, so that a signature made for something else is none of ours."""
_RAW = 32


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A new key."""

    secret: bytes
    """PKCS #8 in PEM, for the file of its owner."""
    public: str
    """The 32 bytes of the public half, base64."""


def make_pair() -> Pair:
    """Make a key; raise MissingExtra where cryptography is not installed."""
    made = _ed25519().Ed25519PrivateKey.generate()
    serial = _library("cryptography.hazmat.primitives.serialization")
    secret = made.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.PKCS8, serial.NoEncryption())
    return Pair(secret=secret, public=_public(made))


def public_of(secret: bytes) -> str:
    """The public half of a secret key; raise InputError where that is none."""
    return _public(_secret(secret))


def id_of(public: str) -> str:
    """The id of a key, 16 hex digits, by its public half; raise InputError where that is none."""
    return digest(_raw(public))[:16]


def sign(secret: bytes, artifact: str, manifest: str) -> str:
    """Sign the digests of an artifact and of its manifest; base64."""
    made: bytes = _secret(secret).sign(_message(artifact, manifest))
    return base64.b64encode(made).decode()


def verify(public: str, signature: str, artifact: str, manifest: str) -> None:
    """Raise Forbidden where a signature is not that of this key over these digests."""
    key = _ed25519().Ed25519PublicKey.from_public_bytes(_raw(public))
    wrong = _library("cryptography.exceptions").InvalidSignature
    try:
        key.verify(base64.b64decode(signature, validate=True), _message(artifact, manifest))
    except (wrong, binascii.Error, ValueError):
        raise Forbidden(
            f"the signature of key {id_of(public)} is not of this artifact with this manifest; sign both "
            "again"
        ) from None


def _message(artifact: str, manifest: str) -> bytes:
    return _PURPOSE + f"artifact {artifact}\nmanifest {manifest}\n".encode()


def _raw(public: str) -> bytes:
    try:
        raw = base64.b64decode(public.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _RAW:
        raise InputError(
            "a public key is 32 bytes in base64, as `lossloop keys create` writes it", field="key"
        )
    return raw


def _secret(secret: bytes) -> Any:
    try:
        key = _library("cryptography.hazmat.primitives.serialization").load_pem_private_key(secret, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, _ed25519().Ed25519PrivateKey):
        raise InputError("this is no secret key of `lossloop keys create`", field="key")
    return key


def _public(key: Any) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _ed25519() -> Any:
    return _library("cryptography.hazmat.primitives.asymmetric.ed25519")


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingExtra("cryptography", "signatures") from None
