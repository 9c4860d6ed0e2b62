"""Commands: obeyed once, in full or not at all; a broken one is answered and the loop goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.act import outbox
from lossloop.app import operate
from lossloop.app.commands import Candidate, Command, Promote, Register, Result, SetPolicy, Settle, name_of
from lossloop.core.errors import Conflict, PolicyError
from lossloop.ledger.facts import command
from lossloop.ledger.frames import Frame
from lossloop.registry import Reference, versions
from tests.app.desk import CALM, DAY, MODEL, ROLLOUT, WATCH, Desk, external, policy_text

RETRAINS: dict[str, Any] = {
    "settings": {"retrain": {"again": "somewhere:train"}},
    "watches": {"worse": WATCH},
    "on": {"worse": [{"retrain": "again"}]},
}


def ordered(id: str, name: str, body: dict[str, Any]) -> Frame:
    return command(id, name, body, now=0)


def answer(desk: Desk, id: str) -> Result | None:
    with desk.books() as books:
        return books.documents.get("command", id, Result)


def waiting(desk: Desk) -> list[outbox.Effect]:
    with desk.books() as books:
        return outbox.pending(books.documents)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("promot", {}, "unknown command 'promot'; did you mean 'promote'?"),
        ("promote", {"model": MODEL, "version": "one"}, "Expected `int | null`, got `str`"),
        ("promote", {"model": MODEL, "number": 1}, "Object contains unknown field `number`"),
        ("promote", {"model": "other", "version": 1}, "unknown model 'other'; there are: m"),
        ("register", {"model": MODEL, "manifest": {}}, "a version needs the runtime that runs its artifact"),
        ("set_policy", {"text": "model: [\n"}, "policy, line 2: not readable as YAML"),
        ("set_policy", {"text": policy_text(loss="loss of hope")}, "'loss of hope' is not a loss"),
        ("roll_back", {"model": MODEL}, "m has no previous champion to go back to"),
    ],
)
def test_a_broken_command_is_answered_and_the_next_ones_are_obeyed(
    tmp_path: Path, name: str, body: dict[str, Any], words: str
) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2)
    desk.send(ordered("a", name, body), ordered("b", "promote", {"model": MODEL, "version": 2}))
    broken, sound = answer(desk, "a"), answer(desk, "b")
    assert broken is not None
    assert not broken.ok
    assert words in broken.message
    assert sound == Result(ok=True, message="m:2 is the champion", version=2)


def test_even_a_fault_of_our_own_stops_one_command_and_not_the_loop(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    endless = "[" * 5000  # deeper than the YAML reader can go
    desk.send(ordered("a", "set_policy", {"text": endless}))
    broken = answer(desk, "a")
    assert broken is not None
    assert not broken.ok
    assert desk.day(0, 0.1)
    with desk.books() as books:
        assert books.counts(MODEL).outcomes == 4


def test_a_command_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    desk.rollout(2)
    before = desk.everything()
    with pytest.raises(Conflict, match=r"unknown version 'm:9'"):
        desk.obey(Promote(model=MODEL, version=9))
    after = desk.everything()
    after["documents"] = [row for row in after["documents"] if row not in before["documents"]]
    assert [row[0] for row in after["documents"]] == ["command"]


def test_the_same_command_twice_is_obeyed_once(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    start = ordered("a", "start_rollout", {"model": MODEL, "version": 2})
    desk.send(start, start)
    desk.send(start)
    with desk.books() as books:
        assert len(books.past_rollouts(MODEL)) == 1
    assert len(desk.decisions()) == 2


def test_every_command_has_a_name() -> None:
    commands: list[Command] = [Promote(model=MODEL), SetPolicy(text=""), Settle(key="k", ok=True)]
    assert [name_of(each) for each in commands] == ["promote", "set_policy", "settle"]


# Versions.


def test_the_same_manifest_is_the_same_version(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2)
    assert desk.register("version 2").version == 2
    assert desk.register("version 3").version == 3
    with desk.books() as books:
        assert [each.name for each in versions.versions(books.documents, MODEL)] == ["m:1", "m:2", "m:3"]


def test_a_version_needs_a_model_that_has_a_policy(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    with pytest.raises(Conflict, match="unknown model 'm'; there are none yet"):
        desk.register("one")


def test_promoting_the_champion_again_keeps_who_was_before(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2)
    desk.obey(Promote(model=MODEL, version=2))
    desk.obey(Promote(model=MODEL, version=2))
    with desk.books() as books:
        assert versions.aliases(books.documents, MODEL) == {"champion": 2, "previous": 1}


# Policies.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "multiclass", "loss": "brier"}, "brier takes probability, which a multiclass task"),
        ({"loss": "brier_multiclass"}, "takes class probabilities, which a binary task does not predict"),
        ({"task": "regression", "loss": "cost_matrix"}, None),
        ({"loss": "brier.where(user='a')"}, "needs features, which the loop does not judge by yet"),
        ({"watches": {"w": {**WATCH, "promise": "now and then"}}}, "'now and then' is not a promise"),
        ({"loss": "nope"}, "unknown loss 'nope'"),
        ({"on": {"worse": [{"retrain": "nobody"}]}, "watches": {"worse": WATCH}},
         "retrain 'nobody' is not in settings.yaml"),
    ],
)  # fmt: skip
def test_a_policy_that_could_not_work_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str | None
) -> None:
    desk = Desk.at(tmp_path / "s")
    if words is None:
        assert desk.policy(**changes).ok
        return
    with pytest.raises(PolicyError, match=words.replace("(", r"\(")):
        desk.policy(**changes)


def test_a_policy_names_its_line(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    with pytest.raises(
        PolicyError, match=r"policy, line 1: wachtes: unknown key 'wachtes'; did you mean 'watch"
    ):
        desk.policy(wachtes={})


WORSE = "  worse: {kind: regression, tolerance: 0.1, promise: %s}\n"


@pytest.mark.parametrize(
    ("line", "loss", "promise", "then"),
    [
        (3, "bier", "5% ever", ""),
        (6, "brier", "often", ""),
        (7, "brier", "5% ever", "on: {worse: [{notify: me}]}"),
    ],
)
def test_also_what_only_the_loop_can_know_of_a_policy_names_its_line(
    tmp_path: Path, line: int, loss: str, promise: str, then: str
) -> None:
    head = f"model: m\ntask: binary\nloss: {loss}\nlabels: {{mature_after: 1h}}\nwatches:\n"
    text = head + WORSE % promise + then
    home = Desk.at(tmp_path / "s").home
    with pytest.raises(PolicyError) as found:
        operate.set_policy(home, text, source="delay.yaml")
    assert found.value.line == line
    assert str(found.value).startswith(f"delay.yaml, line {line}: ")


# What a retraining brings.


def alarmed(path: Path, **changes: Any) -> tuple[Desk, str]:
    """A champion whose watch has asked for a retraining; and the key of that effect."""
    desk = Desk.ready(path / "s", versions=2, **{**RETRAINS, "rollout": ROLLOUT, **changes})
    for day in range(4):
        desk.day(day, 0.9)
    (effect,) = waiting(desk)
    return desk, effect.key


def test_a_retrained_version_goes_on_its_way(tmp_path: Path) -> None:
    desk, key = alarmed(tmp_path)
    found = desk.obey(Candidate(key=key, model=MODEL, manifest=external("new")))
    assert (found.message, found.version) == ("m:3 is on its way", 3)
    assert desk.told()[-1] == ("start_rollout", "done")
    assert desk.decisions()[-1].reason == f"retrained, decision {key}"
    assert desk.share() == 0.2
    assert waiting(desk) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"rollout": None}, "the policy has no rollout"), ({"mode": "observe"}, "would_have")],
)
def test_a_retrained_version_is_kept_where_it_may_not_go_out(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    desk, key = alarmed(tmp_path)
    desk.policy(**{name: value for name, value in {**RETRAINS, "rollout": ROLLOUT, **changes}.items()
                   if name != "settings"})  # fmt: skip
    found = desk.obey(Candidate(key=key, model=MODEL, manifest=external("new")))
    assert found.message == f"m:3 is registered; not rolled out: {why}"
    assert waiting(desk) == []


def test_a_retrained_version_that_came_too_late_is_settled_all_the_same(tmp_path: Path) -> None:
    desk, key = alarmed(tmp_path)
    desk.rollout(2)
    found = desk.obey(Candidate(key=key, model=MODEL, manifest=external("new")))
    assert "the rollout of version 2 is under way" in found.message
    assert found.version == 3
    assert waiting(desk) == []


def test_a_retrained_version_that_the_watches_could_not_judge_stays_off_the_traffic(tmp_path: Path) -> None:
    desk, key = alarmed(tmp_path)
    blind = Reference(loss="squared", mean=0.1, block="1d", block_means=(0.1, 0.1), rows=9, design_effect=1.0)
    found = desk.obey(Candidate(key=key, model=MODEL, manifest=external("new", blind)))
    assert "not rolled out: watch 'worse' could not judge m:3" in found.message
    assert desk.share() == 0.0


def test_an_effect_is_given_up_after_its_last_attempt(tmp_path: Path) -> None:
    desk, key = alarmed(tmp_path)
    for attempt in range(outbox.MOST_ATTEMPTS):
        assert [effect.attempts for effect in waiting(desk)] == [attempt]
        desk.obey(Settle(key=key, ok=False, detail="the disk of the trainer is full"))
    assert waiting(desk) == []
    assert desk.obey(Settle(key=key, ok=True)).message == "already settled"
    desk.day(4, 0.9)
    assert desk.champion() == 1


def test_registering_needs_no_champion(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy()
    assert desk.obey(Register(model=MODEL, manifest=external("x", CALM))).version == 1
    desk.tick(DAY)
    assert desk.champion() is None
