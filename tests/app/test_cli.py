"""The command line, for people and for programs: answers, errors that name the fix, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lossloop import __version__
from lossloop.app.cli import main
from lossloop.app.home import Home, init
from tests.app.desk import CALM, MODEL, ROLLOUT, WATCH, Desk, policy_text
from tests.app.processes import lossloop
from tests.app.server import Server, tiny_manifest, tiny_model

COMMANDS = [
    *("init", "up", "demo", "status", "decisions", "policy"),
    *("register", "rollout", "rollback", "promote", "freeze"),
]
BLANK = {"loss": "brier", "mean": 1, "block": "1d", "block_means": [], "rows": 1, "design_effect": 1}


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in this process, over the directory `s` unless it names another."""
    monkeypatch.setenv("LOSSLOOP_STATE", str(tmp_path / "s"))
    monkeypatch.setenv("COLUMNS", "200")

    def ran(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["lossloop", *arguments])
        capsys.readouterr()
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return Said(code=int(code), out=said.out, err=said.err)

    return ran


def file(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def manifest(path: Path, **given: Any) -> str:
    reference = {
        "loss": CALM.loss, "mean": CALM.mean, "block": CALM.block, "block_means": CALM.block_means,
        "rows": CALM.rows, "design_effect": CALM.design_effect,
    }  # fmt: skip
    return file(
        path / f"{given.get('notes', 'manifest')}.json",
        json.dumps({"runtime": "external", "reference": reference, **given}),
    )


# From nothing to a release.


def test_a_release_from_the_command_line_alone(run: Run, tmp_path: Path) -> None:
    policy = file(tmp_path / "p.yaml", policy_text(rollout=ROLLOUT, watches={"worse": WATCH}))
    steps: list[tuple[Sequence[str], str]] = [
        (["init", str(tmp_path / "s")], "its token is the file token in it"),
        (["status"], "No model yet. Next: lossloop policy POLICY.yaml"),
        (["policy", policy], "the policy of m is in force, in mode act"),
        (["register", MODEL, manifest(tmp_path)], "m:1 is registered"),
        (["status", MODEL], "no champion yet; register a version, then: lossloop promote"),
        (["decisions", MODEL], "Nothing was decided on m yet."),
        (["promote", MODEL, "1", "--reason", "the first"], "m:1 is the champion"),
        (["register", MODEL, manifest(tmp_path, notes="two")], "m:2 is registered"),
        (["rollout", MODEL, "2", "--plan", '{"steps": ["10%"]}'], "m:2 is at 10% of the traffic"),
        (["status", MODEL], "challenger: version 2 at 10% of the traffic"),
        (["rollback", MODEL, "--reason", "enough"], "version 2 is off the traffic"),
        (["freeze", "--reason", "holidays"], "frozen: verdicts are given, nothing is done"),
        (["status"], "frozen"),
        (["freeze", "--off"], "actions go on"),
        (["decisions", MODEL], "enough"),
    ]
    for arguments, words in steps:
        said = run(*arguments)
        assert (said.code, said.err) == (0, "")
        assert words in said.out, arguments


def test_every_answer_is_json_where_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    policy = file(tmp_path / "p.yaml", policy_text(rollout=ROLLOUT))
    made = run("init", str(tmp_path / "s"), "--json").json
    assert Path(made["token_file"]).read_text().startswith("ll_")
    assert run("status", "--json").json == {"models": []}
    assert run("policy", policy, "--json").json["ok"] is True
    assert run("register", MODEL, manifest(tmp_path), "--json").json["version"] == 1
    assert run("promote", MODEL, "1", "--json").json["version"] == 1
    run("register", MODEL, manifest(tmp_path, notes="two"))
    assert run("rollout", MODEL, "2", "--json").json["version"] == 2
    assert run("rollback", MODEL, "--json").json["message"] == "version 2 is off the traffic"
    assert run("freeze", "--json").json["ok"] is True
    status = run("status", MODEL, "--json").json
    assert (status["model"], status["aliases"]) == (MODEL, {"champion": 1})
    assert [each["model"] for each in run("status", "--json").json["models"]] == [MODEL]
    decisions = run("decisions", MODEL, "--json").json["decisions"]
    assert [each["action"] for each in decisions] == ["promote", "start_rollout", "roll_back"]


def test_an_artifact_is_kept_with_its_version(run: Run, tmp_path: Path) -> None:
    home = Desk.at(tmp_path / "s").home
    run("policy", file(tmp_path / "p.yaml", policy_text()))
    features = [
        {"name": each.name, "kind": each.kind, "nullable": each.nullable} for each in tiny_manifest().features
    ]
    described = file(tmp_path / "m.json", json.dumps({"runtime": "onnx", "features": features}))
    model = file(tmp_path / "tiny.onnx", tiny_model())
    assert run("register", MODEL, described, "--artifact", model, "--json").json["version"] == 1
    assert [path.read_bytes() for path in home.artifacts.directory.iterdir()] == [tiny_model()]


def test_figures_are_shown_as_they_are(run: Run, tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"worse": WATCH})
    for day in range(5):
        desk.day(day, 0.9)
    said = run("status", MODEL)
    assert (
        "20 predictions, 20 outcomes, 0 waiting, 0 conflicts; judged up to 2024-01-06T07:00:00Z" in said.out
    )
    assert "watch worse: alarm" in said.out
    assert "0.9000" in said.out


