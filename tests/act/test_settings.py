"""The admin's file: only what stands there can be named by a policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossloop.act.policy import read_policy
from lossloop.act.settings import Settings, check_targets, read_settings
from lossloop.core.errors import InputError, PolicyError, StateError

WHOLE = """\
clock: event
salt: "ab12"
retrain:
  "flights:train": "package.module:function"
notify:
  oncall: https://hooks.example/x
  team: log
"""
POLICY = """\
model: m
task: binary
loss: brier
labels: {mature_after: 1h}
watches:
  worse: {kind: guardrail, limit: 0.5, promise: 5% ever}
on:
  worse:
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def read(path: Path, text: str) -> Settings:
    path.write_text(text)
    return read_settings(path)


def test_every_key_is_read(path: Path) -> None:
    assert read(path, WHOLE) == Settings(
        clock="event",
        salt="ab12",
        retrain={"flights:train": "package.module:function"},
        notify={"oncall": "https://hooks.example/x", "team": "log"},
    )


def test_a_file_that_was_changed_is_read_anew_and_one_that_was_not_is_the_same(path: Path) -> None:
    first = read(path, WHOLE)
    assert read_settings(path) is first
    assert read(path, WHOLE.replace("ab12", "cd34")).salt == "cd34"
    with pytest.raises(PolicyError, match="'clok'"):
        read(path, WHOLE.replace("clock", "clok"))
    assert read(path, WHOLE) == first
    path.unlink()
    assert read_settings(path) == Settings()


def test_no_file_means_the_defaults(path: Path) -> None:
    assert read_settings(path) == Settings()
    assert Settings().clock == "receipt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clock: wall\n", "settings.yaml, line 1: clock: 'wall' is not possible; there are: event, receipt"),
        (
            "salt: a\nclocks: event\n",
            "settings.yaml, line 2: clocks: unknown key 'clocks'; did you mean 'clock'?",
        ),
        (
            "retrain: {x: os.system}\n",
            "settings.yaml, line 1: retrain.x: 'os.system' is not package.module:function",
        ),
        (
            "retrain:\n  a: b:c\n  x: 'a:b:c'\n",
            "settings.yaml, line 3: retrain.x: 'a:b:c' is not package.module",
        ),
        (
            "notify: {x: ftp://a}\n",
            "settings.yaml, line 1: notify.x: 'ftp://a' is neither an address with http(s)://",
        ),
        ("notify: {x: [a]}\n", "settings.yaml, line 1: notify.x: must be text, not ['a']"),
        (
            "notify: oncall\n",
            "settings.yaml, line 1: notify: must be a mapping of names to values, not 'oncall'",
        ),
        ("", "settings.yaml: the file is empty"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(path: Path, text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(path, text)
    assert str(caught.value).startswith(message)


def test_a_file_that_cannot_be_read_is_told(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateError, match=r"cannot read .*settings.yaml: Is a directory"):
        read_settings(path)


def test_a_file_that_is_no_text_is_told(path: Path) -> None:
    path.write_bytes(b"salt: \xff\xfe\n")
    with pytest.raises(PolicyError, match=r"settings.yaml: not readable as UTF-8 text"):
        read_settings(path)


@pytest.mark.parametrize(
    "entry", ["[{notify: log}]", "[{notify: oncall}]", '[{retrain: "flights:train"}, {notify: team}]', "[]"]
)
def test_what_the_admin_listed_can_be_named(path: Path, entry: str) -> None:
    check_targets(read_policy(POLICY.rstrip() + f" {entry}\n"), read(path, WHOLE))


@pytest.mark.parametrize(
    ("entry", "named", "known"),
    [
        ("[{notify: https://evil.example}]", "notify 'https://evil.example'", "there are: log, oncall, team"),
        ("[{notify: on-call}]", "notify 'on-call'", "did you mean 'oncall'?"),
        ("[{retrain: log}]", "retrain 'log'", "there are: flights:train"),
    ],
)
def test_what_the_admin_did_not_list_is_refused(path: Path, entry: str, named: str, known: str) -> None:
    with pytest.raises(InputError) as caught:
        check_targets(read_policy(POLICY.rstrip() + f" {entry}\n"), read(path, WHOLE))
    assert str(caught.value) == (
        f"{named} is not in settings.yaml, where an admin lists what a policy may name; {known}"
    )
    assert caught.value.field == "on.worse"


def test_without_settings_only_the_log_can_be_told(path: Path) -> None:
    check_targets(read_policy(POLICY.rstrip() + " [{notify: log}]\n"), Settings())
    with pytest.raises(InputError, match=r"retrain 'x' is not in settings.yaml.*; there are none yet"):
        check_targets(read_policy(POLICY.rstrip() + " [{retrain: x}]\n"), Settings())
