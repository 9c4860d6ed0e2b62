"""The README's example is followed to the letter, and its service is then used against a real server."""

from __future__ import annotations

import runpy

import pytest

from lossloop import Client
from tests.docs.pages import Reader, blocks
from tests.house.repository import ROOT

README = ROOT / "README.md"


def test_the_service_of_the_readme_is_heard(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.follow(README)
    monkeypatch.chdir(reader.place)
    service = runpy.run_path("service.py")
    try:
        assert service["answer"]({"id": "order-1", "customer": "ada", "distance": 14}) == 0.9
        service["answer"]({"id": "order-2", "customer": "bob", "distance": 3})
        service["delivered"]("order-1", True)
    finally:
        service["client"].close()
    token = (reader.place / "lossloop-state" / "token").read_text()
    with Client(f"http://127.0.0.1:{reader.port}", token=token) as client:
        client.outcomes("late-delivery", [{"id": "order-2", "y_true": None}], wait=10)
        found = client.status("late-delivery")
    assert found["mode"] == "observe"
    assert found["counts"]["predictions"] == 2
    assert found["losses"][0]["mean"] == pytest.approx(0.10536, abs=1e-5)


def test_the_example_is_about_twenty_lines() -> None:
    (service,) = (block for block in blocks(README) if block.title == "service.py")
    assert len(service.text.splitlines()) <= 20
