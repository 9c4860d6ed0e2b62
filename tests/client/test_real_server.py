"""The client against the real server, which is killed, restarted and fed poison: each row counts once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import lossloop as ll
from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import init
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame, Kind
from tests.app.desk import external, policy_text
from tests.app.processes import on_linux, started
from tests.app.server import Server, serving, within
from tests.client.taking import PATIENCE, client_of, refused_in, spool_files
from tests.client.test_processes import killed, running


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server") / "state") as found:
        yield found


@pytest.fixture
def model(real: Server) -> str:
    return real.model(versions=0)


def logged(state: Path, model: str, kind: Kind) -> list[str]:
    """The ids of facts of a model, as they lie in the log."""
    reader = SegmentLog(state / "log").reader()
    frames = [entry.frame for entry in reader.read({}, most=1 << 30)]
    batches = [each.batch for each in frames if isinstance(each, Frame) and each.kind is kind]
    own = [batch for batch in batches if batch.schema.metadata[b"model"] == model.encode()]
    reader.close()
    return [id for batch in own for id in batch.column("id").to_pylist()]


def counted(server: Server, model: str) -> dict[str, int]:
    found: dict[str, int] = server.call("GET", f"/v1/models/{model}").body["counts"]
    return found


def await_more(client: ll.Client) -> None:
    """Wait until the server takes rows, also after it came back."""
    sent = client.backlog().sent
    within(lambda: client.backlog().sent > sent)


def sender(server: Server, spool: Path) -> ll.Client:
    return ll.Client(server.up.url, token=server.home.tokens.read(), spool=spool, linger=0.01)


def test_predictions_and_outcomes_are_joined(real: Server, model: str, tmp_path: Path) -> None:
    with sender(real, tmp_path) as client:
        id = client.send_prediction(
            model, version=1, y_pred=0.25, unit="card-1", features={"amount": 12.5, "none": None},
            role="champion", propensity=1.0,
        )  # fmt: skip
        client.send_outcome(model, id=id, y_true=True)
        assert client.flush(PATIENCE) == 0
        within(lambda: (real.kept(model, id) or {}).get("y_true") == 1.0)
        assert client.backlog().refused == 0
    found = real.kept(model, id)
    assert found is not None
    assert (found["y_pred"], found["unit"]) == (0.25, "card-1")


def test_poison_in_the_middle_costs_only_itself(real: Server, model: str, tmp_path: Path) -> None:
    with sender(real, tmp_path) as client:
        rows = [{"id": f"a{n}", "version": 1, "y_pred": 0.5} for n in range(100)]
        rows[40]["y_pred"] = float("nan")
        rows[41]["version"] = 99
        rows[42]["unit"] = "x" * 1000
        rows[43]["time"] = "2199-01-01T00:00:00Z"
        client.send_predictions(model, rows)
        client.send_predictions("no such model", rows[:2])
        client.send_predictions(model, [{"id": "after", "version": 1, "y_pred": 0.5}])
        assert client.flush(PATIENCE) == 0
        assert (client.backlog().sent, client.backlog().refused) == (97, 6)
        within(lambda: counted(real, model).get("predictions") == 97)
    refused = {(line["model"], line["row"]["id"]): line for line in refused_in(tmp_path)}
    assert set(refused) == {(model, f"a{n}") for n in range(40, 44)} | {
        ("no such model", f"a{n}") for n in range(2)
    }
    assert "unknown version" in refused[model, "a41"]["detail"]
    assert refused["no such model", "a0"]["status"] == 404
    assert spool_files(tmp_path) == []


def test_a_service_that_is_killed_is_counted_once(real: Server, model: str, tmp_path: Path) -> None:
    handed_over: list[str] = []
    for after in (5, 200, 400):
        with running(real.up.url, tmp_path, TOKEN=real.home.tokens.read(), MODEL=model) as process:
            handed_over += killed(process, after)
    with sender(real, tmp_path) as heir:
        assert heir.flush(PATIENCE) == 0
    ids = set(logged(real.home.path, model, Kind.PREDICTION))
    assert set(handed_over) <= ids
    assert len(ids) - len(handed_over) <= 3  # one may have died before it could say so
    within(lambda: counted(real, model).get("predictions", 0) >= len(ids))
    assert counted(real, model)["predictions"] == len(ids)


@on_linux
@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_has_every_row_once(tmp_path: Path) -> None:
    state, spool = tmp_path / "state", tmp_path / "spool"
    home, model = init(state, Settings()), "m"
    operate.set_policy(home, policy_text(model=model))
    operate.register(home, model, external())
    operate.obey(home, Promote(model=model, version=1))
    token = home.tokens.read()
    with started(state) as first:
        client = ll.Client(first.url, token=token, spool=spool, linger=0.01, batch=100, timeout=5)
        for number in range(1500):
            client.send_prediction(model, id=f"a{number}", version=1, y_pred=0.5)
            client.send_outcome(model, id=f"a{number}", y_true=number % 2)
            if number in (300, 800):
                await_more(client)
                os.kill(first.pids["server"] if number == 300 else first.process.pid, signal.SIGKILL)
        left = client.close(0)
    with started(state) as second:
        stranger = client_of(second.url, spool)
        within(lambda: stranger.backlog().problem.startswith("401: "))
        assert stranger.close(0) == left  # nothing is given up for a wrong token
        with ll.Client(second.url, token=token, spool=spool) as heir:
            assert left > 0
            assert heir.flush(PATIENCE) == 0
            assert heir.backlog().refused == 0
            within(lambda: heir.status(model)["counts"].get("outcomes", 0) == 1500)
            counts = heir.status(model)["counts"]
    assert (counts["predictions"], counts["outcomes"]) == (1500, 1500)
    assert (counts.get("waiting", 0), counts.get("conflicts", 0)) == (0, 0)
    assert set(logged(state, model, Kind.PREDICTION)) == {f"a{n}" for n in range(1500)}
    assert set(logged(state, model, Kind.OUTCOME)) == {f"a{n}" for n in range(1500)}
