"""A YAML file as plain values that remember their lines.

Only mappings with text keys, lists and scalars are accepted, and no key twice: see `relubench.system.plain_yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from relubench.errors import UsageError, shown
from relubench.system.plain_yaml import node_of, scalar_of

MOST_BYTES = 200_000

Key = tuple[str, ...]


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
            if (line := self.lines.get(tuple(path[:length]))) is not None:
                return line
        return 1

    def refuse(self, path: Sequence[str], rule: str, hint: str) -> UsageError:
        """The error to raise about the value at `path`."""
        return UsageError(f"{self.name}:{self.line(path)}: {rule}", hint)


def read_document(path: Path, name: str) -> Document:
    """The file's values; raises UsageError with file and line for whatever is not plain YAML."""
    document = Document(name)
    root = node_of(_text(path, name), name)
    if root is None:
        raise UsageError(f"{name} is empty", _START_HINT)
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{name}:{root.start_mark.line + 1}: a preset is a list of KEY: VALUE lines", _START_HINT)
    document.values = _value(document, root, ())
    return document


_START_HINT = "`relubench run NAME --print > mine.yaml` writes one to start from"


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            # A device never ends, and says that it is empty.
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UsageError(f"{name} is larger than {MOST_BYTES:,} bytes", "a preset is a page of text")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text", "save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", "give a YAML file that can be read") from error


def _value(document: Document, node: yaml.Node, path: Key) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_value(document, item, (*path, str(place))) for place, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        try:
            return scalar_of(node)
        except ValueError as error:
            raise document.refuse(path, str(error), "write plain text or numbers, and quote text") from error
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    raise document.refuse(path, f"the tag {shown(tag)} is not allowed", "write plain text or numbers")


def _mapping(document: Document, node: yaml.MappingNode, path: Key) -> dict[str, Any]:
    if node.tag != "tag:yaml.org,2002:map":
        raise document.refuse(path, f"the tag {shown(node.tag)} is not allowed", "write plain text or numbers")
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            raise UsageError(f"{document.name}:{line}: a key is text", "quote it, or write KEY: VALUE")
        key, key_path = key_node.value, (*path, key_node.value)
        if key in values:
            dotted = ".".join(key_path)
            raise UsageError(
                f"{document.name}:{line}: the key {dotted} stands there already, in line {document.lines[key_path]}",
                "keep one of the two",
            )
        document.lines[key_path] = line
        values[key] = _value(document, value_node, key_path)
    return values
