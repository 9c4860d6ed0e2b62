from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lossloop.pipelines.executors import Executor, open_executor
from lossloop.pipelines.executors.checks import CHECKS, check_closing


@pytest.fixture(scope="module", params=["embedded", "dask", "ray"])
def executor(request):
    with open_executor(request.param) as found:
        yield found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_executor_keeps_the_contract(executor, check):
    check(executor)


def test_close(executor):
    check_closing(executor)
