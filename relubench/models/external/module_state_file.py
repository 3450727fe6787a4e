"""The state of somebody else's module as tensors and JSON values for a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from relubench.models.external.module_state import ABSENT, ObjectParts, State, TensorCopy


def packed(state: State, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as tensors, whose names begin with `name`, and JSON values; `unpacked` turns both back."""
    tensors: dict[str, Tensor] = {}
    paths: dict[int, str] = {}

    def pack(copy: Any, path: str) -> Any:
        if isinstance(copy, TensorCopy):
            if id(copy) not in paths:
                paths[id(copy)] = path
                tensors[path] = copy.value
            return {"array" if copy.array else "tensor": paths[id(copy)]}
        if isinstance(copy, ObjectParts):
            if id(copy) in paths:
                return {"same": paths[id(copy)]}
            paths[id(copy)] = path
            items = [[pack(key, ""), pack(item, f"{path}.{place}")] for place, (key, item) in enumerate(copy.items)]
            return {"kind": copy.kind, "path": path, "items": items}
        return _json(copy)

    modules = {
        path: {
            key: pack(item, ".".join(filter(None, (name, path, key.rpartition(" ")[2]))))
            for key, item in values.items()
        }
        for path, values in state.modules.items()
        if values
    }
    return tensors, modules


def unpacked(tensors: Mapping[str, Tensor], modules: Mapping[str, Any], device: str) -> State:
    """The state that `packed` was given; its tensors lie on `device`. Raises KeyError where a tensor is missing."""
    copies: dict[str, Any] = {}

    def unpack(value: Any) -> Any:
        if isinstance(value, dict):
            for kind in ("tensor", "array"):
                if kind in value:
                    array, path = kind == "array", value[kind]
                    copies.setdefault(path, TensorCopy(tensors[path].to("cpu" if array else device).clone(), array))
                    return copies[path]
            if "same" in value:
                return copies.get(value["same"], ABSENT)
            if "kind" in value:
                parts = copies[value["path"]] = ObjectParts(value["kind"], [])
                parts.items.extend((unpack(key), unpack(item)) for key, item in value["items"])
                return parts
            return _plain(value)
        return value

    return State({path: {key: unpack(item) for key, item in values.items()} for path, values in modules.items()})


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
