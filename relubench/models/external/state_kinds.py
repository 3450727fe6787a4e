"""The kinds of values that hold state: what is in a value of each kind, and how it is put back.

Containers and objects of the user's own classes are filled again in place, so that whoever else holds them sees it.
What a function holds are its closure, its defaults and its attributes. Of a state from a file an object that is not
there any more is made again by its class; where that is not possible, ValueError is raised.
"""

from __future__ import annotations

import array
import collections
import enum
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from torch import nn

from relubench.system.user_code.origin import without_package
from relubench.system.user_code.records import RECORDS, is_users

Parts = list[tuple[Any, Any]]

GENERATORS: dict[str, Any] = {
    "torch": torch.Generator,
    "random": random.Random,
    "numpy": np.random.Generator,
    "numpy-legacy": np.random.RandomState,
}
CONTAINERS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "set": set,
    "frozenset": frozenset,
    "bytearray": bytearray,
    "array": array.array,
}
IMMUTABLE = ("member", "text")
"""Members of enumerations, and what a text says all of."""
INTERNAL = frozenset(vars(nn.Module()))
"""Attributes by which nn.Module itself works: hooks, names, the mode."""
HOOKS = tuple(sorted(name for name in INTERNAL if name.endswith("_hooks")))

_TEXTS: dict[str, Callable[[str], Any]] = {"Fraction": Fraction, "Decimal": Decimal}
_HOLDING = (types.SimpleNamespace, collections.UserDict, collections.UserList)
"""Classes of the standard library whose objects hold nothing but what was put into them."""
_METHODS = (types.MethodType, types.BuiltinMethodType)
_MORE = " +"
"""Behind the kind of a container whose class is derived from it."""


def immutable_parts(value: Any) -> tuple[str, Parts] | None:
    """The kind and the parts of an immutable object; None of others."""
    if isinstance(value, enum.Enum):
        named = value.name if value.name in type(value).__members__ else value.value
        return f"member {class_name(value)}", [("named", named)]
    if type(value).__name__ in _TEXTS and isinstance(value, Fraction | Decimal):
        return f"text {type(value).__name__}", [("text", str(value))]
    return None


def as_it_was(kind: str, items: Parts, target: Any, packages: set[str]) -> Any:
    """The object that is put back as it was, from a file: itself, a member of an enumeration, or what a text says."""
    name, _, class_text = kind.partition(" ")
    if name == "text":
        return _TEXTS[class_text](items[0][1])
    if name == "member":
        members: Any = type(target) if class_name(target) == class_text else class_named(class_text, packages)
        return members[items[0][1]] if isinstance(items[0][1], str) else members(items[0][1])
    check_target(kind, target)
    return target


def check_target(kind: str, target: Any) -> None:
    """Raises ValueError where what is to be filled again is not there and cannot be made from its parts."""
    if target is None and kind not in ("dict", *CONTAINERS):
        raise ValueError(
            f"it holds an object that is made in forward, and is not made again ({kind.partition(' ')[0]})"
        )


def exact(kind: str, maker: type, value: Any) -> str:
    """The kind of a container, marked where its class is only derived from the usual one."""
    return kind if type(value) is maker else kind + _MORE


def container_parts(value: Any) -> tuple[str, Parts] | None:
    """The kind and the parts of a container but a dictionary; None of others."""
    for kind, maker in CONTAINERS.items():
        if isinstance(value, maker):
            items = [value.typecode] if kind == "array" else []
            items += [bytes(value)] if kind in ("bytearray", "array") else list(value)
            return exact(kind, maker, value), [(None, item) for item in items]
    return None


def refilled(kind: str, filled: Any, target: Any) -> Any:
    """A container of these items: the target itself where it can be filled again."""
    maker = dict if kind == "dict" else CONTAINERS[kind]
    fits = isinstance(target, maker)
    if kind in ("tuple", "frozenset"):
        actual_type = type(target) if fits else maker
        return actual_type(*filled) if hasattr(actual_type, "_fields") else actual_type(filled)
    if kind in ("bytearray", "array"):
        target = target if fits else bytearray() if kind == "bytearray" else array.array(filled[0])
        target[:] = filled[-1] if kind == "bytearray" else array.array(filled[0], filled[-1])
        return target
    if not fits:
        return maker(filled)
    target.clear()
    target.extend(filled) if kind in ("list", "deque") else target.update(filled)
    return target


