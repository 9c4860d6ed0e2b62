"""YAML with the line of every value, so that an error can say where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from lossloop.core.errors import PolicyError

Path = tuple[str | int, ...]
LONGEST = 100_000
"""Characters of a file."""
MOST_VALUES = 10_000
"""Values of a file: anchors that stand in each other could else make more of them than a memory holds."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain values, and for each path the line (from 1) on which it stands."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int | None:
        """The line of a path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def load(text: str, *, source: str = "policy") -> Document:
    """Read one YAML document; raise PolicyError with the line for bad syntax, repeated keys and too much.

    Keys stay the text that was written: the `on` of a policy is not YAML 1.1's "true".
    """
    lines: dict[Path, int] = {}
    if len(text) > LONGEST:
        raise PolicyError(f"{len(text)} characters; at most {LONGEST} are read", source=source)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise PolicyError("the file is empty", source=source)
        return Document(value=_value(node, (), lines, source), lines=lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise PolicyError(f"not readable as YAML: {error.problem}", line=line, source=source) from None
    except yaml.YAMLError as error:
        raise PolicyError(f"not readable as YAML: {error}", source=source) from None
    except RecursionError:
        raise PolicyError("values stand too deep in each other, or in themselves", source=source) from None


def _value(node: yaml.Node, path: Path, lines: dict[Path, int], source: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > MOST_VALUES:
        raise PolicyError(
            f"more than {MOST_VALUES} values; are anchors repeated in each other?", source=source
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines, source)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, index), lines, source) for index, item in enumerate(node.value)]
    return _plain(node, source) if _is_plain(node) else node.value


def _mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int], source: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = key_node.value, key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise PolicyError("a key must be text", line=line, source=source)
        if key in found:
            raise PolicyError(f"{key!r} is written twice", line=line, source=source)
        lines[(*path, key)] = line
        found[key] = _value(value_node, (*path, key), lines, source)
    return found


def _plain(node: yaml.Node, source: str) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, KeyError, IndexError, OverflowError):
        line, kind = node.start_mark.line + 1, node.tag.rpartition(":")[2]
        raise PolicyError(
            f"{node.value[:40]!r} is not readable as {kind}", line=line, source=source
        ) from None


def _is_plain(node: yaml.Node) -> bool:
    """Numbers, booleans and null; a date or the like stays the text that was written."""
    return node.tag.rpartition(":")[2] in {"int", "float", "bool", "null"}
