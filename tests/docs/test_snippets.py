"""Policies and manifests that stand in the pages without a name of their own are read as they stand there.

Files with a title are used by `test_pages`; what else a page shows as YAML or JSON is copied by readers too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from lossloop.act.policy import read_policy
from lossloop.core.serving import Limit, Then
from lossloop.registry import Manifest
from tests.docs.pages import Block, blocks
from tests.house.repository import ROOT

DOCS = ROOT / "docs"
KEYS = {
    "serving",
    "check",
    "experiment",
    "rollout",
    "labels",
    "watches",
    "approve",
    "budget",
    "mode",
    "beside",
}
"""A block is of a policy where all its keys are among these."""
BASE: dict[str, Any] = {
    "model": "late", "task": "regression", "loss": "absolute(cap=60)", "labels": {"mature_after": "1d"}
}  # fmt: skip


def pages() -> Iterator[Path]:
    for folder in ("how-to", "reference", "explanation", "tutorial"):
        yield from sorted((DOCS / folder).glob("*.md"))


def untitled(language: str) -> Iterator[tuple[str, Block]]:
    """Blocks of a language that stand for themselves, each with its page and number."""
    for page in pages():
        for number, block in enumerate(blocks(page)):
            if block.language == language and not block.title:
                yield f"{page.parent.name}/{page.stem}-{number}", block


def policies() -> Iterator[Any]:
    for name, block in untitled("yaml"):
        found = yaml.safe_load(block.text)
        if isinstance(found, dict) and found and set(found) <= KEYS:
            yield pytest.param(found, id=name)


def manifests() -> Iterator[Any]:
    for name, block in untitled("json"):
        found = json.loads(block.text)
        if isinstance(found, dict) and "runtime" in found:
            yield pytest.param(found, id=name)


@pytest.mark.parametrize("written", list(policies()))
def test_a_part_of_a_policy_can_be_put_into_one(written: dict[str, Any]) -> None:
    policy = read_policy(yaml.safe_dump({**BASE, **written}), source="page")
    if "serving" in written:
        assert list(policy.serving.problems(policy.task)) == []


@pytest.mark.parametrize("written", list(manifests()))
def test_a_manifest_is_one(written: dict[str, Any]) -> None:
    manifest = msgspec.convert(written, Manifest)
    assert manifest.runtime == written["runtime"]
    assert [each.name for each in manifest.features] == [each["name"] for each in written.get("features", [])]


def test_the_pages_of_serving_are_among_them() -> None:
    found = {each.id for each in (*policies(), *manifests())}
    pages_of = {str(each).rpartition("-")[0] for each in found}
    assert {
        "how-to/keep-a-holdout", "how-to/limit-what-a-model-may-do", "how-to/models-from-code",
        "how-to/bring-your-model", "how-to/serve-onnx",
    } <= pages_of  # fmt: skip


def hidden(limits: tuple[Limit, ...]) -> list[str]:
    """Limits that no answer reaches, as one before them cuts every answer to what they allow."""
    low, high, found = -math.inf, math.inf, []
    for limit in limits:
        if (limit.low is None or limit.low <= low) and (limit.high is None or limit.high >= high):
            found.append(limit.words)
        if limit.then is Then.CLAMP and not limit.where:
            low = low if limit.low is None else max(low, limit.low)
            high = high if limit.high is None else min(high, limit.high)
    return found


def test_no_limit_is_hidden_by_one_before_it() -> None:
    first, second = Limit(low=0, high=5000), Limit(high=20_000, then=Then.REFUSE)
    assert hidden((first, second)) == ["y_pred <= 20000"]
    assert hidden((second, first)) == []
    for each in policies():
        policy = read_policy(yaml.safe_dump({**BASE, **each.values[0]}), source="page")
        assert hidden(policy.serving.limits) == [], each.id


def test_every_how_to_is_in_the_table_of_contents_and_on_the_first_page() -> None:
    contents, first = (ROOT / "mkdocs.yml").read_text(), (DOCS / "index.md").read_text()
    for page in (DOCS / "how-to").glob("*.md"):
        assert contents.count(f"how-to/{page.name}\n") == 1, page.name
        assert f"(how-to/{page.name})" in first, page.name
