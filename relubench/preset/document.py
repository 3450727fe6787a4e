"""A YAML file as plain values that remember their lines.

Only mappings with text keys, lists and scalars are accepted: no tags, no anchors, no merge keys, no key twice. Without
aliases a file cannot grow when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from relubench.errors import UsageError

MOST_BYTES = 1_000_000
MOST_DEPTH = 20

Key = tuple[str, ...]

SCALARS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))


@dataclass(slots=True)
class Document:
    """The values of a file, and where each of them stands."""

    name: str
    """The file as the user would write it."""
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    """Path of keys (and places in lists) -> line, from 1."""

    def line(self, path: Sequence[str]) -> int:
        """The line of the value at `path`, or of the nearest one that holds it."""
        for length in range(len(path), 0, -1):
            if (found := self.lines.get(tuple(path[:length]))) is not None:
                return found
        return 1

    def refuse(self, path: Sequence[str], rule: str, hint: str) -> UsageError:
        """The error to raise about the value at `path`."""
        return UsageError(f"{self.name}:{self.line(path)}: {rule}", hint)


def read_document(path: Path, name: str) -> Document:
    """The file's values; raises UsageError with file and line for whatever is not plain YAML."""
    document = Document(name)
    try:
        root = _parse(_text(path, name), name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UsageError(f"{place}: this is not YAML: {error.problem or error.context}", _YAML_HINT) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: this is not YAML: {str(error).splitlines()[0]}", _YAML_HINT) from error
    except RecursionError as error:
        raise UsageError(f"{name}: it is nested too deeply", "a preset needs no more than five levels") from error
    if root is None:
        raise UsageError(f"{name} is empty", _START_HINT)
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{name}:{root.start_mark.line + 1}: a preset is a list of KEY: VALUE lines", _START_HINT)
    document.values = _value(document, root, ())
    return document


_YAML_HINT = "quote text that holds ': ' or ' #', indent with spaces"
_START_HINT = "`relubench run NAME --print > mine.yaml` writes one to start from"


def _text(path: Path, name: str) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{name} is larger than {MOST_BYTES:,} bytes", "a preset is a page of text")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text", "save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", "give a YAML file that can be read") from error


def _parse(text: str, name: str) -> yaml.Node | None:
    """The file as nodes; an anchor or an alias ends it at the event, before anything is made of it."""
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise UsageError(
                f"{name}:{line}: anchors (&) and aliases (*) are not allowed here",
                "write the values out",
            )
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _value(document: Document, node: yaml.Node, path: Key) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > MOST_DEPTH:
        raise document.refuse(path, "it is nested too deeply", "a preset needs no more than five levels")
    if isinstance(node, yaml.MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_value(document, one, (*path, str(place))) for place, one in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag in SCALARS:
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            raise document.refuse(path, f"{node.value!r} is not a value: {error}", "quote it if it is text") from error
    raise document.refuse(
        path, f"the tag {node.tag.removeprefix('tag:yaml.org,2002:')} is not allowed", "write plain text or numbers"
    )


def _mapping(document: Document, node: yaml.MappingNode, path: Key) -> dict[str, Any]:
    if node.tag != "tag:yaml.org,2002:map":
        raise document.refuse(path, f"the tag {node.tag} is not allowed", "write plain text or numbers")
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            raise UsageError(f"{document.name}:{line}: a key is text", "quote it, or write KEY: VALUE")
        key, here = key_node.value, (*path, key_node.value)
        if key in found:
            dotted = ".".join(here)
            raise UsageError(
                f"{document.name}:{line}: the key {dotted} stands there already, in line {document.lines[here]}",
                "keep one of the two",
            )
        document.lines[here] = line
        found[key] = _value(document, value_node, here)
    return found
