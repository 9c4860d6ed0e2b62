"""What cannot be judged, sent as people send it: never an alarm, and never a pass.

Every kind of watch, over the real server and the real command line. What the judges themselves say of the
same inputs is in `tests/judges/test_bad_input.py`.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.app.cli import main
from lossloop.registry import Manifest
from tests.app.desk import policy_text
from tests.app.server import Server, serving
from tests.app.test_watch_laws import ARRIVE, ASKED, MADE, PLACES

Row = dict[str, Any]
Rows = list[Row]
Spoil = Callable[[Rows, Rows], tuple[Rows, Rows]]
"""What is made of a day's predictions and outcomes."""


class Terminal:
    """A terminal to type commands into."""

    def __init__(
        self, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: Path
    ) -> None:
        self._server, self._capsys, self._monkeypatch, self._path = server, capsys, monkeypatch, path

    def __call__(self, *words: str) -> tuple[int, str]:
        """Type a command; its exit code, and all that it says."""
        given = ["lossloop", *words, "--state", str(self._server.home.path)]
        self._monkeypatch.setattr("sys.argv", given)
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = self._capsys.readouterr()
        return int(code or 0), said.out + said.err

    def policy(self, model: str, **changes: Any) -> tuple[int, str]:
        """Put a policy in force."""
        file = self._path / f"{model}.yaml"
        file.write_text(policy_text(**{"model": model, "slices": ["place"], "cooldown": "90d", **changes}))
        return self("policy", str(file))

    def register(self, model: str, manifest: Manifest | Row) -> tuple[int, str]:
        """Register a version."""
        file = self._path / f"{model}.json"
        file.write_bytes(msgspec.json.encode(manifest))
        return self("register", model, str(file))

    def champion(self, model: str, manifest: Manifest = MADE, **changes: Any) -> None:
        """A model under all watches, or some."""
        for code, said in (
            self.policy(model, **{"watches": ASKED, **changes}),
            self.register(model, manifest),
            self("promote", model, "1"),
        ):
            assert code == 0, said

    def verdicts(self, model: str) -> dict[str, Row]:
        """What `lossloop status` says of each watch."""
        code, said = self("status", model, "--json")
        assert code == 0, said
        found: dict[str, Row] = json.loads(said)["watches"]
        return found


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server that trusts event times."""
    with serving(tmp_path_factory.mktemp("bad") / "state", clock="event", salt="salt") as found:
        yield found


@pytest.fixture
def terminal(
    replayed: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Terminal:
    return Terminal(replayed, capsys, monkeypatch, tmp_path)


_SPANS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Some days of a model, in a span of time that no other has."""

    server: Server
    model: str
    first: int = field(default_factory=lambda: 30 * next(_SPANS))

    def at(self, day: int, hour: int) -> str:
        return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=self.first + day, hours=hour)).isoformat()

    def days(self, spoil: Spoil, count: int = 5, rows: int = 8) -> set[int]:
        """Send days as good as the reference, each spoilt; then let time pass. The codes of the answers."""
        rng, codes = np.random.default_rng(7), set()
        self.server.call("POST", "/v1/clock", {"time": self.at(0, 0)}, wait=10)
        for day in range(count):
            sent = [self._row(rng, day, row) for row in range(rows)]
            predictions, outcomes = spoil(sent, [self._outcome(row["id"], day) for row in sent])
            codes |= {self.server.record(self.model, *predictions).status} if predictions else set()
            codes |= {self.server.outcomes(self.model, *outcomes).status} if outcomes else set()
        self.server.call("POST", "/v1/clock", {"time": self.at(count + 1, 0)}, wait=10)
        return codes

    def _row(self, rng: np.random.Generator, day: int, row: int) -> Row:
        loss = float(np.clip(rng.normal(0.1, 0.02), 0.0, 0.99))
        features = {"age": float(rng.normal(40.0, 10.0)), "place": str(rng.choice(PLACES))}
        return {
            "id": f"{day}-{row}",
            "version": 1,
            "time": self.at(day, 8),
            "y_pred": loss**0.5,
            "features": features,
        }

    def _outcome(self, id: str, day: int) -> Row:
        return {"id": id, "time": self.at(day, 9), "y_true": 0}


def changed(rows: Rows, **values: Any) -> Rows:
    return [{**row, **values} for row in rows]


