"""Inputs and outputs elsewhere: an S3 that a real server speaks, and file systems of fsspec."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from lossloop.app.predicting import inputs
from lossloop.app.predicting.places import filesystem_of, is_address, shown
from lossloop.app.system import free_port
from lossloop.core.errors import InputError
from tests.app.predicting.desk import answer, csv_of, expected, house, parquet, read, rows

APART = Path(f"{sys.prefix}-apart") / "bin" / "moto_server"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A bucket of a server that speaks S3; found by the variables that Amazon's own tools read."""
    if not APART.exists():
        pytest.skip("the environment of other people's clients is not there: make setup")
    port = free_port("127.0.0.1")
    command = [str(APART), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patch = pytest.MonkeyPatch()
    try:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        _wait(f"http://127.0.0.1:{port}/")
        filesystem, _ = pafs.FileSystem.from_uri("s3://bucket?allow_bucket_creation=true")
        filesystem.create_dir("bucket")
        yield "s3://bucket"
    finally:
        patch.undo()
        process.kill()
        process.wait()


def _wait(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(url, timeout=PATIENCE).close()
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "moto's server did not start"
            time.sleep(0.05)
        else:
            return


def put(path: Path, place: str) -> None:
    filesystem, there = filesystem_of(place)
    with filesystem.open_output_stream(there) as stream:
        stream.write(path.read_bytes())


def test_rows_of_a_bucket_are_answered_into_it(tmp_path: Path, store: str) -> None:
    home = house(tmp_path / "s")
    put(parquet(tmp_path / "a.parquet", rows(50)), f"{store}/in/a.parquet")
    put(csv_of(tmp_path / "b.csv", rows(50, first=50)), f"{store}/in/more/b.csv")
    put(csv_of(tmp_path / "c.csv", rows(50, first=50)), f"{store}/in/_more/c.csv")
    report = answer(home, [f"{store}/in"], f"{store}/out/answers.parquet")
    assert report.batch.taken == 100
    assert [each.name for each in report.batch.inputs] == [
        "s3://bucket/in/a.parquet", "s3://bucket/in/more/b.csv"
    ]  # fmt: skip
    filesystem, there = filesystem_of(f"{store}/out/answers.parquet")
    with filesystem.open_input_file(there) as file:
        (tmp_path / "o.parquet").write_bytes(file.read())
    found = read(tmp_path / "o.parquet")
    assert found["y_pred"].to_pylist() == expected(rows(100))
    assert not list(tmp_path.glob("s/batches/*/*.parquet"))
    assert answer(home, [f"{store}/in"], f"{store}/out/answers.parquet").read == 0


def test_nothing_there_says_so(store: str) -> None:
    with pytest.raises(InputError, match="there is nothing at s3://bucket/nothing"):
        inputs([f"{store}/nothing"])


def test_a_file_system_of_fsspec(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    put(parquet(tmp_path / "a.parquet", rows(20)), "memory://in/a.parquet")
    answer(home, ["memory://in/a.parquet"], "memory://in/o.csv")
    filesystem, there = filesystem_of("memory://in/o.csv")
    with filesystem.open_input_file(there) as file:
        assert file.read().startswith(b'"id","y_pred","version"\n"r0",11,1\n')


def test_addresses_are_shown_without_their_secrets() -> None:
    assert shown("s3://key:secret@bucket/a.csv?endpoint_override=x") == "s3://bucket/a.csv"
    assert shown("data/a.csv") == "data/a.csv"
    assert is_address("s3://b/a")
    assert not is_address("a/b.csv")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("nowhere/*.csv", "is no file"),
        ("nosuch://b/a.csv", "nosuch"),
        ("empty", "has no file that ends with"),
    ],
)
def test_inputs_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        inputs([said])


def test_an_input_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", rows(3))
    assert len(inputs([str(path), str(tmp_path / "*.parquet"), str(tmp_path)])) == 1
