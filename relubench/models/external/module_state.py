"""What somebody else's module holds beside what is trained: buffers, and plain attributes that training may change.

A forward may add to a buffer in place, replace it, or count in a plain attribute: all three are the state of a network.
`capture` takes it as a value of its own, and `restore` puts it back; `module_state_file` turns it into tensors and JSON
values for a file. What may be held: tensors, numbers, text, numpy arrays, random generators, and lists, tuples,
dictionaries, sets and objects of the user's own classes made of these. Functions, classes, modules, files and objects
of other libraries are left as they are; an iterator is refused before that (`activations.user_objects`).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relubench.system.user_code.records import is_users

PLAIN = (bool, int, float, complex, str, bytes, type(None))
INTERNAL = frozenset(vars(nn.Module()))
"""Attributes by which nn.Module itself works: hooks, names, the mode."""


@dataclass(slots=True)
class State:
    """The state of a module, independent of it."""

    modules: dict[str, dict[str, Any]]
    """Path -> attribute -> what `_Capturer` made of it; of a buffer 'buffer NAME', of a frozen one 'parameter NAME'."""
    objects: dict[int, Tensor] = field(default_factory=dict)
    """By the id of its copy, the tensor as the module held it: one that is still there is written to."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorCopy:
    """A tensor's values; the same object for every place that held the same tensor."""

    value: Tensor
    array: bool = False
    """Whether it was a numpy array."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectParts:
    """A container or an object: how to make it, and what is in it."""

    kind: str
    items: list[tuple[Any, Any]]
    original: Any = None
    """Held so that the module's own object is filled again, not exchanged for another."""


class _Absent:
    """Stands for a value that is neither copied nor restored."""


ABSENT = _Absent()
_GENERATORS = {"torch": torch.Generator, "random": random.Random, "numpy": np.random.Generator}


def capture(module: nn.Module) -> State:
    """The state of the module and of all modules in it."""
    capturer = _Capturer()
    modules: dict[str, dict[str, Any]] = {}
    for path, part in module.named_modules():
        items = {f"buffer {name}": capturer.capture(item) for name, item in part._buffers.items()}
        frozen = (
            (name, item) for name, item in part._parameters.items() if item is not None and not item.requires_grad
        )
        items |= {f"parameter {name}": capturer.capture(item.data) for name, item in frozen}
        items |= {name: capturer.capture(item) for name, item in vars(part).items() if name not in INTERNAL}
        modules[path] = {name: item for name, item in items.items() if item is not ABSENT}
    return State(modules, capturer.objects)


@torch.no_grad()
def restore(module: nn.Module, state: State) -> None:
    """Give the module this state; attributes that it has got since then go."""
    restorer = _Restorer(state)
    for path, part in module.named_modules():
        module_items = state.modules.get(path, {})
        for name in [name for name in vars(part) if name not in INTERNAL and name not in module_items]:
            if _Capturer().capture(vars(part)[name]) is not ABSENT:
                delattr(part, name)
        for name, item in module_items.items():
            kind, _, inner = name.partition(" ")
            if inner and kind == "buffer":
                part._buffers[inner] = restorer.restore(item, dict(part._buffers.items()).get(inner))
            elif inner and kind == "parameter":
                part.get_parameter(inner).data.copy_(restorer.restore(item, None))
            else:
                part.__dict__[name] = restorer.restore(item, vars(part).get(name))