WAITING, SILENT, JUDGED = {"no_data", "inconclusive"}, {"no_data"}, {"healthy", "inconclusive", "no_data"}
SPOILT: dict[str, tuple[Spoil, set[int], set[str], set[str]]] = {
    # how, the codes of the answers, and what watches of outcomes and of arrivals may say
    "no outcome ever": (lambda p, o: (p, []), {200}, WAITING, JUDGED),
    "outcomes without a label": (lambda p, o: (p, changed(o, y_true=None)), {200}, WAITING, JUDGED),
    "outcomes that are no number": (
        lambda p, o: (p, changed(o, y_true=math.nan)), {200, 422}, WAITING, JUDGED
    ),
    "predictions that are no number": (
        lambda p, o: (changed(p, y_pred=math.nan), []), {422}, SILENT, SILENT
    ),
    "predictions that cannot be": (lambda p, o: (changed(p, y_pred=1.5), []), {422}, SILENT, SILENT),
    "nothing": (lambda p, o: ([], []), set(), SILENT, SILENT),
    "a row a day": (lambda p, o: (p[:1], o[:1]), {200}, JUDGED, JUDGED),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_cannot_be_judged_is_no_alarm_and_no_pass(
    terminal: Terminal, replayed: Server, name: str
) -> None:
    spoil, codes, of_outcomes, of_arrivals = SPOILT[name]
    model = f"spoilt-{list(SPOILT).index(name)}"
    terminal.champion(model)
    assert Replay(server=replayed, model=model).days(spoil) == codes
    for watch, found in terminal.verdicts(model).items():
        allowed = of_arrivals if watch in ARRIVE else of_outcomes
        assert found["kind"] in allowed, f"{watch}: {found['reason']}"


def test_a_slice_of_one_row_is_inconclusive(terminal: Terminal, replayed: Server) -> None:
    terminal.champion("lonely", watches={"slices": ASKED["slices"]})

    def one_elsewhere(predictions: Rows, outcomes: Rows) -> tuple[Rows, Rows]:
        if not predictions[0]["id"].startswith("0-"):
            return predictions, outcomes
        return [
            {**predictions[0], "features": {"place": "island"}, "y_pred": 0.99},
            *predictions[1:],
        ], outcomes

    assert Replay(server=replayed, model="lonely").days(one_elsewhere) == {200}
    code, said = terminal("slices", "lonely", "--json")
    assert code == 0, said
    (watched,) = json.loads(said)["watches"]
    found = {each["slice"]: each for each in watched["slices"]}
    assert found["place=island"]["kind"] == "inconclusive"
    assert terminal.verdicts("lonely")["slices"]["kind"] == "healthy"


# What is refused before anything is judged.


PROMISES = ("150% ever", "-5% ever", "1 per 0 blocks")


@pytest.mark.parametrize("watch", ASKED)
def test_a_promise_that_nobody_can_give_is_refused_for_every_kind(terminal: Terminal, watch: str) -> None:
    for number, promise in enumerate(PROMISES):
        asked = {watch: {**ASKED[watch], "promise": promise}}
        code, said = terminal.policy(f"promised-{watch.replace('_', '-')}-{number}", watches=asked)
        assert code == 1, f"{promise}: {said}"
        assert "line 1" in said, said
        assert "promise" in said or "chance" in said, said


NEEDS = {
    "regression": "reference", "regression_rows": "reference", "drift": "profile", "drift_rows": "profile",
    "prediction_shift": "profile", "estimate": "estimate", "estimate_audited": "estimate",
    "seasonal": "reference", "baseline": "reference",
}  # fmt: skip


def test_a_version_without_what_a_watch_measures_by_is_refused(terminal: Terminal) -> None:
    for watch, needs in NEEDS.items():
        model = f"bare-{watch.replace('_', '-')}"
        assert terminal.policy(model, watches={watch: ASKED[watch]})[0] == 0
        assert terminal.register(model, Manifest(runtime="external"))[0] == 0
        code, said = terminal("promote", model, "1")
        assert code == 1, said
        assert f"watch '{watch}' could not judge {model}:1" in said
        assert needs in said or "reference" in said


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"block_means": []}, "one or more finite block means"),
        ({"block_means": [0.1, None]}, "float"),
        ({"mean": None}, "float"),
    ],
)
def test_a_reference_of_nothing_is_refused(terminal: Terminal, wrong: Row, words: str) -> None:
    document: Row = json.loads(msgspec.json.encode(MADE))
    document["reference"] |= wrong
    assert terminal.policy("empty")[0] == 0
    code, said = terminal.register("empty", document)
    assert code == 1
    assert words in said


def test_a_reference_too_small_for_the_tolerance_says_how_many_it_needs(
    terminal: Terminal, replayed: Server
) -> None:
    assert MADE.reference is not None
    reference = msgspec.structs.replace(MADE.reference, block_means=(0.02, 0.18) * 4)
    manifest = msgspec.structs.replace(MADE, reference=reference)
    watches = {"regression": {**ASKED["regression"], "tolerance": 0.005}}
    terminal.champion("small", manifest, watches=watches)
    assert Replay(server=replayed, model="small").days(lambda p, o: (p, o)) == {200}
    found = terminal.verdicts("small")["regression"]
    assert found["kind"] == "inconclusive"
    assert re.search(
        r"too few for this tolerance: [\d,]+ blocks would do, the reference has 8$", found["reason"]
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "regression", "loss": "squared"}, "an unbounded loss needs clip_difference"),
        ({"loss": "log_loss(cap=1e308)"}, "smaller cap"),
    ],
)
def test_a_comparison_needs_a_loss_with_bounds(terminal: Terminal, changes: Row, words: str) -> None:
    plan = {"promote_if_within": 0.1, "roll_back_if_worse_by": 0.1}
    code, said = terminal.policy("unbounded", rollout=plan, **changes)
    assert code == 1
    assert words in said
    assert "line 1" in said
