"""A version's own code in a process of its own: it answers, and whatever it does, the others go on."""

from __future__ import annotations

import functools
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import Forbidden, InputError, LossloopError, UnknownName
from lossloop.registry import Feature
from lossloop.registry.process import Process
from lossloop.serve.runtimes.checks import check_runtime
from lossloop.serve.runtimes.child import ChildRuntime
from lossloop.serve.runtimes.inside import ModelBadAnswer, ModelEnded, ModelRaised, ModelTimedOut
from lossloop.serve.runtimes.permits import Permit, required
from tests.serve.code import APART, ORDERS, SUM, gone, loaded, order, packed, rows

MiB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own fences")
apart = pytest.mark.skipif(not APART.exists(), reason="MLflow lies in another environment")


@pytest.fixture(scope="module")
def obeys() -> Iterator[ChildRuntime]:
    """One process for tests that do not end it."""
    found = loaded()
    yield found
    found.close()


def within(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(runtime: ChildRuntime) -> bool:
    """Whether there is a process that answers."""
    try:
        return bool(runtime.predict(rows(2.0))[0] == 2.0)
    except ModelEnded:
        return False


# What it answers.


def test_it_keeps_the_contract_of_a_runtime(obeys: ChildRuntime) -> None:
    check_runtime(obeys, rows(1.0, -2.5, 0.0))
    assert not obeys.native


def test_numbers_nulls_and_texts_arrive_as_they_are() -> None:
    runtime = loaded(SUM)
    columns = rows(1.5, np.nan, -np.inf, 1e308)
    columns["colour"][:] = ["red", None, "", "\ud7ff\x00ü"]
    found = runtime.predict(columns)
    assert np.array_equal(found, [4.5, np.nan, -np.inf, 1e308], equal_nan=True)
    assert runtime.predict(rows()).shape == (0,)
    runtime.close()


@pytest.mark.parametrize(("shape", "found"), [("1", (1,)), ("1,1", (1,)), ("1,3", (1, 3)), ("0", (0,))])
def test_answers_are_one_number_a_row_or_several(
    obeys: ChildRuntime, shape: str, found: tuple[int, ...]
) -> None:
    assert obeys.predict(order(f"shape {shape}")).shape == found


@pytest.mark.parametrize("shape", ["1,1,1", "1,2,3"])
def test_answers_of_another_shape_are_an_error(obeys: ChildRuntime, shape: str) -> None:
    with pytest.raises(ModelRaised, match=r"the answers have the shape .*; \(n,\) or \(n, k\) is taken"):
        obeys.predict(order(f"shape {shape}"))


CLASS = b"""
class Model:
    def load(self, folder):
        self.bias = float(open(folder + "/bias.txt").read())
    def predict(self, columns):
        return columns["x"] + self.bias
"""


@pytest.mark.parametrize(
    ("artifact", "entry"),
    [
        (packed(model__py=CLASS, bias__txt=b"2"), "model"),
        (packed(mine__py=CLASS, bias__txt=b"2"), "mine:Model"),
        (
            packed(model__py=b"from helper import predict", helper__py=b"def predict(c): return c['x'] + 2"),
            "model",
        ),
        (b"def ask(columns): return columns['x'] + 2", "model:ask"),
        (
            b"class A:\n    def predict(self, columns): return columns['x'] + 2\nmade = A().predict",
            "model:made",
        ),
    ],
)
def test_python_is_a_file_or_a_zip_with_a_function_or_a_class(artifact: bytes, entry: str) -> None:
    runtime = loaded(artifact, entry=entry)
    assert runtime.predict(rows(1.0, 2.0)).tolist() == [3.0, 4.0]
    runtime.close()


def test_a_pickled_estimator_is_asked_for_its_values() -> None:
    model = SimpleNamespace(predict=functools.partial(np.sum, axis=1))
    runtime = loaded(pickle.dumps(model), "pickle", features=(Feature(name="x"), Feature(name="k")))
    found = runtime.predict({"x": np.array([1.0, 2.0]), "k": np.array([0.5, 0.25])})
    assert found.tolist() == [1.5, 2.25]
    runtime.close()


MLMODEL = b"""
flavors:
  python_function: {loader_module: loading, code: code, data: data, env: {}, python_version: 3.11.0}
signature:
  inputs: '[{"type": "double", "name": "x"}, {"type": "long", "name": "k"}]'
  outputs: '[{"type": "double"}]'
"""
LOADING = b"""
class Model:
    def predict(self, frame, params=None):
        assert [str(kind) for kind in frame.dtypes] == ["float64", "int64"], frame.dtypes
        return frame["x"] * 2 + frame["k"]

def _load_pyfunc(path):
    return Model()
"""


@apart
def test_a_folder_of_mlflow_runs_on_another_environment_s_interpreter() -> None:
    folder = {"m/MLmodel": MLMODEL, "m/code/loading__py": LOADING, "m/data/weights": b"none"}
    runtime = loaded(
        packed(**folder), "mlflow", python="mlflow", interpreters={"mlflow": str(APART)},
        features=(Feature(name="x"), Feature(name="k")),
    )  # fmt: skip
    found = runtime.predict({"x": np.array([1.0, 5.0]), "k": np.array([0.0, 1.0])})
    assert np.allclose(found, [2.0, 11.0])
    runtime.close()


# What cannot be loaded.


@pytest.mark.parametrize(
    ("artifact", "runtime", "words"),
    [
        (b"def predict(:", "python", "SyntaxError"),
        (b"x = 1", "python", "model has no function predict, nor a class Model"),
        (b"raise RuntimeError('no luck')", "python", "RuntimeError: no luck"),
        (b"predict = 3", "python", "is neither a function nor a class"),
        (b"not a pickle", "pickle", "Error"),
        (b"not a tar", "mlflow", "ReadError"),
        (packed(a__txt=b"x"), "mlflow", "there is no file MLmodel"),
        (b"import sys; sys.exit(3)", "python", "SystemExit: 3"),
    ],
)
def test_an_artifact_that_cannot_be_loaded_says_why(artifact: bytes, runtime: str, words: str) -> None:
    with pytest.raises(ModelRaised, match=words):
        loaded(artifact, runtime)


def test_a_process_that_ends_or_hangs_while_it_loads_is_told() -> None:
    with pytest.raises(ModelEnded, match=r"the process of m:1 ended with exit code 5: last words"):
        loaded(b"import os\nprint('last words', flush=True)\nos._exit(5)")
    with pytest.raises(ModelTimedOut, match=r"m:1 did not come back within 0.5 s and was killed"):
        loaded(b"import time; time.sleep(1000)", start_seconds=0.5)


def test_an_interpreter_is_one_that_an_admin_has_named() -> None:
    with pytest.raises(UnknownName, match=r"unknown interpreter 'mine'; did you mean 'mined'\?; an admin"):
        loaded(python="mine", interpreters={"mined": sys.executable})
    with pytest.raises(ModelEnded, match="cannot run /nowhere/python: No such file or directory"):
        loaded(python="mine", interpreters={"mine": "/nowhere/python"})


def test_without_a_permit_nothing_is_run() -> None:
    with pytest.raises(
        Forbidden, match="runs code of its own: registering it needs an admin, or a signature"
    ):
        required(None, "python")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"entry": "a b"}, "process.entry"),
        ({"entry": "../x"}, "process.entry"),
        ({"entry": "os:system('x')"}, "process.entry"),
        ({"memory": 1}, "process.memory"),
        ({"seconds": 0}, "process.seconds"),
        ({"seconds": float("nan")}, "process.seconds"),
        ({"start_seconds": 1e9}, "process.start_seconds"),
    ],
)
def test_limits_that_are_none_are_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        Process(**given)  # type: ignore[arg-type]
    assert caught.value.field == field


