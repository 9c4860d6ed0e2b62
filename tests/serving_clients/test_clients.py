"""Clients that others wrote get what they expect: Triton's and KServe's, over REST and gRPC."""

from __future__ import annotations

import pytest

from tests.serving_clients.place import Place, cases

TRITON, KSERVE = "triton_cases.py", "kserve_cases.py"


@pytest.fixture(scope="module")
def triton(served: Place) -> dict[str, str]:
    return served.run(TRITON)


@pytest.fixture(scope="module")
def kserve(served: Place) -> dict[str, str]:
    return served.run(KSERVE)


@pytest.mark.parametrize("case", cases(TRITON))
def test_triton(triton: dict[str, str], case: str) -> None:
    assert not triton[case], triton[case]


@pytest.mark.parametrize("case", cases(KSERVE))
def test_kserve(kserve: dict[str, str], case: str) -> None:
    assert not kserve[case], kserve[case]
