from __future__ import annotations

from lossloop import registry


def test_public_names_are_sorted_and_there() -> None:
    assert registry.__all__ == sorted(registry.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(registry, name) for name in registry.__all__)