# What may fail, and how it goes on.


def test_what_it_raises_is_told_in_a_line_and_the_process_goes_on(obeys: ChildRuntime) -> None:
    before = obeys.pid
    with pytest.raises(ModelRaised, match=r"^ValueError: this is  bad  $"):
        obeys.predict(order("fail \x1bbad\n\x00"))
    assert answers(obeys)
    assert obeys.pid == before


def test_one_that_hangs_is_killed_and_another_takes_its_place() -> None:
    runtime = loaded(seconds=0.3)
    first = runtime.pid
    assert first
    with pytest.raises(ModelTimedOut, match=r"m:1 did not come back within 0.3 s and was killed"):
        runtime.predict(order("hang"))
    assert gone(first)
    within(lambda: answers(runtime))
    assert runtime.pid != first
    runtime.close()


def test_one_that_ends_is_started_again_and_rows_meanwhile_fail_at_once() -> None:
    runtime = loaded()
    with pytest.raises(ModelEnded, match="the process of m:1 ended with exit code 3"):
        runtime.predict(order("end 3"))
    with pytest.raises(
        ModelEnded, match=r"is being started again: the process of m:1 ended with exit code 3"
    ):
        runtime.predict(rows(1.0))
    within(lambda: answers(runtime))
    os.kill(runtime.pid or 0, 9)
    with pytest.raises(ModelEnded):
        runtime.predict(order("asked"))
    within(lambda: answers(runtime))
    runtime.close()


