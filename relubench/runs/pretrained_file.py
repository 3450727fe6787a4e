"""A pre-trained stack as a file of its own: safetensors, with what made it in the header. Torch-free.

Tensors go by the network's names, `0.weight` [units, inputs], `0.bias` [units], and so on bottom up. A file from
elsewhere needs no header.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relubench.errors import DataError, UsageError, with_article
from relubench.runs.spec import FROM_FILE, StackSpec

KEY = "relubench"
MOST_FACTS = 100_000
"""Characters that the header may say of the file."""


@dataclass(frozen=True, slots=True)
class StackFile:
    """What a file holds."""

    path: Path
    digest: str
    layers: list[dict[str, np.ndarray]]
    """Bottom up, each layer's tensors by name."""
    facts: dict[str, Any]
    """The header's: method, activation, dataset, seed, and the seconds of each layer; empty for a file without."""

    @property
    def seconds(self) -> list[float]:
        """What each layer took; 0 where the file does not say."""
        known = self.facts.get("seconds")
        return [float(one) for one in known] if known else [0.0] * len(self.layers)

    @property
    def spec(self) -> StackSpec:
        named = ", ".join(str(self.facts[key]) for key in ("method", "activation", "dataset") if key in self.facts)
        return StackSpec(
            method=FROM_FILE, rates=(0.0,) * len(self.layers), source=self.digest, origin=named or self.path.name
        )


def read(path: Path) -> StackFile:
    """Raises DataError for a file that is missing, damaged or no stack."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if path.exists() and not path.is_file():
        raise DataError(f"--from {path} is not a file", "name a file that --export wrote")
    try:
        content = path.read_bytes()
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        facts = json.loads(header.get("__metadata__", {}).get(KEY, "{}"), parse_constant=_no_number)
    except OSError as error:
        raise DataError(f"--from {path} cannot be read: {error.strerror}", "name a file that --export wrote") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"--from {path} is no safetensors file: {error}", "name a file that --export wrote") from error
    layers: dict[int, dict[str, np.ndarray]] = {}
    for name, value in tensors.items():
        place, dot, _ = name.partition(".")
        if not dot or not place.isdecimal() or len(place) > 4:
            raise DataError(f"--from {path}: {name!r} is no layer's tensor", "they are called 0.weight, 0.bias, ...")
        layers.setdefault(int(place), {})[name] = value
    if sorted(layers) != list(range(len(layers))) or not layers:
        raise DataError(f"--from {path} lacks a layer: it has {sorted(layers)}", "layers are numbered from 0")
    ordered = [layers[place] for place in range(len(layers))]
    _check_numbers(path, tensors)
    _check_facts(path, facts, len(ordered))
    return StackFile(path, hashlib.sha256(content).hexdigest(), ordered, facts)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _check_numbers(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Raises DataError unless every value is a finite number of a floating type."""
    for name, value in tensors.items():
        if not (np.issubdtype(value.dtype, np.floating) and bool(np.isfinite(value).all())):
            what = (
                f"{name} is {value.dtype}" if not np.issubdtype(value.dtype, np.floating) else f"{name} is not finite"
            )
            raise DataError(f"--from {path}: {what}", "weights and biases are finite floating-point numbers")


def _check_facts(path: Path, facts: Any, layers: int) -> None:
    """Raises DataError where the header says of the file what cannot be; it may say nothing."""
    if not isinstance(facts, dict) or len(json.dumps(facts)) > MOST_FACTS:
        raise DataError(f"--from {path}: its header {KEY!r} is no short object", "name a file that --export wrote")
    names = {key: facts[key] for key in ("method", "activation", "dataset") if key in facts}
    wrong = [key for key, value in names.items() if not isinstance(value, str)]
    seconds = facts.get("seconds")
    numbers = isinstance(seconds, list) and all(type(one) in (int, float) and 0 <= one < 1e15 for one in seconds)
    if seconds is not None and not (numbers and len(seconds) == layers):
        wrong.append("seconds")
    if wrong:
        raise DataError(
            f"--from {path}: its header has {with_article(wrong[0])} that cannot be", "name a file that --export wrote"
        )


def check_fit(file: StackFile, input_shape: Sequence[int], hidden: Sequence[int], columns: int) -> None:
    """Raises UsageError if the layers are not the network's lowest ones."""
    if len(file.layers) > len(hidden):
        raise UsageError(
            f"--from {file.path} has {len(file.layers)} layers, the network {len(hidden)} hidden ones",
            "choose the --model that it was made for",
        )
    inputs = math.prod(input_shape)
    for place, (layer, units) in enumerate(zip(file.layers, hidden, strict=False)):
        wanted = {f"{place}.weight": (units * columns, inputs), f"{place}.bias": (units * columns,)}
        for name, shape in wanted.items():
            found = layer[name].shape if name in layer else "missing"
            if found != shape:
                raise UsageError(
                    f"--from {file.path} does not fit the network: {name} is {found}, not {shape}",
                    "choose the --model and the --dataset that it was made for",
                )
        inputs = units


def to_bytes(layers: Sequence[dict[str, np.ndarray]], facts: dict[str, Any]) -> bytes:
    """The content of a stack's file."""
    from safetensors.numpy import save

    return save({name: one for layer in layers for name, one in layer.items()}, {KEY: json.dumps(facts)})
