"""`lossloop token`, `keys` and `sign`: who may do what, and who vouches for code."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from lossloop.access.audit import AuditLog
from lossloop.app.cli import main
from lossloop.app.cli.signing import sign
from lossloop.app.home import Home, init
from lossloop.app.operate import set_policy
from lossloop.registry import versions
from tests.app.desk import policy_text

CODE = "def predict(columns):\n    return columns['x'] * 0 + 0.25\n"
MANIFEST = {"runtime": "python", "features": [{"name": "x"}]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = init(tmp_path / "state")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOSSLOOP_STATE", str(home.path))
    monkeypatch.delenv("LOSSLOOP_TOKEN", raising=False)
    set_policy(home, policy_text(model="churn"))
    (tmp_path / "model.py").write_text(CODE)
    (tmp_path / "v1.json").write_text(json.dumps(MANIFEST))
    return home


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Home) -> Any:
    """Runs a command with --json; what it answered, or its error."""

    def call(*words: str) -> Any:
        monkeypatch.setattr("sys.argv", ["lossloop", *words, "--json"])
        with contextlib.suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    return call


def test_a_token_is_made_shown_once_listed_and_revoked(run: Any, place: Home) -> None:
    made = run("token", "create", "web", "--role", "sender", "--scopes", "outcomes", "--models", "a, b")
    assert made["token"].startswith(f"llt_{made['id']}_")
    assert (made["role"], made["scopes"], made["models"]) == ("sender", ["outcomes"], ["a", "b"])
    (listed,) = run("token", "list")["tokens"]
    assert listed == {key: value for key, value in made.items() if key != "token"}
    assert made["token"] not in str([*place.path.rglob("*")])
    assert place.tokens.checker().caller(f"Bearer {made['token']}").name == "web"
    assert run("token", "revoke", made["id"])["revoked"]
    assert "unknown token 'web'" in run("token", "revoke", "web")["error"]
    told = [entry.what for entry in AuditLog(place.path).entries()]
    assert told == ["token_created", "token_revoked"]
    assert made["token"] not in (place.path / "audit.log").read_text()


def test_the_owner_s_token_can_be_exchanged(run: Any, place: Home) -> None:
    before = place.tokens.read()
    assert run("token", "revoke", "init") == {"name": "init"}
    assert place.tokens.read() != before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--role", "sendr"], "there is no role 'sendr'; did you mean 'sender'?"),
        (
            ["--role", "sender", "--scopes", "outcome"],
            "there is no scope 'outcome'; did you mean 'outcomes'?",
        ),
        (["--role", "viewer", "--scopes", "outcomes"], "only a sender's token has scopes"),
        (["--role", "viewer", "--expires", "soon"], "'soon' is not a duration"),
        (["--role", "viewer", "--expires", "0s"], "a token must expire later than now"),
    ],
)
def test_a_token_that_cannot_be_says_why(run: Any, words: list[str], error: str) -> None:
    assert error in run("token", "create", "web", *words)["error"]
    assert run("token", "list") == {"tokens": []}


def test_people_are_told_in_words(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def words(*command: str) -> str:
        monkeypatch.setattr("sys.argv", ["lossloop", *command])
        with contextlib.suppress(SystemExit):
            main()
        return capsys.readouterr().out

    assert "There is no token but the owner's" in words("token", "list")
    assert "No key is trusted yet" in words("keys", "list")
    assert "it is not shown again" in words("token", "create", "web", "--role", "viewer", "--expires", "2d")
    run("token", "create", "gone", "--role", "sender")
    run("token", "revoke", "gone")
    table = words("token", "list")
    assert "viewer" in table
    assert "revoked" in table
    assert "made the key" in words("keys", "create", "mine")
    assert "is trusted" in words("keys", "trust", "mine.pub", "--name", "ana")
    assert "ana" in words("keys", "list")


# Who may bring code.


def registered(home: Home) -> list[tuple[str, str]]:
    """Who answers for each version of churn."""
    state = home.state()
    found = versions.versions(state, "churn")
    state.close()
    return [(each.name, each.approval.words if each.approval else "") for each in found]


def test_the_owner_registers_code_and_the_version_says_so(run: Any, place: Home) -> None:
    assert run("register", "churn", "v1.json", "--artifact", "model.py")["version"] == 1
    assert registered(place) == [("churn:1", "registered by init, an admin")]


@pytest.mark.parametrize("role", ["viewer", "sender", "operator", "approver"])
def test_a_token_that_is_no_admin_s_registers_no_code(
    run: Any, place: Home, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setenv("LOSSLOOP_TOKEN", run("token", "create", "web", "--role", role)["token"])
    error = run("register", "churn", "v1.json", "--artifact", "model.py")["error"]
    assert error.startswith(
        "a version of the runtime 'python' runs code of its own: registering it needs an ad"
    )
    assert registered(place) == []
    assert not list(place.artifacts.directory.glob("*"))


def test_an_admin_of_another_model_registers_no_code_here(
    run: Any, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run("token", "create", "web", "--role", "admin", "--models", "other")["token"]
    monkeypatch.setenv("LOSSLOOP_TOKEN", made)
    assert "needs an admin's token" in run("register", "churn", "v1.json", "--artifact", "model.py")["error"]
    monkeypatch.setenv("LOSSLOOP_TOKEN", "wrong")
    assert "not known here" in run("register", "churn", "v1.json", "--artifact", "model.py")["error"]


def test_what_was_signed_is_taken_and_checked(run: Any, place: Home, tmp_path: Path) -> None:
    key = run("keys", "create", "mine")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600
    assert "cannot write mine" in run("keys", "create", "mine")["error"]
    made = run("sign", "model.py", "--manifest", "v1.json", "--key", "mine")
    assert (made["key"], made["signature_file"]) == (key["id"], "model.py.sig")
    register = ("register", "churn", "v1.json", "--artifact", "model.py", "--signature", "model.py.sig")
    assert "is not trusted here" in run(*register)["error"]
    run("keys", "trust", "mine.pub")
    assert run("keys", "list")["keys"][0]["name"] == "mine"
    (tmp_path / "model.py").write_text(CODE + "#")
    assert "is not of this artifact with this manifest" in run(*register)["error"]
    (tmp_path / "model.py").write_text(CODE)
    (tmp_path / "v1.json").write_text(json.dumps({**MANIFEST, "notes": "other"}))
    assert "is not of this artifact with this manifest" in run(*register)["error"]
    (tmp_path / "v1.json").write_text(json.dumps(MANIFEST))
    assert run(*register)["version"] == 1
    assert registered(place) == [("churn:1", f"signed with key {key['id']}")]
    run("keys", "revoke", "mine")
    assert "was revoked" in run(*register)["error"]
    assert [each.what for each in AuditLog(place.path).entries()] == ["key_trusted", "key_revoked"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"key": "a"}', '{"by": "ana", "x": 1}'])
def test_a_file_that_is_no_signature_is_refused(run: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.sig").write_text(text)
    found = run("register", "churn", "v1.json", "--artifact", "model.py", "--signature", "bad.sig")
    assert "error" in found


def test_an_admin_s_name_in_a_file_of_a_signature_is_no_signature(
    run: Any, place: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.sig").write_text('{"by": "init"}')
    monkeypatch.setenv("LOSSLOOP_TOKEN", run("token", "create", "web", "--role", "operator")["token"])
    found = run("register", "churn", "v1.json", "--artifact", "model.py", "--signature", "bad.sig")
    assert "error" in found
    assert registered(place) == []
    assert callable(sign)