def test_status_says_that_a_rollout_was_rolled_back(run: Run, tmp_path: Path) -> None:
    Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    assert run("rollout", MODEL, "2").code == 0
    assert run("rollback", MODEL).code == 0
    assert "champion: version 1; version 2 was rolled back" in run("status", MODEL).out
    assert run("promote", MODEL, "2").code == 0
    assert "champion: version 2\n" in run("status", MODEL).out


def test_commands_go_through_a_server_where_one_runs(server: Server, run: Run) -> None:
    model = server.model(versions=2)
    state = str(server.home.path)
    assert run("rollout", model, "2", "--state", state).code == 0
    assert server.call("GET", f"/v1/models/{model}").body["traffic"]["challenger"] == 2
    assert run("rollback", model, "--state", state).code == 0


def test_freezing_works_without_a_server(run: Run, tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"worse": WATCH}, on={"worse": [{"retrain": "again"}]},
                      settings={"retrain": {"again": "somewhere:train"}})  # fmt: skip
    assert run("freeze").code == 0
    for day in range(5):
        desk.day(day, 0.9)
    assert desk.told() == [("retrain", "frozen")]


# Errors.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "nobody"], "unknown model 'nobody'; did you mean"),
        (["decisions", "n"], "unknown model 'n'; there are: m"),
        (["rollout", MODEL, "9"], "unknown version 'm:9'"),
        (["rollout", MODEL, "2", "--plan", "{"], "--plan is not JSON"),
        (["rollout", MODEL, "2", "--plan", "[1]"], "--plan must be an object"),
        (["rollout", MODEL, "2", "--plan", '{"stops": 1}'], "unknown key 'stops'; did you mean 'steps'?"),
        (["rollback", MODEL], "has no previous champion to go back to"),
        (["promote", MODEL], "no rollout is running; name the version to promote"),
        (["policy", "/nowhere.yaml"], "cannot read /nowhere.yaml: No such file or directory"),
        (["policy", "/"], "cannot read /: Is a directory"),
        (["register", MODEL, "/nowhere.json"], "cannot read /nowhere.json"),
        (
            ["status", "--state", "/nowhere"],
            "/nowhere is no state directory; run: lossloop init --state /nowhere",
        ),
        (["init", "/dev/null/s"], "cannot make /dev/null/s (Not a directory); choose another place"),
        (["up", "--port", "99999"], "a port lies between 0 and 65535, not at 99999"),
        (["up", "--host", "999.1.1.1"], "cannot listen on 999.1.1.1:8765"),
        (["demo", "--resume", "--state", "/nowhere"], "/nowhere is no state directory"),
    ],
)
def test_an_error_says_what_to_do_and_ends_with_one(
    run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    said = run(*arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.strip().startswith("error: ")
    assert words.partition("; did you mean")[0] in said.err
    assert "Traceback" not in said.err
    told = run(*arguments, "--json")
    assert (told.code, told.err.strip()) == (1, "")
    assert words.partition("; did you mean")[0] in told.json["error"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: m\ntask: binary\nlos: brier\n", "p.yaml, line 3: los: unknown key 'los'"),
        ("model: [a\n", "p.yaml, line 2: not readable as YAML"),
        ("model: '[bold]'\ntask: binary\nloss: brier\nlabels: {mature_after: 1h}\n",
         "p.yaml, line 1: model: '[bold]' is no name"),
        (b"\xff\xfe", "p.yaml is not text in UTF-8"),
        ("", "p.yaml: the file is empty"),
    ],
)  # fmt: skip
def test_a_policy_s_mistake_is_found_by_its_line(
    run: Run, tmp_path: Path, text: str | bytes, words: str
) -> None:
    Desk.at(tmp_path / "s")
    said = run("policy", file(tmp_path / "p.yaml", text))
    assert said.code == 1
    assert words in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "manifest.json: Input data was truncated"),
        ("{}", "say in the manifest which runtime the version has"),
        ('{"runtime": "onnx"}', "a version with runtime 'onnx' needs an artifact"),
        ('{"runtime": "onyx"}', "unknown runtime 'onyx'; did you mean 'onnx'?"),
        ('{"runtime": "external", "color": 1}', "Object contains unknown field `color`"),
        (json.dumps({"runtime": "external", "reference": BLANK}), "a reference needs one or more finite"),
    ],
)  # fmt: skip
def test_a_manifest_s_mistake_is_named(run: Run, tmp_path: Path, text: str, words: str) -> None:
    Desk.ready(tmp_path / "s")
    said = run("register", MODEL, file(tmp_path / "manifest.json", text))
    assert said.code == 1
    assert words in said.err