class _Capturer:
    """Copies values, the same object once."""

    def __init__(self) -> None:
        self.copies: dict[int, Any] = {}
        self.alive: list[Any] = []
        self.objects: dict[int, Tensor] = {}

    def capture(self, value: Any) -> Any:
        """A value that no later change reaches; ABSENT for what is left as it is."""
        if isinstance(value, (*PLAIN, np.generic)):
            return value
        if id(value) not in self.copies:
            self.alive.append(value)
            self.copies[id(value)] = ABSENT  # What holds itself ends here.
            self.copies[id(value)] = self._capture(value)
        return self.copies[id(value)]

    def _capture(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return ABSENT if isinstance(value, nn.Parameter) else self._tensor(value)
        if isinstance(value, np.ndarray):
            return ABSENT if value.dtype.hasobject else TensorCopy(torch.from_numpy(value.copy()), array=True)
        for kind, maker in _GENERATORS.items():
            if isinstance(value, maker):
                return ObjectParts(kind, [("state", self.capture(_generator_state(value)))], value)
        if isinstance(value, Mapping):
            items = [(self.capture(key), self.capture(item)) for key, item in value.items()]
            return ObjectParts("dict", items, value) if isinstance(value, dict) else ABSENT
        for kind, maker in (("list", list), ("tuple", tuple), ("deque", deque), ("set", set)):
            if isinstance(value, maker):
                return self._sequence(kind, value)
        if isinstance(value, nn.Module):
            # One that is kept out of sight, in a list.
            named = [(name, item) for name, item in vars(value).items() if name not in INTERNAL]
            named += [(f"buffer {name}", item) for name, item in value._buffers.items()]
            return self._object(named + [(f"module {name}", item) for name, item in value._modules.items()], value)
        if isinstance(value, SimpleNamespace) or is_users(type(value)):
            return self._object(list(getattr(value, "__dict__", {}).items()), value)
        return ABSENT

    def _tensor(self, value: Tensor) -> TensorCopy:
        copy = TensorCopy(value.detach().clone())
        self.objects[id(copy)] = value
        return copy

    def _sequence(self, kind: str, value: Any) -> Any:
        items = [(None, self.capture(item)) for item in value]
        if kind == "tuple" and any(item is ABSENT for _, item in items):
            return ABSENT
        return ObjectParts(kind, items, value)

    def _object(self, named: list[tuple[str, Any]], value: Any) -> ObjectParts:
        items = [(name, self.capture(item)) for name, item in named]
        return ObjectParts("object", [(name, item) for name, item in items if item is not ABSENT], value)


class _Restorer:
    """Makes values again of what `_Capturer` took; the same object once."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.values: dict[int, Any] = {}

    def restore(self, copy: Any, current: Any) -> Any:
        """The value; `current` is what is there now, and stays where it is left as it is."""
        if copy is ABSENT:
            return current
        if not isinstance(copy, TensorCopy | ObjectParts):
            return copy
        if id(copy) not in self.values:
            self.values[id(copy)] = (
                self._copy(copy, current) if isinstance(copy, TensorCopy) else self._fill(copy, current)
            )
        return self.values[id(copy)]

    def _copy(self, copy: TensorCopy, current: Any) -> Any:
        if copy.array:
            return copy.value.numpy().copy()
        original = self.state.objects.get(id(copy))
        # Written over only if it is the module's own tensor still: another may be a view of the images.
        if isinstance(current, Tensor) and _alike(current, copy.value):
            own_tensor = current._base is None if original is None else current is original
            return current.copy_(copy.value) if own_tensor else copy.value.clone()
        return copy.value.clone()

    def _fill(self, copy: ObjectParts, current: Any) -> Any:
        target = copy.original if copy.original is not None else current
        if copy.kind in _GENERATORS:
            _set_generator_state(target, self.restore(copy.items[0][1], None))
            return target
        if copy.kind == "object":
            self.values[id(copy)] = target
            for name, item in copy.items:
                self._set(target, name, item)
            return target
        if copy.kind == "dict":
            current_dict = target if isinstance(target, dict) else {}
            named = [(self.restore(key, None), item) for key, item in copy.items if key is not ABSENT]
            filled = {key: self.restore(item, current_dict.get(key)) for key, item in named}
            return _refilled(current_dict, filled) if isinstance(target, dict) else filled
        current_items = list(target) if isinstance(target, list | tuple | deque) else []
        current_items += [None] * (len(copy.items) - len(current_items))
        filled = [self.restore(item, now) for (_, item), now in zip(copy.items, current_items, strict=False)]
        return _sequence(copy.kind, filled, target)

    def _set(self, target: Any, name: str, copy: Any) -> None:
        kind, _, inner = name.partition(" ")
        values = {"buffer": target._buffers, "module": target._modules}[kind] if inner else vars(target)
        values[inner or name] = self.restore(copy, values.get(inner or name))


def _alike(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype


def _refilled(target: dict[Any, Any], filled: dict[Any, Any]) -> dict[Any, Any]:
    target.clear()
    target.update(filled)
    return target


def _sequence(kind: str, filled: list[Any], target: Any) -> Any:
    if kind == "tuple":
        maker: Any = type(target) if isinstance(target, tuple) else tuple
        return maker(*filled) if hasattr(maker, "_fields") else maker(filled)
    kind_type: Any = {"list": list, "deque": deque, "set": set}[kind]
    if not isinstance(target, kind_type):
        return kind_type(filled)
    container: Any = target
    container.clear()
    container.update(filled) if kind == "set" else container.extend(filled)
    return container


def _generator_state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    return generator.getstate() if isinstance(generator, random.Random) else generator.bit_generator.state


def _set_generator_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    elif generator is not None:
        generator.bit_generator.state = state
