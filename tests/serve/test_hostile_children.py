"""What a version's process may send instead of an answer: none of it is believed, nor the end of others.

The processes here are scripts in an interpreter's place, so that they may send what ours would not.
"""

from __future__ import annotations

import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lossloop.core.errors import LossloopError
from lossloop.registry import Manifest
from lossloop.registry.process import Process
from lossloop.serve.runtimes.child import ChildRuntime
from lossloop.serve.runtimes.inside import (
    Inside,
    ModelBadAnswer,
    ModelEnded,
    ModelRaised,
    ModelTimedOut,
    Start,
    signal_name,
)
from lossloop.serve.runtimes.permits import Permit
from tests.serve.code import FEATURES, gone, loaded, rows

BEGIN = """\
import json, os, socket, struct, sys, time
order = json.loads(sys.argv[-1])
sock, head = socket.socket(fileno=order["socket"]), struct.Struct("<IQ")
def tell(header, body=b""):
    text = header.encode() if isinstance(header, str) else header
    sock.sendall(head.pack(len(text), len(body)) + text + body)
def hear():
    size, rest = head.unpack(sock.recv(head.size, socket.MSG_WAITALL))
    return json.loads(sock.recv(size, socket.MSG_WAITALL)), sock.recv(rest, socket.MSG_WAITALL)
def same(turn, body, more=0):
    tell(json.dumps({"turn": turn + more, "shape": [len(body) // 8]}), body)
"""
READY = "tell('{\"shape\": [0]}')\n"
ECHO = """
while True:
    asked, body = hear()
    same(asked["turn"], body)
"""
Begin = Callable[..., Inside]


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """Makes an interpreter of a script: it is started as Python would be, and does what it says."""

    def make(does: str) -> str:
        path = tmp_path / f"python-{len(list(tmp_path.iterdir()))}"
        path.write_text(f"#!{sys.executable} -IS\n{BEGIN}{does}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


@pytest.fixture
def begin(script: Callable[[str], str]) -> Iterator[Begin]:
    begun: list[Inside] = []

    def start(does: str, **limits: float) -> Inside:
        process = Process(**limits)  # type: ignore[arg-type]
        begun.append(Inside(Start(runtime="python", artifact="a", limits=process, name="m:1",
                                  python=script(does))))  # fmt: skip
        return begun[-1]

    yield start
    for each in begun:
        each.close()


@pytest.mark.parametrize(
    ("does", "error", "words"),
    [
        ("", ModelEnded, "ended with exit code 0"),
        ("sys.exit(7)", ModelEnded, "ended with exit code 7"),
        ("print('no such thing'); sys.exit(7)", ModelEnded, "exit code 7: no such thing"),
        ("os.kill(os.getpid(), 9)", ModelEnded, "ended by signal SIGKILL"),
        ("os.kill(os.getpid(), 40)", ModelEnded, "ended by signal 40"),
        ("sock.sendall(head.pack(20, 0) + b'{')", ModelEnded, "ended with exit code 0"),
        ("sock.sendall(head.pack(1 << 17, 0)); time.sleep(60)", ModelBadAnswer, "with 131072 bytes"),
        ("sock.sendall(head.pack(2, 1 << 62)); time.sleep(60)", ModelBadAnswer, "answered with"),
        ("tell('')", ModelBadAnswer, "what is no answer"),
        ("tell('{')", ModelBadAnswer, "what is no answer"),
        ("tell(b'\"\\xff\\xfe\"')", ModelBadAnswer, "what is no answer"),
        ("tell('[1]')", ModelBadAnswer, "what is no answer"),
        ("tell('{\"shape\": [0], \"more\": 1}')", ModelBadAnswer, "what is no answer"),
        ("tell('{\"shape\": [\"1\"]}')", ModelBadAnswer, "what is no answer"),
        ("tell('{\"shape\": [0.5]}')", ModelBadAnswer, "what is no answer"),
        ("tell('{}')", ModelBadAnswer, r"the shape \[\]"),
        ("tell('{\"shape\": [1, 1, 1]}', bytes(8))", ModelBadAnswer, r"the shape \[1, 1, 1\]"),
        ("tell('{\"shape\": [-1, -1]}', bytes(8))", ModelBadAnswer, r"the shape \[-1, -1\]"),
        ("tell('{\"shape\": [2]}', bytes(8))", ModelBadAnswer, r"the shape \[2\]"),
        ("tell(json.dumps({'shape': [0, 2**70]}))", ModelBadAnswer, "the shape"),
        ("tell(json.dumps({'shape': [2**70, 0]}))", ModelBadAnswer, "the shape"),
        ("tell('{\"shape\": [0], \"turn\": 1}')", ModelBadAnswer, "what it was not asked"),
        ("tell(json.dumps({'error': 'a\\n\\x1b[2Jb'}))", ModelRaised, r"^a  \[2Jb$"),
    ],
)  # fmt: skip
def test_a_process_that_begins_with_garbage_is_refused_in_words(
    begin: Begin, does: str, error: type[LossloopError], words: str
) -> None:
    with pytest.raises(error, match=words) as told:
        begin(does)
    assert type(told.value) is error


def test_an_error_is_told_in_a_line_however_long_it_is(begin: Begin) -> None:
    with pytest.raises(ModelRaised) as told:
        begin("tell(json.dumps({'error': 'x' * 60000}))")
    assert len(str(told.value)) == 500


def test_one_that_stops_within_its_answer_is_waited_for_until_the_deadline(begin: Begin) -> None:
    with pytest.raises(ModelTimedOut):
        begin("sock.sendall(head.pack(20, 0) + b'{'); time.sleep(1000)", start_seconds=0.3)
    found = begin(READY + "asked, body = hear(); sock.sendall(b'x'); time.sleep(1000)", seconds=0.3)
    with pytest.raises(ModelTimedOut):
        found.predict(rows(1.0))


def test_one_that_does_not_listen_is_not_written_to_for_ever(begin: Begin) -> None:
    found = begin(READY + "time.sleep(1000)", seconds=0.3)
    with pytest.raises(ModelTimedOut, match="was killed"):
        found.predict(rows(*np.zeros(1_000_000)))


def test_one_that_closes_its_door_has_ended_for_us(begin: Begin) -> None:
    found = begin(READY + "hear(); sock.close(); time.sleep(1000)")
    with pytest.raises(ModelEnded, match="has closed its door"):
        found.predict(rows(1.0))
    assert found.alive()
    found.close()
    assert gone(found.pid)


def test_one_that_answers_is_heard_whatever_else_it_writes(begin: Begin) -> None:
    found = begin(READY + "os.write(1, b'x' * 4000000)\nos.close(1)\nos.close(2)" + ECHO)
    for x in (1.0, float("inf"), -0.0):
        assert found.predict(rows(x, 2.0)).tolist() == [x, 2.0]
    assert np.isnan(found.predict(rows(float("nan")))).all()


def test_answers_come_in_any_pieces(begin: Begin) -> None:
    found = begin(
        READY
        + """
while True:
    asked, body = hear()
    text = json.dumps({"turn": asked["turn"], "shape": [len(body) // 8]}).encode()
    for each in head.pack(len(text), len(body)) + text + body:
        sock.sendall(bytes([each]))
"""
    )
    assert found.predict(rows(1.5, 2.5)).tolist() == [1.5, 2.5]
    assert found.predict(rows(3.5)).tolist() == [3.5]


@pytest.mark.parametrize("more", [-1, 1, 2**40])
def test_an_answer_to_another_question_is_none(begin: Begin, more: int) -> None:
    found = begin(READY + f"asked, body = hear(); same(asked['turn'], body, {more}); time.sleep(1000)")
    with pytest.raises(ModelBadAnswer, match="m:1 answered what it was not asked"):
        found.predict(rows(1.0))


def test_of_two_answers_to_one_question_the_second_is_not_given_to_the_next(begin: Begin) -> None:
    found = begin(READY + "asked, body = hear(); same(1, body); same(1, body)" + ECHO)
    assert found.predict(rows(1.0)).tolist() == [1.0]
    with pytest.raises(ModelBadAnswer, match="what it was not asked"):
        found.predict(rows(2.0))


def test_code_that_forks_gives_nobody_the_answers_of_others() -> None:
    code = b"""
import os
state = []
def predict(columns):
    if not state:
        state.append(os.fork())
    return columns["x"]
"""
    runtime = loaded(code)
    said: list[float] = []
    try:
        for x in range(200):
            assert runtime.predict(rows(float(x))).tolist() == [float(x)]
            said.append(x)
    except LossloopError:
        pass
    assert said[:1] == [0]
    runtime.close()


def test_what_was_closed_is_closed_once(begin: Begin) -> None:
    found = begin(READY + ECHO)
    pid = found.pid
    found.close()
    assert gone(pid)
    found.close()
    found.finish()
    with pytest.raises(LossloopError):
        found.predict(rows(1.0))


def runtime_of(python: str) -> ChildRuntime:
    manifest = Manifest(runtime="python", features=FEATURES, process=Process(python="theirs"))
    return ChildRuntime("python", b"", manifest, Permit(name="m:1", interpreters={"theirs": python}))


def answered(runtime: ChildRuntime, x: float) -> None:
    """Ask until another process answers."""
    deadline = time.monotonic() + 60.0
    while True:
        try:
            assert runtime.predict(rows(x)).tolist() == [x]
            return
        except ModelEnded:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_one_that_ends_in_a_way_without_a_name_is_started_again(
    script: Callable[[str], str], tmp_path: Path
) -> None:
    once = tmp_path / "once"
    runtime = runtime_of(
        script(f"""{READY}
asked, body = hear()
if not os.path.exists({str(once)!r}):
    open({str(once)!r}, "w").close()
    os.kill(os.getpid(), 40)
same(asked["turn"], body)
{ECHO}""")
    )
    with pytest.raises(ModelEnded, match="was ended by signal 40"):
        runtime.predict(rows(1.0))
    answered(runtime, 2.0)
    runtime.close()


def test_where_there_is_no_room_for_another_it_is_tried_again(
    script: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = runtime_of(script(f"{READY}{ECHO}"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    pid = runtime.pid or 0
    runtime._keeper.inside.close()  # type: ignore[union-attr]
    assert gone(pid)
    deadline = time.monotonic() + 60.0
    words = ""
    while "No such file" not in words:
        with pytest.raises(ModelEnded) as told:
            runtime.predict(rows(1.0))
        words = str(told.value)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    monkeypatch.undo()
    answered(runtime, 3.0)
    runtime.close()


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (40, "40"), (63, "63")])
def test_signals_without_a_name_have_a_number(number: int, name: str) -> None:
    assert signal_name(number) == name
