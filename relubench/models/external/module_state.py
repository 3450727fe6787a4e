"""What somebody else's module holds beside what is trained: buffers, and whatever else training may change.

A forward may add to a buffer in place, replace it, or count in a plain attribute: all three are the state of a network.
`capture` takes it as a value of its own, and `restore` puts it back; `module_state_file` turns it into tensors and JSON
values for a file. What may be held: tensors, numbers, text, numpy arrays, random generators, and containers, closures,
hooks, modules out of sight and objects of the user's own classes made of these. Other functions, classes, files and
objects of other libraries are put back as they are; an iterator is refused before that (`activations.user_objects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relubench.models.external import state_kinds as kinds
from relubench.models.external.state_kinds import CONTAINERS, GENERATORS, HOOKS, INTERNAL, Parts
from relubench.system.user_code.records import RECORDS

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
REFERENCE = "reference"
"""The kind of what is put back as it was: nobody knows what is in it."""


@dataclass(slots=True)
class State:
    """The state of a module, independent of it."""

    modules: dict[str, dict[str, Any]]
    """Path -> name -> what `_Capturer` made of it; 'buffer NAME', 'parameter NAME' of a frozen one, 'hook KIND PLACE',
    else an attribute."""
    objects: dict[int, Any] = field(default_factory=dict)
    """By the id of its copy, each tensor or array that belongs to the module alone: it is written to."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorCopy:
    """A tensor's values; the same object for every place that held the same tensor."""

    value: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ArrayCopy:
    """A numpy array's values, likewise."""

    value: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class ObjectParts:
    """A container or an object: how to make it, and what is in it."""

    kind: str
    items: list[tuple[Any, Any]]
    original: Any = None
    """Held so that the module's own object is filled again, not exchanged for another."""


def capture(module: nn.Module) -> State:
    """The state of the module and of all modules in it."""
    capturer = _Capturer(module)
    modules = {path: capturer.of_module(part) for path, part in module.named_modules()}
    return State(modules, capturer.owned())


@torch.no_grad()
def restore(module: nn.Module, state: State) -> None:
    """Give the module this state; attributes and buffers that it has got since then go.

    Raises ValueError where a state from a file holds an object that cannot be made again.
    """
    restorer = _Restorer(module, state)
    for path, part in module.named_modules():
        restorer.fill_module(part, state.modules.get(path, {}))


class _Capturer:
    """Copies values, the same object once."""

    def __init__(self, module: nn.Module) -> None:
        self.copies: dict[int, Any] = {}
        self.alive: list[Any] = []
        in_sight = [*module.modules(), *(item for item in module.parameters() if item.requires_grad)]
        self.in_sight = {id(item) for item in in_sight}
        """Modules that have an entry of their own, and what is trained."""

    def of_module(self, part: nn.Module) -> dict[str, Any]:
        """What one module holds, by name."""
        copies = {name: self.capture(item) for name, item in self._held(part).items()}
        return {name: copy for name, copy in copies.items() if not (name.startswith("hook ") and is_reference(copy))}

    def _held(self, part: nn.Module) -> dict[str, Any]:
        values: dict[str, Any] = {f"buffer {name}": item for name, item in part._buffers.items()}
        frozen = ((name, item) for name, item in part._parameters.items() if item is not None)
        values |= {f"parameter {name}": item for name, item in frozen if id(item) not in self.in_sight}
        for kind in HOOKS:
            hooks = (vars(part).get(kind) or {}).values()
            values |= {f"hook {kind} {place}": hook for place, hook in enumerate(hooks)}
        return values | {name: item for name, item in vars(part).items() if name not in INTERNAL}

    def owned(self) -> dict[int, Any]:
        """By the id of its copy, each tensor or array that is no view of something else, such as of the images."""
        return {
            id(copy): value
            for value in self.alive
            if isinstance(copy := self.copies[id(value)], TensorCopy | ArrayCopy) and self._is_own(value)
        }

    def _is_own(self, value: Any) -> bool:
        if isinstance(value, Tensor) and value.grad_fn is not None:
            return False
        base = value._base if isinstance(value, Tensor) else value.base
        return base is None or id(base) in self.copies

    def capture(self, value: Any) -> Any:
        """A value that no later change reaches."""
        if isinstance(value, PLAIN) and kinds.immutable_parts(value) is None:
            return value
        if id(value) not in self.copies:
            self.alive.append(value)
            if isinstance(value, Tensor) and id(value) not in self.in_sight:
                self.copies[id(value)] = TensorCopy(value.detach().clone())
            elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
                self.copies[id(value)] = ArrayCopy(value.copy())
            else:
                # Entered before it is filled: it may hold itself.
                kind, parts = self._parts(value)
                copy = self.copies[id(value)] = ObjectParts(kind, [], value)
                copy.items.extend((self.capture(key), self.capture(item)) for key, item in parts)
        return self.copies[id(value)]

    def _parts(self, value: Any) -> tuple[str, Parts]:
        """The kind of a container or an object, and what is in it."""
        if id(value) in self.in_sight:
            return REFERENCE, []
        known_parts = kinds.immutable_parts(value) or kinds.container_parts(value)
        if known_parts is not None:
            return known_parts
        for kind, maker in GENERATORS.items():
            if isinstance(value, maker):
                return kind, [("state", kinds.generator_state(value))]
        if isinstance(value, dict):
            return kinds.exact("dict", dict, value), list(value.items())
        if isinstance(value, nn.Module):
            # One that is kept out of sight, in a list.
            children = [(f"module {name}", item) for name, item in value._modules.items()]
            return "module", [*self._held(value).items(), *children]
        if (held := kinds.held_by(value)) is not None:
            return "holder", [(None, item) for item in held]
        if isinstance(value, FunctionType) and value.__module__ in RECORDS:
            return "function", list(kinds.variables_of(value).items())
        if kinds.has_attributes(value):
            return f"object {kinds.class_name(value)}", list(kinds.attributes(value).items())
        return REFERENCE, []


