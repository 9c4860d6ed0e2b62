"""Executors: one contract over all of them, on real clusters, and what only one of them can get wrong."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lossloop.app.recompute import Question, recompute
from lossloop.app.recompute.history import PIECE_ROWS
from lossloop.core.errors import InputError, MissingExtra, UnknownName
from lossloop.pipelines.executors import (
    DaskExecutor,
    EmbeddedExecutor,
    Executor,
    ExecutorError,
    Piece,
    PieceFailed,
    RayExecutor,
    open_executor,
)
from lossloop.pipelines.executors.checks import CHECKS, check_closing
from tests.app.desk import MODEL
from tests.app.past import Past, labels, rows
from tests.pipelines.clusters import dask_cluster, listening, ray_cluster

PATIENCE = 60.0


@pytest.fixture(scope="module", params=["embedded", "dask", "dask at an address", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One cluster of each kind for all checks; two of them have processes of their own."""
    if request.param == "dask at an address":
        with dask_cluster() as address, open_executor("dask", address=address) as found:
            yield found
    else:
        with open_executor(request.param) as found:
            yield found


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A million predictions of two versions in two roles over five days; outcomes come in any order."""
    count, draw = 2 * PIECE_ROWS + 77_777, np.random.default_rng(11)
    past = Past.at(tmp_path_factory.mktemp("history") / "s")
    past.predicted(
        rows(draw.random(count), version=draw.integers(1, 3, count), role=draw.integers(0, 2, count),
             day=np.arange(count) * 5 // count), range(131_072, count, 131_072),
    )  # fmt: skip
    seqs = draw.permutation(count)[: count * 9 // 10] + 1
    return past.told(labels(seqs, draw.integers(0, 2, len(seqs))), [500_000])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_executor_keeps_the_contract(executor: Executor, check: Callable[[Executor], None]) -> None:
    check(executor)


def test_a_loss_over_history_has_the_same_bits(executor: Executor, history: Past) -> None:
    """Three pieces in chunks that cross their borders; other executors are compared with the embedded one."""
    question = Question(model=MODEL, loss="log_loss(cap=5)", by=("version", "role", "block"))
    with EmbeddedExecutor(workers=1) as plain:
        expected = recompute(history.home, question, plain)
    found = recompute(history.home, question, executor)
    assert len(found.figures) == 20
    assert {**found.plain(), "seconds": None} == {**expected.plain(), "seconds": None}


def test_nothing_that_was_started_listens_beyond_this_machine(executor: Executor) -> None:
    assert executor.workers >= 1
    assert [each for each in listening() if not each.is_loopback] == []


def test_a_machine_that_is_lost_fails_its_piece(executor: Executor) -> None:
    if isinstance(executor, RayExecutor) or list(executor.map(_process, _pieces(1))) == [os.getpid()]:
        pytest.skip("the piece would end this process, or is tried again for long")
    with pytest.raises(PieceFailed, match="piece 0"):
        list(executor.map(_end_the_process, _pieces(1)))
    assert list(executor.map(_same, _pieces(2))) == [0, 1]


def test_a_cluster_that_is_connected_already_is_used_and_left_running(executor: Executor) -> None:
    if not isinstance(executor, RayExecutor):
        pytest.skip("only Ray has one connection per process")
    with RayExecutor() as second:
        assert list(second.map(_same, _pieces(2))) == [0, 1]
    assert list(executor.map(_same, _pieces(2))) == [0, 1]


def test_usage_is_not_reported(executor: Executor) -> None:
    if isinstance(executor, RayExecutor):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_closed_executor_takes_no_work_and_leaves_nothing_behind(executor: Executor) -> None:
    place = getattr(executor, "_place", None)
    check_closing(executor)
    assert place is None or not Path(place).exists()


# The embedded one.


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    with EmbeddedExecutor(workers=3) as executor:
        places = list(executor.map(partial(_meet, meeting=meeting), _pieces(3)))
    assert sorted(places) == [0, 1, 2]


def test_what_has_not_begun_when_the_results_are_given_up_is_not_begun() -> None:
    begun: list[int] = []
    go = threading.Event()
    with EmbeddedExecutor(workers=1) as executor:
        results = executor.map(partial(_note, begun=begun, go=go), _pieces(10))
        go.set()
        assert next(results) == 0
        go.clear()
        while len(begun) < 2:
            time.sleep(0.001)
        results.close()  # type: ignore[attr-defined]
        go.set()
    assert begun == [0, 1]


def test_closing_ends_what_was_drawn_and_not_begun() -> None:
    begun: list[int] = []
    go = threading.Event()
    executor = EmbeddedExecutor(workers=1)
    results = executor.map(partial(_note, begun=begun, go=go), _pieces(10))
    go.set()
    next(results)
    go.clear()
    while len(begun) < 2:
        time.sleep(0.001)
    closing = threading.Thread(target=executor.close)
    closing.start()
    while not executor._closed:
        time.sleep(0.001)
    go.set()
    closing.join(PATIENCE)
    assert (closing.is_alive(), begun) == (False, [0, 1])


def test_an_error_of_ours_is_told_in_its_own_words() -> None:
    with EmbeddedExecutor() as executor, pytest.raises(PieceFailed, match="piece 0 failed: no such thing"):
        list(executor.map(_ours, _pieces(1)))


def test_an_error_of_python_s_is_told_with_its_kind() -> None:
    with EmbeddedExecutor() as executor, pytest.raises(PieceFailed, match="failed: ZeroDivisionError: "):
        list(executor.map(_theirs, _pieces(1)))


def test_it_has_a_worker_per_core() -> None:
    with EmbeddedExecutor() as executor:
        assert 1 <= executor.workers <= (os.cpu_count() or 1)
        assert executor.ahead == 2 * executor.workers


# Opening.


def test_an_executor_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match="unknown executor 'spark'; there are: dask, embedded, ray"):
        open_executor("spark")


def test_the_embedded_executor_has_no_address() -> None:
    with pytest.raises(InputError, match="has no address; use dask or ray"):
        open_executor("embedded", address="tcp://somewhere:1")


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with pytest.raises(ExecutorError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        DaskExecutor("tcp://127.0.0.1:1", patience=0.5)


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ExecutorError, match="no Dask scheduler answers at nowhere://x"):
        DaskExecutor("nowhere://x", patience=0.5)


def test_a_ray_cluster_that_runs_already_is_used() -> None:
    with ray_cluster() as address, RayExecutor(address) as executor:
        assert executor.workers == 1
        (process,) = executor.map(_process, _pieces(1))
        assert process not in (os.getpid(), 0)


def test_a_ray_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(ExecutorError, match="no Ray cluster answers at auto "):
        RayExecutor("auto")


@pytest.mark.parametrize(
    ("name", "module", "words"),
    [
        ("dask", "distributed", r"Dask is not installed; run: pip install 'lossloop\[dask\]'"),
        ("ray", "ray", r"Ray is not installed; run: pip install 'lossloop\[ray\]'"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=words):
        open_executor(name)


def _pieces(count: int) -> list[Piece[int]]:
    return [Piece(name=f"piece {number}", work=number) for number in range(count)]


def _same(number: int) -> int:
    return number


def _process(number: int) -> int:
    return os.getpid()


def _end_the_process(number: int) -> int:
    os._exit(1)


def _meet(number: int, *, meeting: threading.Barrier) -> int:
    return meeting.wait(PATIENCE)


def _note(number: int, *, begun: list[int], go: threading.Event) -> int:
    begun.append(number)
    go.wait(PATIENCE)
    return number


def _ours(number: int) -> int:
    raise InputError("no such thing")


def _theirs(number: int) -> float:
    return 1 / number
