"""Sealing: a log reads the same, to the bit, whichever of its segments are sealed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.ledger.frames import Frame
from lossloop.ledger.manifests import manifests
from lossloop.ledger.sealing import seal
from lossloop.ledger.segments import SegmentLog
from tests.ledger.anyframes import SEGMENTS, assert_same, everything, write


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


@settings(max_examples=60)
@given(SEGMENTS, st.sampled_from([1, 700, 1 << 24]))
def test_a_sealed_log_reads_as_it_did(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Frame]], most: int
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    write(log, parts)
    wanted = everything(log)
    sealed = seal(log.directory)
    assert len(sealed) == len(parts)
    assert not list(log.directory.glob("*.seg"))
    assert_same(everything(log, most), wanted)
    assert manifests(log.directory) == sealed
