from __future__ import annotations

from uuid import UUID

from lossloop.serve.ids import new_ids


def test_ids_are_uuids_of_version_7_of_their_own() -> None:
    found = new_ids(1000)
    assert len(set(found)) == 1000
    assert all((UUID(id).version, UUID(id).variant) == (7, "specified in RFC 4122") for id in found)
    assert all(str(UUID(id)) == id for id in found)


def test_later_ids_sort_later() -> None:
    assert max(new_ids(100, now_ms=1000)) < min(new_ids(100, now_ms=1001))
    assert UUID(new_ids(1, now_ms=0x0123456789AB)[0]).int >> 80 == 0x0123456789AB


def test_all_else_is_random() -> None:
    (id,) = new_ids(1, now_ms=0, random=lambda size: b"\xff" * size)
    assert id == "00000000-0000-7fff-bfff-ffffffffffff"
    assert new_ids(0) == []
