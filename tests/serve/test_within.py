"""The parts of the child's program, here in one process: frames, artifacts, and what they are held to."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.serve.runtimes import within
from tests.serve.code import packed

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


def exchanged(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """What arrives of a frame that is sent through a socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=within.send, args=(ours, header, payload))
        sender.start()
        found = within.receive(theirs)
        sender.join()
    assert found is not None
    return found[0], bytes(found[1])


# Frames.


@given(st.dictionaries(st.text(max_size=5), st.lists(TEXTS, max_size=3)), st.binary(max_size=100))
def test_a_frame_arrives_as_it_was_sent(header: dict[str, Any], payload: bytes) -> None:
    assert exchanged(header, payload) == (header, payload)


def test_a_frame_larger_than_a_socket_s_buffer_arrives_too() -> None:
    payload = bytes(range(256)) * 20_000
    assert exchanged({"rows": 1}, payload) == ({"rows": 1}, payload)


@pytest.mark.parametrize("sent", [b"", b"\x01", within.HEAD.pack(5, 0), within.HEAD.pack(2, 8) + b"{}1234"])
def test_a_frame_that_was_cut_off_is_the_end(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(sent)
        ours.close()
        assert within.receive(theirs) is None


@given(
    st.lists(
        st.tuples(st.floats(), TEXTS, st.floats(width=32), TEXTS).map(lambda row: row), min_size=0, max_size=6
    )
)
def test_columns_come_out_as_they_went_in(rows: list[tuple[float, str | None, float, str | None]]) -> None:
    names = ["a", "b", "c", "d"]
    given_: dict[str, Any] = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    header = {"rows": len(rows), "names": names, "texts": {name: given_[name] for name in ("b", "d")}}
    body = np.array([given_["a"], given_["c"]], dtype=np.float64).tobytes()
    header = json.loads(msgspec.json.encode(header))
    found = within.columns(header, memoryview(body))
    assert list(found) == names
    assert np.array_equal(found["a"], given_["a"], equal_nan=True)
    assert np.array_equal(found["c"], given_["c"], equal_nan=True)
    assert (found["b"].dtype, found["b"].tolist()) == (object, given_["b"])
    assert found["d"].tolist() == given_["d"]


def test_columns_are_the_model_s_own_to_change() -> None:
    body = np.array([1.0, 2.0]).tobytes()
    found = within.columns({"rows": 2, "names": ["x"], "texts": {}}, memoryview(body))
    found["x"] += 1.0
    assert found["x"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("found", "shape"),
    [
        ([1, 2], (2,)),
        (np.array([[1], [2]]), (2,)),
        (np.array([True, False]), (2,)),
        (np.array([[0.5, 0.5]], dtype=np.float32), (1, 2)),
        ([], (0,)),
        (np.asfortranarray(np.ones((3, 2))), (3, 2)),
    ],
)
def test_answers_become_numbers(found: Any, shape: tuple[int, ...]) -> None:
    made = within.answer(found)
    assert (made.dtype, made.shape, made.flags.c_contiguous) == (np.float64, shape, True)


@pytest.mark.parametrize("found", [1.0, None, "text", [["a"]], np.zeros((1, 2, 3)), [[1], [1, 2]], {"a": 1}])
def test_what_is_no_answer_raises(found: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        within.answer(found)


def test_an_error_is_a_line_and_no_novel() -> None:
    assert within.said(ValueError("no")) == "ValueError: no"
    assert len(within.said(ValueError("x" * 10_000))) == 500


# Artifacts.


def tar(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for each in members:
            archive.addfile(each, io.BytesIO(b"\0" * each.size))
    return out.getvalue()


def member(name: str, *, size: int = 1, **more: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for key, value in more.items():
        setattr(made, key, value)
    return made


def test_a_zip_and_a_tar_are_unpacked(tmp_path: Path) -> None:
    within.unpack(packed(a__txt=b"1"), tmp_path)
    within.unpack(tar(member("b.txt"), member("c/d.txt")), tmp_path)
    assert sorted(each.name for each in tmp_path.rglob("*.txt")) == ["a.txt", "b.txt", "d.txt"]


@pytest.mark.parametrize(
    "members",
    [
        [member("../out.txt")],
        [member("a/../../../out.txt")],
        [member("link", size=0, type=tarfile.SYMTYPE, linkname="../..")],
        [member("device", size=0, type=tarfile.CHRTYPE)],
        [member("link", size=0, type=tarfile.LNKTYPE, linkname="../../etc/passwd")],
    ],
)
def test_nothing_of_a_tar_lands_outside(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    home = tmp_path / "in" / "side"
    home.mkdir(parents=True)
    with pytest.raises(tarfile.FilterError):
        within.unpack(tar(*members), home)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def test_nothing_of_a_zip_lands_outside(tmp_path: Path) -> None:
    out, home = io.BytesIO(), tmp_path / "in"
    home.mkdir()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../out.txt", b"x")
    within.unpack(out.getvalue(), home)
    assert [each.relative_to(tmp_path) for each in tmp_path.rglob("*.txt")] == [Path("in/out.txt")]


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "MOST_UNPACKED", 1000)
    for artifact in (packed(a__txt=b"\0" * 2000), tar(member("a", size=2000))):
        with pytest.raises(ValueError, match="the artifact unpacks to 2000 bytes; at most 1000 are taken"):
            within.unpack(artifact, tmp_path)
    assert not list(tmp_path.iterdir())


class Pairs:
    """Like a classifier of two classes."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def predict_proba(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.tile(np.arange(self.classes) / 10, (len(rows), 1))


class Values:
    """Like a regression."""

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = rows.sum(axis=1)
        return found


def test_an_estimator_answers_as_its_kind_does() -> None:
    rows = {"a": np.array([1.0, 2.0]), "b": np.array([10.0, 20.0])}
    assert within.estimator(Values())(rows).tolist() == [11.0, 22.0]
    assert within.estimator(Pairs(2))(rows).tolist() == [0.1, 0.1]
    assert within.estimator(Pairs(3))(rows).shape == (2, 3)


def test_what_may_be_read_is_the_interpreter_s_and_the_system_s_and_the_artifact() -> None:
    found = within.readable("some/artifact")
    assert "some/artifact" in found
    assert not {path for path in found if path in ("/", "/tmp", "/etc", "/proc", "/var")}
