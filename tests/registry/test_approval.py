"""Who answers for a version's code stands in the version, beside what it is made of."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lossloop.core.errors import InputError
from lossloop.ledger.sqlite.state import State
from lossloop.registry import Approval, Manifest, Version, versions
from lossloop.registry.process import Process

ADMIN, SIGNED = Approval(by="ana"), Approval(key="k1", signature="s1")


@pytest.mark.parametrize("given", [{}, {"key": "k"}, {"signature": "s"}, {"by": "ana", "key": "k"}])
def test_an_approval_is_a_name_or_a_whole_signature(given: dict[str, str]) -> None:
    with pytest.raises(InputError, match="an approval has a key and its signature, or the name of an admin"):
        Approval(**given)


def test_an_approval_says_who_answers() -> None:
    assert ADMIN.words == "registered by ana, an admin"
    assert SIGNED.words == "signed with key k1"


def test_a_manifest_without_code_keeps_its_digest() -> None:
    """Of a version that was registered before there were processes."""
    plain = Manifest(runtime="onnx", artifact="a")
    assert b"process" not in msgspec.json.encode(plain)
    assert plain.digest != msgspec.structs.replace(plain, process=Process()).digest


def test_the_approval_is_no_part_of_what_a_version_is(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    first = versions.register(state, "m", Manifest(runtime="python", artifact="a"), at=1, approval=ADMIN)
    again = versions.register(state, "m", Manifest(runtime="python", artifact="a"), at=2, approval=SIGNED)
    assert (first.number, first.approval, first.digest) == (1, ADMIN, again.digest)
    assert (again.number, again.approval, again.registered_at) == (1, SIGNED, 1)
    kept = versions.register(state, "m", Manifest(runtime="python", artifact="a"), at=3)
    assert kept == again == versions.find(state, "m", 1)
    state.close()


def test_a_version_of_an_older_release_has_none() -> None:
    old = Version(model="m", number=1, digest="d", manifest=Manifest(runtime="onnx"), registered_at=1)
    told = msgspec.json.encode(old)
    assert b"approval" not in told
    assert msgspec.json.decode(told, type=Version) == old
