"""What is wrong with a record of a file: the boundary behind which every value has the kind that its record says.

A file may be damaged, or somebody else's. Its values are compared with the fields of the dataclass that they are to
become, so that a fault is named by its place and what belongs there, and no later step meets a value of another kind.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = 1e300
"""No number of a record is larger, in absolute value; NaN is none."""

WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
LISTS = (list, tuple)


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that is not what its record needs."""

    place: str
    """'curve[0].lr'"""
    value: Any
    """None where it is missing."""
    expected: str
    """What belongs there, in words."""


def faults(values: Any, kind: Any, place: str = "", absent: Sequence[str] = ()) -> Iterator[Fault]:
    """What is wrong with values that are to become a dataclass of this kind; `absent`: fields that they go without."""
    if not isinstance(values, Mapping):
        yield Fault(place, values, "an object")
        return
    hints = _hints(kind)
    prefix = f"{place}." if place else ""
    for field in fields(kind):
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if field.name in values:
            yield from _faults_of(values[field.name], hints[field.name], prefix + field.name)
        elif not has_default and field.name not in absent:
            yield Fault(prefix + field.name, None, f"{_words(hints[field.name])}, and it is missing")
    for key in values:
        if key not in hints:
            yield Fault(f"{prefix}{key}", values[key], "nothing: there is no such key")


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _faults_of(value: Any, hint: Any, place: str) -> Iterator[Fault]:
    if hint is Any:
        return
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        yield from _faults_of_union(value, hint, arguments, place)
    elif is_dataclass(hint):
        yield from faults(value, hint, place)
    elif origin in LISTS:
        yield from _faults_of_list(value, hint, arguments, place)
    elif origin is dict:
        if not isinstance(value, Mapping):
            yield Fault(place, value, "an object")
            return
        for key, entry in value.items():
            yield from _faults_of(entry, arguments[1], f"{place}.{key}")
    elif not _is_of(value, hint):
        yield Fault(place, value, _words(hint))


def _faults_of_union(value: Any, hint: Any, arguments: Sequence[Any], place: str) -> Iterator[Fault]:
    """Of a value that may be of several kinds: none if it is of any, those of the only one that it could be."""
    if any(not list(_faults_of(value, argument, place)) for argument in arguments):
        return
    inner = [argument for argument in arguments if argument is not type(None)]
    if len(inner) == 1 and value is not None:
        yield from _faults_of(value, inner[0], place)
    else:
        yield Fault(place, value, _words(hint))


def _faults_of_list(value: Any, hint: Any, arguments: Sequence[Any], place: str) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield Fault(place, value, _words(hint))
        return
    for index, entry in enumerate(value):
        yield from _faults_of(entry, arguments[0], f"{place}[{index}]")


def _is_of(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str | int) and value in get_args(hint)
    if hint is float:
        return type(value) in (int, float) and abs(value) <= LARGEST
    if hint is int:
        return type(value) is int and abs(value) <= LARGEST
    return type(value) is hint


def _words(hint: Any) -> str:
    """What belongs in a place, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(argument) for argument in arguments))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in LISTS:
        return "a list"
    return WORDS.get(hint, "an object")
