"""A path leads to one endpoint, with the names that stand in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Match, Route

from lossloop.app.http.endpoints import ROUTES
from lossloop.app.http.routing import Routes

FOUND = Routes((each.method, each.path, each.path) for each in ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        ("GET", "/v1/health", {}),
        ("GET", "/v1/models/m", {"model": "m"}),
        ("POST", "/v1/models/a b/predict", {"model": "a b"}),
        ("POST", "/v1/models/predict/predict", {"model": "predict"}),
        ("GET", "/v1/models/m/labels/wanted", {"model": "m"}),
    ],
)
def test_a_path_is_found_with_its_names(method: str, path: str, names: dict[str, str]) -> None:
    found = FOUND.find(method, path)
    assert found is not None
    template, values = found
    assert (template.format(**values), values) == (path, names)


@pytest.mark.parametrize(
    "path", ["", "/", "v1/health", "/v1/health/", "/v1/models//predict", "/v1/models/m/predict/x", "/v1/{}"]
)
def test_what_is_not_there_is_not_found(path: str) -> None:
    assert FOUND.find("GET", path) is None
    assert FOUND.find("POST", path) is None


def test_a_name_with_slashes_is_left_to_others() -> None:
    assert FOUND.find("GET", "/v1/models/m/predictions/a/b") is None


segments = st.sampled_from(["", "v1", "models", "m", "predict", "labels", "wanted", "health", "{}", "loss"])


@given(st.lists(segments, max_size=6), st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]))
def test_the_tree_finds_what_starlette_finds(path: list[str], method: str) -> None:
    text = "/" + "/".join(path)
    scope = {"type": "http", "method": method, "path": text}
    wanted = []
    for each in ROUTES:
        if ":path}" not in each.path and each.method == method:
            match, child = Route(each.path, _nothing, methods=[each.method]).matches(scope)
            if match is Match.FULL:
                wanted.append((each.path, child["path_params"]))
    found = FOUND.find(method, text)
    assert ([] if found is None else [found]) == wanted[:1]


async def _nothing() -> None:
    raise AssertionError
