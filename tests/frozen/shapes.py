"""The keys and types of a document, and what differs between two frozen values, as sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

Shape = dict[str, str]
"""Where a value stands in a document -> its JSON types: `{"rows[].n": "integer", "rows[].lr": "float"}`."""

NAMES = {bool: "boolean", int: "integer", float: "float", str: "string", dict: "object", list: "list"}
"""The types of JSON values; whole numbers and those with a decimal point are told apart."""

NULL = "null"
"""The type of a value that is always missing. Where it is missing only sometimes the other types are named."""


def shape_of(document: Any) -> Shape:
    """The keys and types of a JSON document, its values dropped; the items of a list are taken together.

    A key that only some items of a list have is `absent` in the others.
    """
    shape: Shape = {}
    _collect("", [document], shape, absent=False)
    return shape


def _collect(path: str, values: list[Any], shape: Shape, *, absent: bool) -> None:
    """Put the types of the values that stand at `path` into the shape, and of all that is in them."""
    names = {NAMES[type(value)] for value in values if value is not None} or {NULL}
    shape[path or "document"] = " or ".join(sorted(names | ({"absent"} if absent else set())))
    objects = [value for value in values if isinstance(value, dict)]
    for key in dict.fromkeys(key for value in objects for key in value):
        inner = [value[key] for value in objects if key in value]
        _collect(f"{path}.{key}".removeprefix("."), inner, shape, absent=len(inner) < len(objects))
    items = [item for value in values if isinstance(value, list) for item in value]
    if items:
        _collect(f"{path}[]", items, shape, absent=False)


def comparable(before: Shape, now: Shape) -> tuple[Shape, Shape]:
    """Two shapes without what depends on the machine: a value that is missing in one, a list that is empty in one.

    A busy machine has no interval where an idle one has, and warnings where an idle one has none.
    """
    missing = {path for path in before.keys() & now.keys() if NULL in (before[path], now[path])}
    empty = {path for path in before.keys() ^ now.keys() if path.endswith("[]")}
    empty = {path for path in empty if path.removesuffix("[]") in before.keys() & now.keys()}

    def kept(shape: Shape) -> Shape:
        inside = tuple(f"{path}{sign}" for path in missing | empty for sign in (".", "["))
        names = (path for path in shape if path not in missing | empty)
        return {path: shape[path] for path in names if not path.startswith(inside)}

    return kept(before), kept(now)


def differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """What changed, a line each: `train lost --x`, `train --lr default was None, is 0.1`, each after `name`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        yield from _lost_and_gained(before, now, name)
        for key in before:
            if key in now:
                yield from differences(before[key], now[key], f"{name} {key}".strip())
    elif isinstance(before, list) and isinstance(now, list) and any(_lost_and_gained(before, now, name)):
        yield from _lost_and_gained(before, now, name)
    elif before != now:
        yield f"{name or 'the whole'} was {before!r}, is {now!r}"


def _lost_and_gained(before: Collection[Any], now: Collection[Any], name: str) -> Iterator[str]:
    yield from (f"{name or 'the whole'} lost {item}" for item in before if item not in now)
    yield from (f"{name or 'the whole'} gained {item}" for item in now if item not in before)
