"""Whose code is run: every runtime with every kind of approval, registered and loaded."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lossloop.access import RIGHTS, AccessRole, Caller, TokenBook, signing
from lossloop.access.keys import KeyBook
from lossloop.app import operate
from lossloop.app.commands import Candidate, Register
from lossloop.app.home import Home, init
from lossloop.app.trusting import SIGNED_ONLY, Trust, approved, caller_here, trust_of
from lossloop.core.errors import AccessError, Conflict, Forbidden
from lossloop.core.ids import digest
from lossloop.core.tasks import Task
from lossloop.core.traffic import Traffic
from lossloop.ledger.sqlite.state import State
from lossloop.registry import Approval, Artifacts, Feature, Manifest, Transform, Version, versions
from lossloop.serve.fleet import Fleet
from lossloop.serve.runtimes import RUNTIMES, runs_code
from tests.app.desk import policy_text

CODE = sorted(name for name in RUNTIMES if runs_code(name))
PLAIN = sorted(name for name in RUNTIMES if not runs_code(name))
PAIR = signing.make_pair()
KEY = signing.id_of(PAIR.public)
SOURCE = b"def predict(columns): return columns['x'] * 2"


def caller(role: AccessRole, *models: str) -> Caller:
    return Caller(name="web", rights=RIGHTS[role], role=role, models=frozenset(models))


def manifest(runtime: str, artifact: bytes = SOURCE) -> Manifest:
    return Manifest(runtime=runtime, artifact=digest(artifact))


def signed(made: Manifest) -> Approval:
    return Approval(key=KEY, signature=signing.sign(PAIR.secret, made.artifact, made.digest))


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    KeyBook(tmp_path).trust("ana", PAIR.public)
    return Trust(KeyBook(tmp_path), {})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("LOSSLOOP_TOKEN", raising=False)
    made = init(tmp_path / "state")
    operate.set_policy(made, policy_text(model="churn"))
    return made


def test_what_runs_code_and_what_does_not() -> None:
    assert {*CODE} >= {"joblib", "mlflow", "pickle", "python"}
    assert {*PLAIN} >= {"onnx"}
    assert {"joblib", "pickle"} == SIGNED_ONLY
    assert not runs_code("external")


@pytest.mark.parametrize("runtime", PLAIN)
def test_a_version_without_code_needs_nobody(trust: Trust, runtime: str) -> None:
    assert trust.allow(manifest(runtime), None, "m:1") is None
    for role in AccessRole:
        assert approved(manifest(runtime), None, caller(role), "m") is None


@pytest.mark.parametrize("runtime", CODE)
@pytest.mark.parametrize("role", AccessRole)
def test_code_is_an_admin_s_of_that_model(trust: Trust, runtime: str, role: AccessRole) -> None:
    asked = (manifest(runtime), None)
    if role is not AccessRole.ADMIN or runtime in SIGNED_ONLY:
        with pytest.raises(Forbidden, match="lossloop sign"):
            approved(*asked, caller(role), "m")
        return
    assert (
        approved(*asked, caller(role), "m") == approved(*asked, caller(role, "m"), "m") == Approval(by="web")
    )
    with pytest.raises(Forbidden):
        approved(*asked, caller(role, "other"), "m")


@pytest.mark.parametrize("runtime", CODE)
def test_a_signature_of_a_trusted_key_does_for_all_of_them(trust: Trust, runtime: str) -> None:
    made = manifest(runtime)
    for role in AccessRole:
        assert approved(made, signed(made), caller(role), "m") == signed(made)
    permit = trust.allow(made, signed(made), "m:1")
    assert permit is not None
    assert permit.name == "m:1"


@pytest.mark.parametrize("runtime", CODE)
def test_nothing_else_is_loaded(trust: Trust, runtime: str) -> None:
    made, other = manifest(runtime), manifest(runtime, b"other")
    for approval in (None, signed(other), Approval(key="0" * 16, signature=signed(made).signature)):
        with pytest.raises(Forbidden):
            trust.allow(made, approval, "m:1")
    if runtime in SIGNED_ONLY:
        with pytest.raises(Forbidden, match="is refused unless a trusted key has signed it"):
            trust.allow(made, Approval(by="ana"), "m:1")
    else:
        assert trust.allow(made, Approval(by="ana"), "m:1") is not None


def test_a_name_that_comes_with_a_signature_is_nobody_s(trust: Trust) -> None:
    made = manifest("python")
    both = msgspec.structs.replace(signed(made), by="init")
    assert approved(made, both, caller(AccessRole.OPERATOR), "m") == signed(made)


def test_who_works_here_is_the_owner_or_the_token_at_hand(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caller_here(home).name == "init"
    monkeypatch.setenv("LOSSLOOP_TOKEN", home.tokens.create("web", AccessRole.VIEWER).text)
    assert caller_here(home).name == "web"
    monkeypatch.setenv("LOSSLOOP_TOKEN", "ll_wrong")
    with pytest.raises(AccessError):
        caller_here(home)
    assert isinstance(home.tokens, TokenBook)


# The fold, and what is loaded, hold to it too.


@pytest.mark.parametrize("runtime", CODE)
def test_the_loop_refuses_code_that_nobody_answers_for(home: Home, runtime: str) -> None:
    with pytest.raises(Conflict, match="lossloop sign"):
        operate.obey(home, Register(model="churn", manifest=manifest(runtime)))


def test_a_retraining_does_not_bring_code(home: Home) -> None:
    asked = Candidate(key="none", model="churn", manifest=manifest("python"))
    with pytest.raises(Conflict, match="runs code of its own"):
        operate.obey(home, asked)
    state = home.state()
    assert versions.versions(state, "churn") == []
    state.close()


def test_a_fleet_loads_no_code_unless_it_is_permitted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state, artifacts = State(tmp_path / "state.db"), Artifacts(tmp_path / "artifacts")
    made = manifest("python")
    assert artifacts.put(SOURCE) == made.artifact
    versions.register(state, "m", made, at=0, approval=Approval(by="ana"))
    state.put("traffic", "m", Traffic(model="m", task=Task.REGRESSION, champion=1))
    for fleet in (Fleet(state, artifacts), Fleet(state, artifacts, _never)):
        wanted = fleet.wanted()
        fleet.load(fleet.missing(wanted))
        fleet.swap(wanted)
        with pytest.raises(Conflict, match="m:1 cannot be loaded: "):
            fleet.arms("m")
    told = capfd.readouterr().err
    assert "runs code of its own" in told
    assert "m:1 cannot be loaded: not today" in told
    state.close()


def _never(version: Version) -> None:
    raise Forbidden("not today")


def test_the_trust_of_a_directory_knows_its_interpreters(tmp_path: Path) -> None:
    home = init(tmp_path / "state")
    text = (home.path / "settings.yaml").read_text()
    assert "interpreters: {}" in text
    (home.path / "settings.yaml").write_text(
        text.replace("interpreters: {}", "interpreters: {mine: /bin/true}")
    )
    made = manifest("python")
    permit = trust_of(home).allow(made, Approval(by="ana"), "m:1")
    assert permit is not None
    assert permit.interpreters == {"mine": "/bin/true"}


def test_a_transform_in_python_is_code_too(home: Home, trust: Trust) -> None:
    columns = (Feature(name="x"),)
    made = Manifest(
        runtime="onnx", artifact="a",
        transform=Transform(runtime="python", inputs=columns, features=columns, artifact="t"),
    )  # fmt: skip
    with pytest.raises(Conflict, match="lossloop sign"):
        operate.obey(home, Register(model="churn", manifest=made))
    with pytest.raises(Forbidden):
        trust.allow(made, None, "m:1")
    assert trust.allow(made, Approval(by="ana"), "m:1") is not None