class _Restorer:
    """Makes values again of what `_Capturer` took; the same object once."""

    def __init__(self, module: nn.Module, state: State) -> None:
        self.objects = state.objects
        self.values: dict[int, Any] = {}
        self.packages = {type(part).__module__.partition(".")[0] for part in module.modules()}
        # Of a state from a file nobody knows the tensors: the module's own are written to.
        self.own_now = {id(value) for value in capture(module).objects.values()} if not state.objects else set()

    def fill_module(self, part: nn.Module, items: Mapping[str, Any]) -> None:
        """Give one module what was captured of it."""
        capturer = _Capturer(part)
        for name in [name for name in vars(part) if name not in INTERNAL and name not in items]:
            if not is_reference(capturer.capture(vars(part)[name])):
                delattr(part, name)
        for name in [name for name in part._buffers if f"buffer {name}" not in items]:
            del part._buffers[name]
        for name, item in items.items():
            self._set(part, name, item)

    def _set(self, part: nn.Module, name: str, copy: Any) -> None:
        kind, _, inner = name.partition(" ")
        if kind == "hook" and inner:
            hooks_name, _, place = inner.partition(" ")
            hooks = list((vars(part).get(hooks_name) or {}).values())
            self.restore(copy, hooks[int(place)] if int(place) < len(hooks) else None)
            return
        tables: dict[str, Any] = {"buffer": part._buffers, "parameter": part._parameters, "module": part._modules}
        table = tables[kind] if inner else part.__dict__
        value = self.restore(copy, dict(table.items()).get(inner or name))
        is_parameter = kind == "parameter" and inner and not isinstance(value, nn.Parameter)
        table[inner or name] = nn.Parameter(value, requires_grad=False) if is_parameter else value

    def restore(self, copy: Any, current: Any) -> Any:
        """The value; `current` is what is there now."""
        if not isinstance(copy, TensorCopy | ArrayCopy | ObjectParts):
            return copy
        if id(copy) not in self.values:
            if isinstance(copy, ObjectParts):
                target = current if copy.original is None else copy.original
                self.values[id(copy)] = target  # It may hold itself.
                self.values[id(copy)] = self._fill(copy, target)
            else:
                self.values[id(copy)] = self._write(copy, current)
        return self.values[id(copy)]

    def _write(self, copy: TensorCopy | ArrayCopy, current: Any) -> Any:
        target = self.objects.get(id(copy), current if id(current) in self.own_now else None)
        fits = target is not None and target.shape == copy.value.shape and target.dtype == copy.value.dtype
        if isinstance(copy, TensorCopy):
            return target.copy_(copy.value) if fits and isinstance(target, Tensor) else copy.value.clone()
        if not fits or not isinstance(target, np.ndarray):
            return copy.value.copy()
        target[...] = copy.value
        return target

    def _fill(self, copy: ObjectParts, target: Any) -> Any:
        kind, _, class_name = copy.kind.partition(" ")
        if kind == REFERENCE or kind in kinds.IMMUTABLE:
            is_it = copy.original is not None
            return target if is_it else kinds.as_it_was(copy.kind, copy.items, target, self.packages)
        if kind == "object":
            if kinds.class_name(target) != class_name:
                target = self.values[id(copy)] = kinds.made_anew(class_name, self.packages)
            before = kinds.attributes(target)
            kinds.set_attributes(target, {name: self.restore(item, before.get(name)) for name, item in copy.items})
            return target
        kinds.check_target(copy.kind, target)
        if kind in GENERATORS:
            kinds.set_generator_state(target, self.restore(copy.items[0][1], None))
        elif kind == "module":
            self.fill_module(target, dict(copy.items))
        elif kind == "function":
            before = kinds.variables_of(target)
            kinds.set_variables(target, {name: self.restore(item, before.get(name)) for name, item in copy.items})
        elif kind == "holder":
            for (_, item), now in zip(copy.items, kinds.held_by(target) or (), strict=False):
                self.restore(item, now)
        else:
            return self._fill_container(kind, copy, target)
        return target

    def _fill_container(self, kind: str, copy: ObjectParts, target: Any) -> Any:
        if kind == "dict":
            before = dict(target) if isinstance(target, dict) else {}
            named = [(self.restore(key, None), item) for key, item in copy.items]
            return kinds.refilled(kind, {key: self.restore(item, before.get(key)) for key, item in named}, target)
        now = list(target) if isinstance(target, tuple(CONTAINERS.values())) else []
        now += [None] * (len(copy.items) - len(now))
        filled = [self.restore(item, current) for (_, item), current in zip(copy.items, now, strict=False)]
        return kinds.refilled(kind, filled, target)


def is_reference(copy: Any) -> bool:
    """Whether nobody knows what is in it."""
    return isinstance(copy, ObjectParts) and copy.kind == REFERENCE
