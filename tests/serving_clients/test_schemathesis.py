"""Schemathesis reads the OpenAPI document and asks what it allows and what it does not: no answer is 5xx."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import urllib3

from lossloop.app.http import ROUTES
from lossloop.app.http.inference import INFERENCE_ROUTES
from tests.serving_clients.place import MIXED, TABLE, Place, program

EXAMPLES = 2
CONFIG = f"""
[parameters]
"path.model" = ["{TABLE}", "{MIXED}", "nobody"]
"path.version" = ["1", "2", "9", "one"]
"""
"""So that what is asked reaches models that there are."""


@pytest.fixture(scope="module")
def said(served: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """How the run ended, and what it printed."""
    folder = tmp_path_factory.mktemp("schemathesis")
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command: list[str | Path] = [
        program("st"), "--config-file", config, "run", f"{served.rest}/openapi.json",
        "--header", f"Authorization: Bearer {served.token}", "--checks", "not_a_server_error",
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--workers", "2",
        "--generation-deterministic", "--no-color", "--warnings", "off",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


def test_no_answer_is_a_5xx(said: tuple[int, str]) -> None:
    code, words = said
    assert code == 0, words
    assert re.search(r"No issues found", words), words


def test_every_endpoint_was_asked(said: tuple[int, str]) -> None:
    tested = re.search(r"Tested:\s+(\d+)", said[1])
    assert tested is not None, said[1]
    assert int(tested[1]) >= len(ROUTES) + len(INFERENCE_ROUTES), said[1]


def test_the_document_has_every_endpoint(served: Place) -> None:
    answer = urllib3.request("GET", f"{served.rest}/openapi.json", timeout=30)
    found = json.loads(answer.data)
    there = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    wanted = {(route.method, re.sub(r":\w+}", "}", route.path)) for route in ROUTES}
    assert there == wanted | {(route.method, route.path) for route in INFERENCE_ROUTES}
    names = [each["operationId"] for methods in found["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names))
    assert found["paths"]["/v2/health/live"]["get"]["security"] == []
    assert "InferBody" in found["components"]["schemas"]