@linux
def test_one_that_leaks_is_exchanged_without_a_row_that_fails() -> None:
    runtime = loaded(memory=150 * MiB)
    first = runtime.pid
    for _ in range(3):
        assert runtime.predict(order(f"leak {64 * MiB}")).tolist() == [1.0]
    within(lambda: answers(runtime) and runtime.pid != first)
    assert gone(first or 0)
    assert runtime.predict(order("asked"))[0] < 0.005
    runtime.close()


@linux
def test_more_memory_than_it_may_have_is_an_error_of_its_own(obeys: ChildRuntime) -> None:
    with pytest.raises(ModelRaised, match="MemoryError"):
        obeys.predict(order(f"want {64 << 30}"))
    assert answers(obeys)


def test_what_is_no_answer_ends_the_process() -> None:
    runtime = loaded()
    with pytest.raises(ModelBadAnswer, match="m:1 answered with"):
        runtime.predict(order("noise"))
    within(lambda: answers(runtime))
    runtime.close()


def test_all_that_it_started_ends_with_it() -> None:
    runtime = loaded()
    grandchild = int(runtime.predict(order("start"))[0])
    child = runtime.pid
    del runtime
    assert gone(child or 0)
    assert gone(grandchild)


PARENT = """
import os, sys
from tests.serve.code import loaded, order
runtime = loaded(seconds=1000)
print(int(runtime.predict(order("start"))[0]), runtime.pid, flush=True)
runtime.predict(order("hang"))
"""


def test_it_ends_when_the_process_that_started_it_is_killed_also_while_it_computes() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(each) for each in parent.stdout.readline().split()]
        time.sleep(0.1)
        parent.kill()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


# What it is given, and what is kept from it.


def test_it_is_given_no_environment_but_a_place_of_its_own(
    obeys: ChildRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSLOOP_TOKEN", "secret")
    runtime = loaded()
    with pytest.raises(ModelRaised) as caught:
        runtime.predict(order("environment"))
    names = str(caught.value).partition("'")[2].rstrip("'").split(",")
    assert {*names} <= {
        "HOME", "TMPDIR", "PATH", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    }  # fmt: skip
    runtime.close()


@linux
def test_files_outside_of_its_place_are_kept_from_it(obeys: ChildRuntime, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("ll_secret")
    for what in (
        f"read {secret}",
        f"write {secret}",
        f"read /proc/{os.getpid()}/environ",
        "read /etc/shadow",
    ):
        with pytest.raises(ModelRaised, match=r"PermissionError: \[Errno 13\]"):
            obeys.predict(order(what))
    assert secret.read_text() == "ll_secret"
    obeys.predict(order("write own.txt"))
    assert obeys.predict(order("read own.txt")).tolist() == [1.0]


@linux
def test_it_cannot_signal_those_outside_nor_connect_unless_it_may(obeys: ChildRuntime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for what in (f"kill {os.getpid()}", f"connect {port}"):
            with pytest.raises(ModelRaised, match="PermissionError"):
                obeys.predict(order(what))
        runtime = loaded(network=True)
        assert runtime.predict(order(f"connect {port}")).tolist() == [1.0]
        runtime.close()


def test_what_it_prints_stands_in_the_log_with_its_name_and_no_more_than_so_much(
    capfd: pytest.CaptureFixture[str],
) -> None:
    runtime = loaded()
    runtime.predict(order("tell hello|\x1b[31mred" + "|again" * 500))
    runtime.close()
    told = capfd.readouterr().err.splitlines()
    assert told[:2] == ["[m:1] hello", "[m:1]  [31mred"]
    assert len(told) == 50


def test_nothing_of_it_is_left_when_it_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    runtime = loaded()
    assert len(list(tmp_path.iterdir())) == 2
    runtime.close()
    runtime.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(LossloopError):
        runtime.predict(rows(1.0))


@given(st.lists(st.tuples(st.floats(), st.none() | st.text(st.characters(exclude_categories=["Cs"])))))
def test_any_rows_are_answered_as_if_there_were_no_process(rows_: list[tuple[float, str | None]]) -> None:
    runtime = _summing()
    columns = rows(*(x for x, _ in rows_))
    columns["colour"][:] = [colour for _, colour in rows_]
    wanted = [x + len(colour or "") for x, colour in rows_]
    assert np.array_equal(runtime.predict(columns), wanted, equal_nan=True)


_made: list[ChildRuntime] = []


def _summing() -> ChildRuntime:
    if not _made:
        _made.append(loaded(SUM))
    return _made[0]


def test_permits_name_what_they_are_for() -> None:
    assert Permit(name="m:1").interpreter("", "own") == "own"
    assert b"predict" in ORDERS