def held_by(value: Any) -> list[Any] | None:
    """What a method, a partial or a read-only view of a dictionary holds, which it always does; None of others."""
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MappingProxyType):
        return list(value.values())
    owner = getattr(value, "__self__", None) if isinstance(value, _METHODS) else None
    return None if owner is None or isinstance(owner, type | types.ModuleType) else [owner]


def variables_of(function: types.FunctionType) -> dict[str, Any]:
    """The variables of its closure that have a value, its defaults and its attributes."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    variables = {f"cell {name}": cell.cell_contents for name, cell in cells if cell != types.CellType()}
    variables |= {f"default {place}": value for place, value in enumerate(function.__defaults__ or ())}
    return variables | vars(function)


def set_variables(function: types.FunctionType, values: Mapping[str, Any]) -> None:
    """Give a function what `variables_of` named; other attributes go."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    for name, value in values.items():
        kind, _, inner = name.partition(" ")
        if kind == "cell" and inner in cells:
            cells[inner].cell_contents = value
    defaults = [values.get(f"default {place}", value) for place, value in enumerate(function.__defaults__ or ())]
    function.__defaults__ = tuple(defaults) if defaults else None
    vars(function).clear()
    vars(function).update({name: value for name, value in values.items() if " " not in name})


def has_attributes(value: Any) -> bool:
    """Whether it is an object of a user's class, or of one in the standard library that does nothing but hold."""
    return isinstance(value, _HOLDING) or is_users(type(value))


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in __slots__ too."""
    return {name: getattr(value, name) for name in _slots(value) if hasattr(value, name)} | dict(
        getattr(value, "__dict__", {})
    )


def set_attributes(target: Any, values: Mapping[str, Any]) -> None:
    """Give an object these attributes, frozen or not; others go."""
    slots = _slots(target)
    for name in attributes(target).keys() - values.keys():
        object.__delattr__(target, name)
    for name, value in values.items():
        if name in slots or not hasattr(target, "__dict__"):
            object.__setattr__(target, name, value)
        else:
            vars(target)[name] = value


def _slots(value: Any) -> list[str]:
    """The names of an object's slots; those with two underscores in front are called otherwise outside their class."""
    slots: list[str] = []
    for kind in type(value).__mro__:
        names = vars(kind).get("__slots__", ())
        names = [names] if isinstance(names, str) else list(names)
        slots += [f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name for name in names]
    return [name for name in slots if not name.endswith("__")]


def class_name(value: Any) -> str:
    """The class of an object, without the name that its file's package has in this process."""
    return without_package(f"{type(value).__module__}:{type(value).__qualname__}")


def class_named(name: str, packages: set[str]) -> Any:
    """The user's class of that name, in a file of these packages or in a module; ValueError if there is none."""
    module, _, qualified = name.partition(":")
    for full in (*(f"{package}.{module}" for package in sorted(packages)), module):
        if full in RECORDS and full in sys.modules:
            kind = reduce(lambda owner, part: getattr(owner, part, None), qualified.split("."), sys.modules[full])
            if isinstance(kind, type):
                return kind
    raise ValueError(f"it holds an object of the class {qualified}, which is not made again")


def made_anew(name: str, packages: set[str]) -> Any:
    """An object of a user's class without attributes; ValueError if that is not possible."""
    kind = class_named(name, packages)
    try:
        return object.__new__(kind)
    except TypeError as error:
        raise ValueError(f"it holds an object that is not made again: {error}") from error


def generator_state(generator: Any) -> Any:
    """All that its next numbers depend on."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate() if isinstance(generator, random.Random) else generator.bit_generator.state


def set_generator_state(generator: Any, state: Any) -> None:
    """Let a generator go on from a state."""
    if isinstance(generator, torch.Generator | np.random.RandomState):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.bit_generator.state = state
