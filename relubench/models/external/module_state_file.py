"""The state of somebody else's module as tensors and JSON values for a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relubench.models.external.module_state import ArrayCopy, ObjectParts, State, TensorCopy


def packed(state: State, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as tensors, whose names begin with `name`, and JSON values; `unpacked` turns both back."""
    tensors: dict[str, Tensor] = {}
    paths: dict[int, str] = {}

    def pack(copy: Any, path: str) -> Any:
        if isinstance(copy, TensorCopy | ArrayCopy):
            tensor, facts = _stored(copy)
            if id(copy) not in paths:
                paths[id(copy)] = path
                tensors[path] = tensor
            return {"array" if isinstance(copy, ArrayCopy) else "tensor": paths[id(copy)], **facts}
        if isinstance(copy, ObjectParts):
            if id(copy) in paths:
                return {"same": paths[id(copy)]}
            paths[id(copy)] = path
            items = [
                [pack(key, f"{path}.{place}.key"), pack(item, f"{path}.{place}")]
                for place, (key, item) in enumerate(copy.items)
            ]
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
            path = value.get("tensor", value.get("array"))
            if path is not None:
                if path not in copies:
                    copies[path] = _read(tensors[path], value, device)
                return copies[path]
            if "same" in value:
                return copies[value["same"]]
            if "kind" in value:
                parts = copies[value["path"]] = ObjectParts(value["kind"], [])
                parts.items.extend((unpack(key), unpack(item)) for key, item in value["items"])
                return parts
            return _plain(value)
        return value

    return State({path: {key: unpack(item) for key, item in values.items()} for path, values in modules.items()})


def _stored(copy: TensorCopy | ArrayCopy) -> tuple[Tensor, dict[str, Any]]:
    """The tensor that a file can hold of it, and what tells what it was, where that is not the same."""
    if isinstance(copy, TensorCopy):
        if copy.value.is_complex():
            return torch.view_as_real(copy.value.resolve_conj()), {"complex": True}
        return (copy.value.to_dense(), {"sparse": True}) if copy.value.is_sparse else (copy.value, {})
    try:
        return torch.from_numpy(copy.value), {}
    except (TypeError, ValueError):  # Text, dates, records, bytes in another order.
        description = np.lib.format.dtype_to_descr(copy.value.dtype)
        content = torch.tensor(list(copy.value.tobytes()), dtype=torch.uint8)
        return content, {"dtype": description, "shape": list(copy.value.shape)}


def _read(tensor: Tensor, facts: Mapping[str, Any], device: str) -> TensorCopy | ArrayCopy:
    if "tensor" in facts:
        tensor = torch.view_as_complex(tensor.contiguous()) if "complex" in facts else tensor
        return TensorCopy((tensor.to_sparse() if "sparse" in facts else tensor).to(device).clone())
    if "dtype" not in facts:
        return ArrayCopy(tensor.cpu().clone().numpy())
    fields = facts["dtype"]
    description: Any = fields if isinstance(fields, str) else [tuple(field) for field in fields]
    content = np.frombuffer(tensor.cpu().numpy().tobytes(), np.lib.format.descr_to_dtype(description))
    return ArrayCopy(content.reshape(facts["shape"]).copy())


def _json(value: Any) -> Any:
    """A plain value as JSON has it."""
    if isinstance(value, np.generic):
        return {"numpy": value.dtype.str, "bytes": value.tobytes().hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return value


def _plain(value: dict[str, Any]) -> Any:
    if "numpy" in value:
        return np.frombuffer(bytes.fromhex(value["bytes"]), dtype=value["numpy"])[0]
    return complex(*value["complex"]) if "complex" in value else bytes.fromhex(value["bytes"])
