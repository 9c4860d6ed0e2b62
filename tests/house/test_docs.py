"""Docs fail here when they lag: commands, endpoints, policy keys, settings, and pages nobody can find."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
import pytest
from cyclopts import App, Parameter

from lossloop.act.policy import ACTIONS, Policy
from lossloop.act.settings import Settings
from lossloop.app import cli
from lossloop.app.http import ROUTES
from lossloop.app.http.inference import INFERENCE_ROUTES
from tests.house.repository import ROOT

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def section(text: str, heading: str) -> str:
    """The text below the heading that names `heading` in code, up to the next heading as high or higher."""
    match = re.search(rf"^(#+) [^\n]*`{re.escape(heading)}[`\s][^\n]*$", text, re.MULTILINE)
    if match is None:
        return ""
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def records_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Every record that a type holds, itself included."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from records_in(hint)
    for inner in get_args(kind):
        yield from records_in(inner)


def words_in(kind: Any) -> Iterator[str]:
    """Every value that an enumeration somewhere in a type can take, and every kind that a record can be."""
    for record in records_in(kind):
        if record.__struct_config__.tag is not None:
            yield str(record.__struct_config__.tag)
        for hint in get_type_hints(record).values():
            for inner in (hint, *get_args(hint)):
                if isinstance(inner, type) and issubclass(inner, Enum):
                    yield from (str(member.value) for member in inner)


def page(name: str) -> str:
    """A page of the reference; nothing if there is none."""
    path = REFERENCE / name
    return path.read_text() if path.exists() else ""


def commands(app: App) -> dict[str, list[str]]:
    """Each command of a terminal program and its options; what it takes by position stands in its heading."""
    found: dict[str, list[str]] = {}
    for name in app:
        if name.startswith("-"):
            continue
        if inner := commands(app[name]):  # a family of commands, each of two words
            found |= {f"{name} {own}": options for own, options in inner.items()}
            continue
        found[name] = sorted(
            option
            for argument in app[name].assemble_argument_collection()
            if argument.field_info.is_keyword_only
            for option in argument.names
            if option.startswith("--") and not option.startswith("--no-")
        )
    return found


def rows_of(text: str) -> set[str]:
    """What the first column of the tables names in code."""
    return set(re.findall(r"^\| `([^`{]+)` \|", text, re.MULTILINE))


def test_every_key_of_a_policy_is_a_row_of_its_reference() -> None:
    records = [record for record in records_in(Policy) if record.__name__ not in ("Cut", "Quota")]  # in words
    keys = {field for record in records for field in record.__struct_fields__}
    tags = {str(field) for record in records if (field := record.__struct_config__.tag_field)}
    assert rows_of(page("policy.md")) == keys | tags


def test_every_word_that_a_policy_can_say_is_in_its_reference() -> None:
    text = page("policy.md")
    missing = [
        word for word in {*words_in(Policy), *ACTIONS} if not re.search(rf"`{{?{re.escape(word)}\b", text)
    ]
    assert not missing


def test_every_setting_is_a_row_of_its_reference() -> None:
    assert rows_of(page("settings.md")) == set(Settings.__struct_fields__)


def test_every_command_and_its_options_are_documented() -> None:
    text = page("cli.md")
    lacking = {
        f"lossloop {command}": [
            name for name in options if f"`{name}" not in section(text, f"lossloop {command}")
        ]
        for command, options in commands(cli.app).items()
    }
    assert not {name: options for name, options in lacking.items() if options or not section(text, name)}


def test_every_endpoint_is_documented() -> None:
    text = page("http.md")
    routes = [f"{route.method} {route.path}" for route in ROUTES]
    routes += [f"{route.method} {route.path}" for route in INFERENCE_ROUTES]
    assert not [route for route in routes if not section(text, route)]


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_every_page_can_be_found(path: Path) -> None:
    listed = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert str(path.relative_to(DOCS)) in listed


def test_docs_link_to_pages_that_are_there() -> None:
    """What MkDocs does not see: links between Markdown files outside docs/."""
    broken = [
        f"{path.name}: {target}"
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text())
        if not (ROOT / target).exists()
    ]
    assert not broken


def test_a_section_ends_at_the_next_heading_as_high() -> None:
    text = "# A\n\n## `lossloop up`\n\none\n\n### more\n\ntwo\n\n## `lossloop down`\n\nthree\n"
    assert section(text, "lossloop up").split() == ["one", "###", "more", "two"]
    assert section(text, "lossloop gone") == ""


def test_a_heading_may_name_arguments() -> None:
    assert section("## `lossloop promote MODEL`\n\nit\n", "lossloop promote").strip() == "it"


def test_the_options_of_a_command_are_found() -> None:
    app = App(name="x")

    @app.command
    def up(
        home: str, *, port: int = 1, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False
    ) -> None:
        """Never called."""

    assert commands(app)["up"] == ["--json", "--port"]
