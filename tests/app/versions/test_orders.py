"""Versions checked over real ledgers: what the terminal says, and what a rollout does with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.act.checks import Check, Checked, Checks, Finding, Status, objections
from lossloop.app import operate
from lossloop.app.alone import stopped
from lossloop.app.cli import main
from lossloop.app.commands import Candidate, Promote, RollBack, StartExperiment, StartRollout
from lossloop.app.erasing import erase_unit
from lossloop.app.home import Home
from lossloop.app.versions import Question, Report, check_version
from lossloop.app.versions.ordering import apart, told_by, with_candidate_checked, with_checks
from lossloop.app.versions.recent import read_recent
from lossloop.core.errors import Conflict, InputError, LossloopError, StateError, UnknownName
from lossloop.core.traffic import Arm
from lossloop.registry import Manifest, versions
from tests.app.desk import MODEL, ROLLOUT, Desk, asked, external, happened, policy_text
from tests.app.server import Server, tiny_manifest, tiny_model

RISING = {"rises": {"kind": "direction", "feature": "x", "add": 1, "must": "not_fall"}}
CHECK = {"scenarios": RISING, "flips_at_most": "5%", "moved_by": 0.05}
ROWS = 300


def answered(rows: int = ROWS, *, hour: float = 1.0, start: int = 0, unit: str | None = None) -> list[Any]:
    """Predictions of the first version as it would answer, with outcomes for half of them."""
    x = np.linspace(-3.0, 3.0, rows)
    ids = [f"r{start + row}" for row in range(rows)]
    features = [{"x": float(each), "y": 1.0, "colour": ("red", "blue")[n % 2]} for n, each in enumerate(x)]
    p = 1.0 / (1.0 + np.exp(-x))
    units = [unit] * rows if unit else None
    sent = asked(hour, (p**2).tolist(), ids, features=features, units=units)
    return [sent, happened(hour + 1, ids[::2], 1.0)]


def made(path: Path, *, check: Any = CHECK, facts: bool = True, **policy: Any) -> Desk:
    """A champion that answers sigmoid(x), a version 2 that is like it, and a version 3 that is not."""
    desk = Desk.at(path / "s")
    desk.policy(rollout=ROLLOUT, check=check, **policy)
    for number, bias in enumerate((0.0, 0.001, 3.0)):
        operate.register(desk.home, MODEL, tiny_manifest(str(number)), tiny_model(bias))
    desk.obey(Promote(model=MODEL, version=1, force=True, reason="the first"))
    if facts:
        desk.send(*answered())
    return desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return made(tmp_path_factory.mktemp("checked"))


def ask(home: Home, **asked_for: Any) -> Report:
    return check_version(home, Question(model=MODEL, seconds=0.01, **asked_for))


def status(found: Report, check: Check) -> Status:
    return next(each.finding.status for each in found.shown if each.finding.check is check)


def ordered(desk: Desk, version: int, **more: Any) -> Any:
    order = StartRollout(model=MODEL, version=version, **more)
    return desk.obey(with_checks(desk.home, order, looked))


def looked(home: Home, question: Question) -> Checked:
    return check_version(home, msgspec.structs.replace(question, seconds=0.01)).checked


# What is read.


def test_recent_rows_come_with_features_and_outcomes(desk: Desk) -> None:
    state = desk.home.state()
    found = read_recent(desk.home, state, MODEL, most=100)
    state.close()
    assert len(found) == 100
    assert found.features["x"].tolist() == pytest.approx(np.linspace(-3, 3, ROWS)[-100:].tolist())
    assert set(found.features["colour"]) == {"red", "blue"}
    assert np.isnan(found.y_true[1::2]).all()
    assert (found.y_true[::2] == 1.0).all()


def test_rows_that_were_erased_are_gone(tmp_path: Path) -> None:
    desk = made(tmp_path, facts=False)
    desk.send(*answered(40), *answered(20, hour=3, start=40, unit="ann"))
    with stopped(desk.home) as alone:
        erase_unit(alone, "ann")
    state = desk.home.state()
    found = read_recent(desk.home, state, MODEL, most=1_000)
    state.close()
    assert len(found) == 40
    assert found.bare == 20


def test_a_model_without_rows_has_none(tmp_path: Path) -> None:
    desk = made(tmp_path, facts=False)
    state = desk.home.state()
    assert len(read_recent(desk.home, state, MODEL, most=10)) == 0
    state.close()
    assert status(ask(desk.home, version=2), Check.BEHAVIOUR) is Status.NOT_TOLD


# What is found.


def test_a_version_like_the_champion_may_take_traffic(desk: Desk) -> None:
    found = ask(desk.home, version=2)
    assert not found.objections
    assert found.champion == "m:1"
    assert status(found, Check.SCENARIOS) is status(found, Check.BEHAVIOUR) is Status.PASSED
    assert status(found, Check.OUTCOMES) is status(found, Check.LOAD) is Status.REPORTED
    assert found.plain()["fine"] is True


def test_one_that_answers_otherwise_may_not(desk: Desk) -> None:
    found = ask(desk.home, version=3)
    assert [each.partition(":")[0] for each in found.objections] == ["behaviour"]
    assert "answers flip more often than 0.05" in found.objections[0]


def test_a_manifest_that_is_not_registered_is_checked_alike(desk: Desk) -> None:
    found = ask(desk.home, manifest=tiny_manifest("new"), artifact=tiny_model(3.0))
    assert found.name == MODEL
    assert status(found, Check.BEHAVIOUR) is Status.FAILED


def test_an_artifact_that_cannot_be_loaded_is_no_pass(tmp_path: Path) -> None:
    desk = made(tmp_path, facts=False)
    with desk.books() as books:
        stored = versions.find(books.documents, MODEL, 2).manifest.artifact
    (desk.home.artifacts.directory / stored).write_bytes(b"no model")
    found = ask(desk.home, version=2)
    assert status(found, Check.SCENARIOS) is Status.NOT_TOLD
    assert "it cannot be loaded: artifact" in found.objections[0]
    assert "was changed on disk" in found.objections[0]


def test_what_is_no_version_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="needs an artifact"):
        ask(desk.home, manifest=Manifest(runtime="onnx"))
    with pytest.raises(InputError, match="name a version"):
        ask(desk.home)
    with pytest.raises(InputError):
        ask(desk.home, manifest=tiny_manifest("broken"), artifact=b"no model")
    with pytest.raises(UnknownName):
        ask(desk.home, version=9)


def test_what_is_recorded_names_no_feature_of_a_row(desk: Desk) -> None:
    words = " ".join(each.words for each in ask(desk.home, version=3).checked.findings)
    assert not re.search(r"\b(red|blue)\b", words)


# What follows.


def test_a_version_that_fails_is_refused_and_one_that_passes_goes(tmp_path: Path) -> None:
    desk = made(tmp_path)
    with pytest.raises(Conflict, match=r"m:3 did not pass.*behaviour.*--force"):
        ordered(desk, 3)
    ordered(desk, 2)
    assert desk.decisions()[-1].reason.startswith("asked for by an operator; checked: ")
    assert "5 passed" in desk.decisions()[-1].reason or "4 passed" in desk.decisions()[-1].reason


def test_an_operator_goes_on_with_a_reason_that_is_recorded(tmp_path: Path) -> None:
    desk = made(tmp_path)
    with pytest.raises(Conflict, match="takes a reason"):
        ordered(desk, 3, force=True)
    ordered(desk, 3, force=True, reason="the old one is on fire")
    reason = desk.decisions()[-1].reason
    assert "the old one is on fire" in reason
    assert "In spite of this: behaviour: answers flip more often" in reason
    with pytest.raises(Conflict, match="did not pass"):
        desk.obey(with_checks(desk.home, Promote(model=MODEL), looked))


def test_an_order_without_checks_is_refused_and_so_is_one_with_others(tmp_path: Path) -> None:
    desk = made(tmp_path)
    with pytest.raises(Conflict, match=r"m:2 was not checked.*lossloop check version m 2"):
        desk.obey(StartRollout(model=MODEL, version=2))
    with pytest.raises(Conflict, match="was not checked"):
        desk.obey(Promote(model=MODEL, version=2))
    checked = looked(desk.home, Question(model=MODEL, version=2))
    with pytest.raises(Conflict, match="under another policy"):
        desk.obey(StartRollout(model=MODEL, version=3, checked=checked))
    desk.policy(rollout=ROLLOUT, check={**CHECK, "flips_at_most": "6%"})
    with pytest.raises(Conflict, match="under another policy"):
        desk.obey(StartRollout(model=MODEL, version=2, checked=checked))


def test_a_policy_that_asks_for_nothing_refuses_nothing(tmp_path: Path) -> None:
    desk = made(tmp_path, check=None)
    order = StartRollout(model=MODEL, version=3)
    assert with_checks(desk.home, order) is order
    desk.obey(order)


def test_a_rebuild_decides_the_same(tmp_path: Path) -> None:
    """The fold runs no model: what was found is a fact."""
    desk = made(tmp_path)
    ordered(desk, 2)
    before = desk.everything()
    desk.home.state_file.unlink()
    (desk.home.path / "artifacts").rename(tmp_path / "gone")
    desk.fold()
    assert desk.everything() == before


def test_a_retraining_brings_what_was_found_of_it(tmp_path: Path) -> None:
    desk = made(tmp_path)
    stored = desk.home.artifacts.put(tiny_model(0.002))
    manifest = msgspec.structs.replace(tiny_manifest("retrained"), artifact=stored)
    bare = Candidate(key="m/000009", model=MODEL, manifest=manifest)
    assert "not rolled out: m:4 did not pass" in desk.obey(bare).message
    checked = with_candidate_checked(desk.home, bare, looked)
    assert "is on its way" in desk.obey(checked).message
    assert "checked: " in desk.decisions()[-1].reason


def test_a_retraining_that_cannot_be_checked_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = made(tmp_path)

    def breaks(home: Home, question: Question) -> Checked:
        raise StateError("the checks broke off")

    bare = Candidate(key="m/000009", model=MODEL, manifest=tiny_manifest("retrained"))
    assert with_candidate_checked(desk.home, bare, breaks) is bare
    assert "the checks broke off" in capsys.readouterr().err


def test_a_server_checks_in_a_process_of_its_own(desk: Desk) -> None:
    elsewhere = external("elsewhere")
    found = apart(desk.home, Question(model=MODEL, manifest=elsewhere, seconds=0.01))
    assert found.champion == 1
    assert found.version == elsewhere.digest


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (b'{"error": "there is no version m:9"}', "no version m:9"),
        (b"Traceback", "broke off with exit code 137"),
        (b'{"checked": 3}', "broke off"),
    ],
)
def test_a_process_that_finds_nothing_says_why(out: bytes, words: str) -> None:
    with pytest.raises(LossloopError, match=words):
        told_by(MODEL, out, 137)


def test_over_http_a_refusal_says_why(server: Server) -> None:
    name = server.model(versions=2)
    low = {"kind": "example", "rows": [{"x": 0}], "at_most": 0.6}
    text = policy_text(model=name, rollout=ROLLOUT, check={"scenarios": {"low": low}})
    operate.set_policy(server.home, text)
    refused = server.call("POST", f"/v1/models/{name}/rollout", {"version": 2}, wait=10)
    assert refused.status == 409
    assert "low: row 0 got 0.731059, wanted at most 0.6" in refused.detail


# In the terminal.


@pytest.fixture
def run(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setenv("LOSSLOOP_STATE", str(desk.home.path))
    monkeypatch.setenv("COLUMNS", "200")

    def ran(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lossloop", *arguments])
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return ran


FAST = ("--seconds", "0.01")


def test_the_exit_code_is_for_ci(run: Callable[..., Any]) -> None:
    code, out, _ = run("check", "version", MODEL, "2", *FAST)
    assert code == 0
    assert "It may take traffic." in out
    code, out, _ = run("check", "version", MODEL, "3", *FAST)
    assert code == 1
    assert "refused: behaviour: answers flip more often than 0.05" in out


def test_all_of_it_as_json_and_as_a_page(run: Callable[..., Any], tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    code, out, err = run("check", "version", MODEL, "3", "--json", "--html", str(page), *FAST)
    found = json.loads(out)
    assert (code, found["fine"]) == (1, False)
    assert [each["check"] for each in found["checks"]] == [str(each) for each in Check]
    assert "open it in a browser" in err
    text = page.read_text()
    assert "m:3: refused" in text
    assert "Where they flip most" in text
    assert "src=" not in text.partition("<script>")[0]


def test_files_that_are_not_registered_and_another_policy(run: Callable[..., Any], tmp_path: Path) -> None:
    manifest, artifact, policy = tmp_path / "m.json", tmp_path / "m.onnx", tmp_path / "p.yaml"
    manifest.write_bytes(msgspec.json.encode(tiny_manifest("new")))
    artifact.write_bytes(tiny_model(0.5))
    files = ("--manifest", str(manifest), "--artifact", str(artifact))
    assert run("check", "version", MODEL, *files, *FAST)[0] == 1
    policy.write_text(policy_text(check={"flips_at_most": "100%"}))
    assert run("check", "version", MODEL, *files, "--policy", str(policy), *FAST)[0] == 0


# What is required.


def finding(check: Check, status: Status) -> Finding:
    return Finding(check=check, status=status, words="so")


@pytest.mark.parametrize("check", [*Check])
@pytest.mark.parametrize("status", [*Status])
def test_only_what_is_required_and_did_not_pass_is_held_against_a_version(
    check: Check, status: Status
) -> None:
    rules = Checks(flips_at_most=0.1, only_report=(Check.SCHEMA,))
    found = {each: finding(each, Status.PASSED) for each in Check} | {check: finding(check, status)}
    checked = Checked(version="v", rules=rules.digest, champion=1, rows=1, findings=tuple(found.values()))
    against = list(objections(rules, checked, version="v", name="m:2", champion=1))
    fine = status in (Status.PASSED, Status.SKIPPED)
    asked_for = check in (Check.SCENARIOS, Check.PARITY, Check.LOSS, Check.BEHAVIOUR)
    assert bool(against) == (asked_for and not fine)


def test_a_check_that_nobody_made_is_held_against_a_version() -> None:
    checked = Checked(version="v", rules=Checks().digest, champion=None, rows=0, findings=())
    against = list(objections(Checks(), checked, version="v", name="m:2", champion=None))
    assert against == [f"{name}: was not looked at" for name in ("scenarios", "schema", "parity", "loss")]


# Edges of orders.


def test_a_policy_in_observe_checks_all_the_same(tmp_path: Path) -> None:
    desk = made(tmp_path, mode="observe")
    with pytest.raises(Conflict, match="did not pass"):
        ordered(desk, 3)


def test_a_rollback_is_never_held_up(tmp_path: Path) -> None:
    desk = made(tmp_path)
    ordered(desk, 2)
    desk.obey(RollBack(model=MODEL))
    assert desk.champion() == 1
    desk.obey(with_checks(desk.home, Promote(model=MODEL, version=2), looked))
    assert desk.champion() == 2
    desk.obey(RollBack(model=MODEL, reason="it burns"))
    assert desk.champion() == 1


def test_the_champion_itself_is_held_against_nobody(desk: Desk) -> None:
    found = ask(desk.home, version=1)
    assert found.champion == ""
    assert status(found, Check.BEHAVIOUR) is Status.SKIPPED
    assert not found.objections


def test_a_promotion_without_a_version_is_that_of_the_rollout(tmp_path: Path) -> None:
    desk = made(tmp_path)
    assert with_checks(desk.home, Promote(model=MODEL), looked).checked is None
    with pytest.raises(Conflict, match="no rollout is running"):
        desk.obey(with_checks(desk.home, Promote(model=MODEL), looked))
    ordered(desk, 2)
    order = with_checks(desk.home, Promote(model=MODEL), looked)
    assert order.checked is not None
    assert desk.obey(order).version == 2
    assert desk.champion() == 2


def test_an_order_for_a_model_that_is_not_there(tmp_path: Path) -> None:
    desk = made(tmp_path)
    with pytest.raises(UnknownName):
        with_checks(desk.home, Promote(model="nobody", version=1), looked)


def test_every_arm_of_an_experiment_is_checked(tmp_path: Path) -> None:
    desk = made(tmp_path)

    def compared(*numbers: int, **more: Any) -> Any:
        arms = tuple(Arm(version=number, share=0.2) for number in numbers)
        order = StartExperiment(model=MODEL, arms=arms, **more)
        return desk.obey(with_checks(desk.home, order, looked))

    with pytest.raises(Conflict, match=r"m:3 did not pass.*behaviour"):
        compared(2, 3)
    with pytest.raises(Conflict, match="m:2 was not checked"):
        desk.obey(StartExperiment(model=MODEL, arms=(Arm(version=2, share=0.2),)))
    compared(2, 3, force=True, reason="to see it fail")
    reason = desk.decisions()[-1].reason
    assert reason.startswith("to see it fail; checked: ")
    assert "In spite of this: behaviour" in reason


def test_what_was_found_before_a_promotion_is_not_good_after_it(tmp_path: Path) -> None:
    """Between looking and obeying another version became champion: it was held against the wrong one."""
    desk = made(tmp_path)
    late = with_checks(desk.home, StartRollout(model=MODEL, version=2), looked)
    desk.obey(Promote(model=MODEL, version=3, force=True, reason="in between"))
    with pytest.raises(Conflict, match="against another champion"):
        desk.obey(late)


def test_force_over_a_version_that_nobody_checked_says_so(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.obey(StartRollout(model=MODEL, version=2, force=True, reason="no time"))
    reason = desk.decisions()[-1].reason
    assert reason.startswith("no time. In spite of this: m:2 was not checked")


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_reason_has_to_say_something(tmp_path: Path, reason: str) -> None:
    desk = made(tmp_path)
    with pytest.raises(Conflict, match="takes a reason"):
        desk.obey(StartRollout(model=MODEL, version=3, force=True, reason=reason))


def test_what_was_found_is_told_where_nothing_was_asked_for(tmp_path: Path) -> None:
    desk = made(tmp_path, check=None)
    found = looked(desk.home, Question(model=MODEL, version=2))
    desk.obey(StartRollout(model=MODEL, version=2, checked=found))
    assert "; checked: " in desk.decisions()[-1].reason


def test_a_check_of_reports_only_lets_all_pass(tmp_path: Path) -> None:
    desk = made(tmp_path, check={**CHECK, "only_report": ["behaviour"]})
    found = ask(desk.home, version=3)
    assert status(found, Check.BEHAVIOUR) is Status.FAILED
    assert not found.objections
    ordered(desk, 3)


def test_orders_of_an_older_log_are_read() -> None:
    """Commands that were logged before there were checks have none."""
    old = b'{"model": "m", "version": 2, "reason": "r"}'
    read = msgspec.json.decode(old, type=StartRollout)
    assert (read.checked, read.force) == (None, False)
    assert msgspec.json.decode(b'{"model": "m"}', type=Promote).checked is None


def test_the_terminal_orders_with_checks(run: Callable[..., Any], tmp_path: Path) -> None:
    desk = made(tmp_path)
    code, out, err = run("rollout", MODEL, "3", "--state", str(desk.home.path))
    assert code == 1
    assert "m:3 did not pass what the policy asks of it: behaviour" in err
    forced = ("--force", "--reason", "a drill", "--json")
    code, out, err = run("promote", MODEL, "3", *forced, "--state", str(desk.home.path))
    assert (code, json.loads(out)["version"]) == (0, 3)
    assert "a drill; checked: " in desk.decisions()[-1].reason