def test_an_artifact_that_cannot_be_loaded_makes_no_version(run: Run, tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    broken = file(tmp_path / "tiny.onnx", b"not a model")
    said = run("register", MODEL, file(tmp_path / "m.json", '{"runtime": "onnx"}'), "--artifact", broken)
    assert said.code == 1
    assert "not an ONNX model that can be loaded" in said.err
    assert not desk.home.artifacts.directory.exists()


@pytest.mark.parametrize(
    "arguments", [["nope"], ["rollout"], ["rollout", MODEL, "two"], ["freeze", "--of"], ["status", "a", "b"]]
)
def test_a_command_line_that_cannot_be_read_ends_with_two(run: Run, arguments: list[str]) -> None:
    said = run(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "Error" in said.err


# Help.


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_every_option_of_it(run: Run, command: str) -> None:
    said = run(command, "--help")
    assert said.code == 0
    assert f"Usage: lossloop {command}" in said.out
    assert "--json" in said.out
    for line in said.out.splitlines():
        if line.startswith("│ --"):
            assert len(line.strip("│ ").split("  ", 1)) == 2, f"{line} has no explanation"


def test_the_commands_are_those_there_are(run: Run) -> None:
    listed = run("--help").out
    assert [command for command in COMMANDS if f" {command} " not in listed] == []
    assert run("--version").out.strip() == __version__


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    state = tmp_path / "s"
    assert lossloop("init", str(state)).returncode == 0
    policy = file(tmp_path / "p.yaml", policy_text(rollout=ROLLOUT))
    done = lossloop("policy", policy, "--json", state=state)
    assert (done.returncode, json.loads(done.stdout)["ok"], done.stderr) == (0, True, "")
    failed = lossloop("promote", MODEL, "1", "--json", state=state)
    assert failed.returncode == 1
    assert "unknown version 'm:1'" in json.loads(failed.stdout)["error"]
    assert Home(path=state).check().path == state


@pytest.mark.parametrize("name", ["a\\[/b]", "x[/y]", "tail\\", "[bold]", "\\\\[/z]"])
def test_an_error_says_what_it_quotes_as_it_is(name: str, run: Run) -> None:
    r"""``\[/b]`` in a file's name was taken for the end of bold type, and ended with a traceback."""
    run("init")
    told = run("policy", name)
    assert told.code == 1
    assert told.err.startswith(f"error: cannot read {name}")


def test_an_answer_that_nobody_reads_to_its_end_is_no_traceback(tmp_path: Path) -> None:
    """As under ``| head -1``."""
    read, write = os.pipe()
    os.close(read)
    command = [
        sys.executable,
        "-m",
        "lossloop",
        "status",
        "--json",
        "--state",
        str(init(tmp_path / "s").path),
    ]
    told = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (told.returncode, told.stderr) == (1, b"")


def test_charts_are_a_file_or_json(run: Run, tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"worse": WATCH})
    desk.day(0, 0.1)
    written = run("chart", MODEL, "--output", str(tmp_path / "seen.html"))
    assert "seen.html" in written.out
    assert "worse" in (tmp_path / "seen.html").read_text()
    charts = run("chart", MODEL, "--json").json["charts"]
    assert [chart["id"] for chart in charts] == ["loss-1", "evidence-1"]
    nowhere = run("chart", MODEL, "--output", str(tmp_path / "no" / "seen.html"))
    assert nowhere.code == 1
    assert "name another file with --output" in nowhere.err
    assert run("chart", "nobody").code == 1
