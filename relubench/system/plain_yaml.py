"""The reader of YAML: plain mappings, lists and scalars, of bounded size and depth. Torch-free.

There are no tags, no anchors and aliases, and no merge keys: without aliases a text cannot grow when it is read.
Whatever goes wrong here is an error of the user's text; the message names the line.
"""

from __future__ import annotations

from typing import Any

import yaml

from relubench.errors import UsageError, shown

MOST_DEPTH = 20
MOST_DIGITS = 1000
"""Characters of a scalar that is not text."""

MOST_ASSIGNMENT = 10_000
"""Characters of one --set."""
MOST_KEYS = 5
"""Keys in the path of one --set."""

SCALARS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))
HINT = "quote text that holds ': ' or ' #', indent with spaces"
DEEP_HINT = "a preset needs no more than five levels"


def node_of(text: str, name: str) -> yaml.Node | None:
    """The text as nodes, None if it is empty; raises UsageError with name and line for what is not plain YAML."""
    try:
        _check_events(text, name)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UsageError(f"{place}: this is not YAML: {error.problem or error.context}", HINT) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{name}: this is not YAML: {str(error).splitlines()[0]}", HINT) from error


def scalar_of(node: yaml.ScalarNode) -> Any:
    """The value of a scalar; raises ValueError for a scalar that is not valid, with a message for the user."""
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if node.tag not in SCALARS:
        raise ValueError(f"the tag {shown(kind)} is not allowed")
    if kind != "str" and len(node.value) > MOST_DIGITS:
        raise ValueError(f"{shown(node.value)} has {len(node.value):,} characters")
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except Exception as error:
        # PyYAML's own constructors raise whatever their arithmetic raises: IndexError for !!int '', say.
        raise ValueError(f"{shown(node.value)} is no {kind}") from error


def value_of(text: str, name: str) -> Any:
    """The value that one line of YAML stands for: a scalar, a list or a mapping. Raises UsageError."""
    node = node_of(text, name)
    try:
        return None if node is None else _value(node)
    except ValueError as error:
        raise UsageError(f"{name}: {error}", "quote it if it is text") from error


def assignment_of(text: str) -> tuple[list[str], Any]:
    """The keys and the value of `--set key.path=value`; raises UsageError for another form or a long text."""
    path, equals, raw = text.partition("=")
    keys = path.strip().split(".")
    if len(text) > MOST_ASSIGNMENT:
        raise UsageError(f"--set {shown(path)} has {len(text):,} characters", f"at most {MOST_ASSIGNMENT:,} are read")
    if not equals or not all(keys) or len(keys) > MOST_KEYS:
        raise UsageError(f"--set needs key.path=value, got {shown(text)}", "for example --set train.momentum=0.9")
    return keys, value_of(raw, f"--set {path}")


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return scalar_of(node)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise ValueError("a key is text")
            if key_node.value in values:
                raise ValueError(f"the key {shown(key_node.value)} stands there twice")
            values[key_node.value] = _value(value_node)
        return values
    raise ValueError(f"the tag {shown(node.tag.removeprefix('tag:yaml.org,2002:'))} is not allowed")


def _check_events(text: str, name: str) -> None:
    """Raises UsageError for an anchor, an alias or too deep a nesting, before any value is made."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UsageError(f"{name}:{line}: anchors (&) and aliases (*) are not allowed here", "write the values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise UsageError(f"{name}:{line}: it is nested too deeply", DEEP_HINT)
