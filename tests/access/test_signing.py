"""Keys and signatures: Ed25519 over an artifact's digest and its manifest's."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.access import signing
from lossloop.access.keys import KeyBook
from lossloop.core.clock import ManualClock
from lossloop.core.errors import Forbidden, InputError, StateError, UnknownName
from lossloop.core.ids import digest

ARTIFACT, MANIFEST = digest("artifact"), digest("manifest")
PAIR = signing.make_pair()
KEY = signing.id_of(PAIR.public)


def signed(artifact: str = ARTIFACT, manifest: str = MANIFEST, pair: signing.Pair = PAIR) -> str:
    return signing.sign(pair.secret, artifact, manifest)


@pytest.fixture
def book(tmp_path: Path) -> KeyBook:
    return KeyBook(tmp_path, ManualClock(1_700_000_000_000_000))


def test_a_signature_is_of_this_artifact_with_this_manifest_by_this_key() -> None:
    signing.verify(PAIR.public, signed(), ARTIFACT, MANIFEST)
    other = signing.make_pair()
    for public, made in (
        (PAIR.public, signed(manifest=ARTIFACT)),
        (PAIR.public, signed(artifact=MANIFEST)),
        (PAIR.public, signed(artifact=MANIFEST, manifest=ARTIFACT)),
        (PAIR.public, signed(pair=other)),
        (other.public, signed()),
    ):
        with pytest.raises(Forbidden, match="is not of this artifact with this manifest; sign both again"):
            signing.verify(public, made, ARTIFACT, MANIFEST)


@given(st.text() | st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode()))
def test_nothing_else_is_a_signature(made: str) -> None:
    with pytest.raises(Forbidden):
        signing.verify(PAIR.public, made, ARTIFACT, MANIFEST)


@given(st.integers(0, 511))
def test_a_signature_with_one_bit_changed_is_none(bit: int) -> None:
    raw = bytearray(base64.b64decode(signed()))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Forbidden):
        signing.verify(PAIR.public, base64.b64encode(raw).decode(), ARTIFACT, MANIFEST)


def test_the_public_half_follows_from_the_secret_one_and_names_the_key() -> None:
    assert signing.public_of(PAIR.secret) == PAIR.public
    assert len(KEY) == 16
    assert signing.id_of(f" {PAIR.public}\n") == KEY
    assert signing.make_pair().public != PAIR.public
    assert PAIR.public.encode() not in PAIR.secret


@pytest.mark.parametrize(
    "text", ["", "x", "ü", base64.b64encode(b"x" * 31).decode(), "-----BEGIN PUBLIC KEY-----"]
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a public key is 32 bytes in base64"):
        signing.id_of(text)


@pytest.mark.parametrize(
    "secret",
    [b"", b"x", PAIR.public.encode(), PAIR.secret[:60], b"-----BEGIN PRIVATE KEY-----"],
    ids=["nothing", "a letter", "a public key", "half of one", "its head"],  # keys differ from run to run
)
def test_what_is_no_secret_key_is_refused(secret: bytes) -> None:
    with pytest.raises(InputError, match="this is no secret key of `lossloop keys create`"):
        signing.public_of(secret)


# Trust.


def test_what_a_trusted_key_signed_is_good_until_the_key_is_revoked(book: KeyBook, tmp_path: Path) -> None:
    with pytest.raises(
        Forbidden, match=f"the key {KEY} is not trusted here; an admin may: lossloop keys trust"
    ):
        book.check(KEY, signed(), ARTIFACT, MANIFEST)
    trusted = book.trust("ana", PAIR.public)
    assert book.check(KEY, signed(), ARTIFACT, MANIFEST) == trusted
    assert (tmp_path / "access" / "keys.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Forbidden, match="is not of this artifact"):
        book.check(KEY, signed(), MANIFEST, MANIFEST)
    book.revoke("ana")
    with pytest.raises(Forbidden, match=rf"the key {KEY} \(ana\) was revoked; sign with another"):
        book.check(KEY, signed(), ARTIFACT, MANIFEST)


def test_a_key_that_was_revoked_is_never_trusted_again(book: KeyBook) -> None:
    book.trust("ana", PAIR.public)
    with pytest.raises(InputError, match="is trusted already"):
        book.trust("other", PAIR.public)
    assert book.revoke(KEY).revoked is not None
    with pytest.raises(InputError, match="was revoked, which is for good"):
        book.trust("ana", PAIR.public)
    with pytest.raises(UnknownName, match="unknown key 'ana'; there are none yet"):
        book.revoke("ana")
    assert [(each.name, each.revoked is not None) for each in book.known()] == [("ana", True)]


def test_keys_are_told_apart_by_what_they_are_not_by_their_names(book: KeyBook) -> None:
    other = signing.make_pair()
    book.trust("ana", PAIR.public)
    book.trust("ana", other.public)
    book.revoke(signing.id_of(other.public))
    assert book.check(KEY, signed(), ARTIFACT, MANIFEST).name == "ana"
    with pytest.raises(InputError):
        book.trust("x", "no key")


def test_a_damaged_file_of_keys_trusts_nobody(book: KeyBook, tmp_path: Path) -> None:
    book.trust("ana", PAIR.public)
    (tmp_path / "access" / "keys.json").write_text('{"keys": [{"id": 1}]}')
    with pytest.raises(StateError, match=r"keys.json cannot be read"):
        book.check(KEY, signed(), ARTIFACT, MANIFEST)
