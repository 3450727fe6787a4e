"""Finds the first difference between what two trainings stored: ids before records, masks and weights. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

NOT_COMPARED = {
    "sha256": "a digest of the whole record, the fields below included",
    "files": "digests of the files beside the record, which are compared themselves",
    "versions.relubench": "the version of the source, not of its results",
    **dict.fromkeys(
        ("versions.numpy", "versions.llvmlite", "versions.blas", "versions.backend", "versions.system"),
        "younger than some records, and said by the specification as far as it decides a result",
    ),
    "__metadata__.relubench.seconds": "the clock's, in the header of an exported file",
}
"""Fields that may differ, and why. What else the clock says is not in the records: it lies in `timings`."""

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
"""safetensors' name -> NumPy's; values of other types are shown byte by byte."""


def difference(first: dict[str, bytes], second: dict[str, bytes]) -> str | None:
    """The first difference between two trainings' files, ids before contents; None where there is none."""
    if not first:
        return "nothing was stored"
    for place in (1, 2):
        # Folders of ids first: one missing file of many means less than a run of another name.
        names = [{"/".join(name.split("/")[: place + 1]) for name in files} for files in (first, second)]
        if lone := sorted(names[0] ^ names[1]):
            return f"only the {'first' if lone[0] in names[0] else 'second'} has {lone[0]}" + (
                f", and {len(lone) - 1} more names differ" if len(lone) > 1 else ""
            )
    # Records before masks before weights: the record says what the numbers are of.
    for name in sorted(first, key=lambda one: (not one.endswith(".json"), one.endswith(".safetensors"), one)):
        if first[name] != second[name] and (told := _in_file(name, first[name], second[name])):
            return f"{name}: {told}"
    return None


def _in_file(name: str, first: bytes, second: bytes) -> str | None:
    """Where two contents of one file differ, in words; None if only in what is not compared."""
    if name.endswith(".json"):
        return _in_records(json.loads(first), json.loads(second))
    if name.endswith(".safetensors"):
        return _in_tensors(first, second)
    if len(first) != len(second):
        return f"{len(first)} and {len(second)} bytes"
    place = next(place for place, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)
    return f"byte {place} is {first[place]:#04x} and {second[place]:#04x}"


def _in_records(first: Any, second: Any) -> str | None:
    """The first field in which two JSON records differ; if in none, whether it is in their order."""
    leaves = [dict(_leaves(one)) for one in (first, second)]
    for field in {**leaves[0], **leaves[1]}:
        values = [one.get(field, "absent") for one in leaves]
        if values[0] != values[1]:
            return f"{field} is {values[0]} and {values[1]}"
    return None if list(leaves[0]) == list(leaves[1]) else "the fields are in another order"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every compared field of a record by its path, such as curve.0.train_loss, with its JSON text, in file order."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if path in NOT_COMPARED:
        return
    if not items:
        yield path, json.dumps(value)
    for key, inner in items:
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))


def _in_tensors(first: bytes, second: bytes) -> str | None:
    """Where two safetensors files differ: in the header, else in the first tensor with another value."""
    header, other = _header(first), _header(second)
    if (told := _in_records(header, other)) is not None:
        return f"header: {told}"
    for name, entry in header.items():
        if name != "__metadata__" and (told := _in_values(entry, _data(first, entry), _data(second, other[name]))):
            return f"{name}, {told}"
    return None


def _header(content: bytes) -> dict[str, Any]:
    """The header of a safetensors file, with the JSON texts of its metadata as their values."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__", {})
    return {**header, "__metadata__": {key: json.loads(text) for key, text in metadata.items()}}


def _data(content: bytes, entry: dict[str, Any]) -> bytes:
    """The bytes of the tensor that the header's entry is of."""
    data = content[8 + int.from_bytes(content[:8], "little") :]
    start, stop = entry["data_offsets"]
    return data[start:stop]


def _in_values(entry: dict[str, Any], first: bytes, second: bytes) -> str | None:
    """The first value of a tensor that differs in its bytes, -0 from 0 too, and how many do."""
    kind = DTYPES.get(entry["dtype"], "u1")
    values, others = np.frombuffer(first, kind), np.frombuffer(second, kind)
    bits = np.dtype(f"u{np.dtype(kind).itemsize}")
    differing = np.flatnonzero(values.view(bits) != others.view(bits))
    if not len(differing):
        return None
    place = int(differing[0])
    return f"value {place} is {values[place]} and {others[place]} ({len(differing)} of {len(values)} differ)"
