"""What somebody else's module holds beside what is trained: buffers, and plain attributes that training may change.

A forward may add to a buffer in place, replace it, or count in a plain attribute: all three are the state of a network.
`capture` takes it as a value of its own, `restore` puts it back, and `packed` and `unpacked` turn it into tensors and
JSON values for a file. What may be held: tensors, numbers, text, numpy arrays, random generators, and lists, tuples,
dictionaries, sets and objects of the user's own classes made of these. Functions, classes, modules, files and objects
of other libraries are left as they are; an iterator is refused before that (`activations.objects.refuse_iterators`).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relubench.models.layers.base import Layer
from relubench.system.user_code.records import is_users

PLAIN = (bool, int, float, complex, str, bytes, type(None))
INTERNAL = frozenset(vars(nn.Module()))
"""Attributes by which nn.Module itself works: hooks, names, the mode."""


@dataclass(slots=True)
class State:
    """The state of a module, independent of it."""

    modules: dict[str, dict[str, Any]]
    """Path -> attribute -> what `_Taker` made of it; of a buffer 'buffer NAME', of a frozen one 'parameter NAME'."""
    objects: dict[int, Tensor] = field(default_factory=dict)
    """By the id of its copy, the tensor as the module held it: one that is still there is written to."""


@dataclass(frozen=True, slots=True, eq=False)
class _Copy:
    """A tensor's values; the same object for every place that held the same tensor."""

    value: Tensor
    array: bool = False
    """Whether it was a numpy array."""


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """A container or an object: how to make it, and what is in it."""

    kind: str
    items: list[tuple[Any, Any]]
    original: Any = None
    """Held so that the module's own object is filled again, not exchanged for another."""


class _Absent:
    """In the place of what is left as it is."""


ABSENT = _Absent()
_GENERATORS = {"torch": torch.Generator, "random": random.Random, "numpy": np.random.Generator}


@dataclass(frozen=True, slots=True)
class Held:
    """One module that a layer holds of somebody else's."""

    name: str
    """What its tensors are called in files begins so."""
    module: nn.Module
    member: int

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> list[Held]:
        """Every one that these layers hold."""
        return [cls(f"layer-{number}", *one) for number, layer in enumerate(layers) for one in layer.held]


@dataclass(slots=True)
class HeldStates:
    """The states of the modules in a network, each taken at a time of its own: at its member's best epoch."""

    held: list[Held]
    states: list[State]

    @classmethod
    def now(cls, held: list[Held]) -> HeldStates:
        """As the modules are now."""
        return cls(held, [capture(one.module) for one in held])

    def renew(self, better: Sequence[bool]) -> None:
        """Take the states of those members anew."""
        for place, one in enumerate(self.held):
            if better[one.member]:
                self.states[place] = capture(one.module)

    def put_back(self) -> None:
        """Give every module its state."""
        for one, state in zip(self.held, self.states, strict=True):
            restore(one.module, state)

    def packed(self, name: str = "", member: int | None = None) -> tuple[dict[str, Tensor], list[Any]]:
        """Tensors, whose names begin with `name`, and JSON values: of every module, or of one member's."""
        tensors: dict[str, Tensor] = {}
        values: list[Any] = []
        for place, (one, state) in enumerate(zip(self.held, self.states, strict=True)):
            if member in (None, one.member):
                # Members have the same names: in a file of all of them their places tell them apart.
                begins = one.name if member is not None else f"{name}{place}.{one.name}"
                found, tree = packed(state, begins)
                tensors |= found
                values.append(tree)
        return tensors, values

    def unpack(self, tensors: Mapping[str, Tensor], values: Sequence[Any], device: str) -> None:
        """Take over what `packed` gave of as many modules; raises KeyError or ValueError if it is another network's."""
        self.states = [unpacked(tensors, tree, device) for tree, _ in zip(values, self.held, strict=True)]


def capture(module: nn.Module) -> State:
    """The state of the module and of all modules in it."""
    taker = _Taker()
    modules: dict[str, dict[str, Any]] = {}
    for path, part in module.named_modules():
        found = {f"buffer {name}": taker.take(one) for name, one in part._buffers.items()}
        frozen = ((name, one) for name, one in part._parameters.items() if one is not None and not one.requires_grad)
        found |= {f"parameter {name}": taker.take(one.data) for name, one in frozen}
        found |= {name: taker.take(one) for name, one in vars(part).items() if name not in INTERNAL}
        modules[path] = {name: one for name, one in found.items() if one is not ABSENT}
    return State(modules, taker.objects)


@torch.no_grad()
def restore(module: nn.Module, state: State) -> None:
    """Give the module this state; attributes that it has got since then go."""
    giver = _Giver(state)
    for path, part in module.named_modules():
        wanted = state.modules.get(path, {})
        for name in [name for name in vars(part) if name not in INTERNAL and name not in wanted]:
            if _Taker().take(vars(part)[name]) is not ABSENT:
                delattr(part, name)
        for name, one in wanted.items():
            kind, _, inner = name.partition(" ")
            if inner and kind == "buffer":
                part._buffers[inner] = giver.give(one, dict(part._buffers.items()).get(inner))
            elif inner and kind == "parameter":
                part.get_parameter(inner).data.copy_(giver.give(one, None))
            else:
                part.__dict__[name] = giver.give(one, vars(part).get(name))


class _Taker:
    """Copies values, the same object once."""

    def __init__(self) -> None:
        self.seen: dict[int, Any] = {}
        self.alive: list[Any] = []
        self.objects: dict[int, Tensor] = {}

    def take(self, value: Any) -> Any:
        """A value that no later change reaches; ABSENT for what is left as it is."""
        if isinstance(value, (*PLAIN, np.generic)):
            return value
        if id(value) not in self.seen:
            self.alive.append(value)
            self.seen[id(value)] = ABSENT  # What holds itself ends here.
            self.seen[id(value)] = self._take(value)
        return self.seen[id(value)]

    def _take(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return ABSENT if isinstance(value, nn.Parameter) else self._tensor(value)
        if isinstance(value, np.ndarray):
            return ABSENT if value.dtype.hasobject else _Copy(torch.from_numpy(value.copy()), array=True)
        for kind, maker in _GENERATORS.items():
            if isinstance(value, maker):
                return _Parts(kind, [("state", self.take(_generator_state(value)))], value)
        if isinstance(value, Mapping):
            items = [(self.take(key), self.take(one)) for key, one in value.items()]
            return _Parts("dict", items, value) if isinstance(value, dict) else ABSENT
        for kind, maker in (("list", list), ("tuple", tuple), ("deque", deque), ("set", set)):
            if isinstance(value, maker):
                return self._sequence(kind, value)
        if isinstance(value, nn.Module):
            # One that is kept out of sight, in a list.
            named = [(name, one) for name, one in vars(value).items() if name not in INTERNAL]
            named += [(f"buffer {name}", one) for name, one in value._buffers.items()]
            return self._object(named + [(f"module {name}", one) for name, one in value._modules.items()], value)
        if isinstance(value, SimpleNamespace) or is_users(type(value)):
            return self._object(list(getattr(value, "__dict__", {}).items()), value)
        return ABSENT

    def _tensor(self, value: Tensor) -> _Copy:
        copy = _Copy(value.detach().clone())
        self.objects[id(copy)] = value
        return copy

    def _sequence(self, kind: str, value: Any) -> Any:
        items = [(None, self.take(one)) for one in value]
        if kind == "tuple" and any(one is ABSENT for _, one in items):
            return ABSENT
        return _Parts(kind, items, value)

    def _object(self, named: list[tuple[str, Any]], value: Any) -> _Parts:
        items = [(name, self.take(one)) for name, one in named]
        return _Parts("object", [(name, one) for name, one in items if one is not ABSENT], value)


class _Giver:
    """Makes values again of what `_Taker` took; the same object once."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.made: dict[int, Any] = {}

    def give(self, taken: Any, current: Any) -> Any:
        """The value; `current` is what is there now, and stays where it is left as it is."""
        if taken is ABSENT:
            return current
        if not isinstance(taken, _Copy | _Parts):
            return taken
        if id(taken) not in self.made:
            self.made[id(taken)] = (
                self._copy(taken, current) if isinstance(taken, _Copy) else self._fill(taken, current)
            )
        return self.made[id(taken)]

    def _copy(self, taken: _Copy, current: Any) -> Any:
        if taken.array:
            return taken.value.numpy().copy()
        original = self.state.objects.get(id(taken))
        # Written over only if it is the module's own tensor still: another may be a view of the images.
        if isinstance(current, Tensor) and _alike(current, taken.value):
            mine = current._base is None if original is None else current is original
            return current.copy_(taken.value) if mine else taken.value.clone()
        return taken.value.clone()

    def _fill(self, taken: _Parts, current: Any) -> Any:
        target = taken.original if taken.original is not None else current
        if taken.kind in _GENERATORS:
            _set_generator_state(target, self.give(taken.items[0][1], None))
            return target
        if taken.kind == "object":
            self.made[id(taken)] = target
            for name, one in taken.items:
                self._set(target, name, one)
            return target
        if taken.kind == "dict":
            there = target if isinstance(target, dict) else {}
            named = [(self.give(key, None), one) for key, one in taken.items if key is not ABSENT]
            filled = {key: self.give(one, there.get(key)) for key, one in named}
            return _refilled(there, filled) if isinstance(target, dict) else filled
        there = list(target) if isinstance(target, list | tuple | deque) else []
        there += [None] * (len(taken.items) - len(there))
        filled = [self.give(one, now) for (_, one), now in zip(taken.items, there, strict=False)]
        return _sequence(taken.kind, filled, target)

    def _set(self, target: Any, name: str, taken: Any) -> None:
        kind, _, inner = name.partition(" ")
        values = {"buffer": target._buffers, "module": target._modules}[kind] if inner else vars(target)
        values[inner or name] = self.give(taken, values.get(inner or name))


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _refilled(target: dict[Any, Any], filled: dict[Any, Any]) -> dict[Any, Any]:
    target.clear()
    target.update(filled)
    return target


def _sequence(kind: str, filled: list[Any], target: Any) -> Any:
    if kind == "tuple":
        maker: Any = type(target) if isinstance(target, tuple) else tuple
        return maker(*filled) if hasattr(maker, "_fields") else maker(filled)
    made: Any = {"list": list, "deque": deque, "set": set}[kind]
    if not isinstance(target, made):
        return made(filled)
    there: Any = target
    there.clear()
    there.update(filled) if kind == "set" else there.extend(filled)
    return there


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


# -- files ---------------------------------------------------------------------------------------------------------


def packed(state: State, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as tensors, whose names begin with `name`, and JSON values; `unpacked` turns both back."""
    tensors: dict[str, Tensor] = {}
    seen: dict[int, str] = {}

    def pack(taken: Any, path: str) -> Any:
        if isinstance(taken, _Copy):
            if id(taken) not in seen:
                seen[id(taken)] = path
                tensors[path] = taken.value
            return {"array" if taken.array else "tensor": seen[id(taken)]}
        if isinstance(taken, _Parts):
            if id(taken) in seen:
                return {"same": seen[id(taken)]}
            seen[id(taken)] = path
            items = [[pack(key, ""), pack(one, f"{path}.{place}")] for place, (key, one) in enumerate(taken.items)]
            return {"kind": taken.kind, "path": path, "items": items}
        return _json(taken)

    modules = {
        path: {
            key: pack(one, ".".join(filter(None, (name, path, key.rpartition(" ")[2])))) for key, one in values.items()
        }
        for path, values in state.modules.items()
        if values
    }
    return tensors, modules


def unpacked(tensors: Mapping[str, Tensor], modules: Mapping[str, Any], device: str) -> State:
    """The state that `packed` was given; its tensors lie on `device`. Raises KeyError where a tensor is missing."""
    made: dict[str, Any] = {}

    def unpack(value: Any) -> Any:
        if isinstance(value, dict):
            for kind in ("tensor", "array"):
                if kind in value:
                    array, path = kind == "array", value[kind]
                    made.setdefault(path, _Copy(tensors[path].to("cpu" if array else device).clone(), array))
                    return made[path]
            if "same" in value:
                return made.get(value["same"], ABSENT)
            if "kind" in value:
                parts = made[value["path"]] = _Parts(value["kind"], [])
                parts.items.extend((unpack(key), unpack(one)) for key, one in value["items"])
                return parts
            return _plain(value)
        return value

    return State({path: {key: unpack(one) for key, one in values.items()} for path, values in modules.items()})


def _json(value: Any) -> Any:
    """A plain value as JSON has it."""
    if value is ABSENT:
        return {"absent": True}
    if isinstance(value, np.generic):
        return {"numpy": value.dtype.str, "bytes": value.tobytes().hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return value


def _plain(value: dict[str, Any]) -> Any:
    if "absent" in value:
        return ABSENT
    if "numpy" in value:
        return np.frombuffer(bytes.fromhex(value["bytes"]), dtype=value["numpy"])[0]
    return complex(*value["complex"]) if "complex" in value else bytes.fromhex(value["bytes"])
