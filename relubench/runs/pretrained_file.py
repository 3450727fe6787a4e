"""Pre-trained layers as a file of their own: safetensors, with their settings in the header. Torch-free.

Tensors have the network's names, `0.weight` [units, inputs], `0.bias` [units], and so on from the bottom up. A file
that another program wrote needs no header.
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
from relubench.runs.spec import FROM_FILE, PretrainingSpec

KEY = "relubench"
MAX_FACTS_CHARACTERS = 100_000
"""The most characters of facts that a header may have."""


@dataclass(frozen=True, slots=True)
class PretrainedFile:
    """The pre-trained layers of a file."""

    path: Path
    digest: str
    layers: list[dict[str, np.ndarray]]
    """From the bottom up; the tensors of each by name."""
    facts: dict[str, Any]
    """From the header: method, activation, dataset, seed, and the seconds of each layer; empty without a header."""

    @property
    def seconds(self) -> list[float]:
        """The seconds that each layer took; 0 where the file does not say."""
        values = self.facts.get("seconds")
        return [float(value) for value in values] if values else [0.0] * len(self.layers)

    @property
    def spec(self) -> PretrainingSpec:
        origin = ", ".join(str(self.facts[key]) for key in ("method", "activation", "dataset") if key in self.facts)
        return PretrainingSpec(
            method=FROM_FILE, rates=(0.0,) * len(self.layers), source=self.digest, origin=origin or self.path.name
        )


def read(path: Path) -> PretrainedFile:
    """The pre-trained layers of the file; raises DataError if it is missing, damaged, or holds no such layers."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if path.exists() and not path.is_file():
        raise DataError(f"--from {path} is not a file", "name a file that --export wrote")
    try:
        content = path.read_bytes()
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        facts = json.loads(header.get("__metadata__", {}).get(KEY, "{}"), parse_constant=_reject_constant)
    except OSError as error:
        raise DataError(f"--from {path} cannot be read: {error.strerror}", "name a file that --export wrote") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"--from {path} is no safetensors file: {error}", "name a file that --export wrote") from error
    layers: dict[int, dict[str, np.ndarray]] = {}
    for name, value in tensors.items():
        number, dot, _ = name.partition(".")
        if not dot or not number.isdecimal() or len(number) > 4:
            raise DataError(f"--from {path}: {name!r} is no layer's tensor", "they are called 0.weight, 0.bias, ...")
        layers.setdefault(int(number), {})[name] = value
    if sorted(layers) != list(range(len(layers))) or not layers:
        raise DataError(f"--from {path} lacks a layer: it has {sorted(layers)}", "layers are numbered from 0")
    ordered = [layers[number] for number in range(len(layers))]
    _check_numbers(path, tensors)
    _check_facts(path, facts, len(ordered))
    return PretrainedFile(path, hashlib.sha256(content).hexdigest(), ordered, facts)


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _check_numbers(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Raises DataError unless every value is a finite number of a floating type."""
    for name, value in tensors.items():
        if not (np.issubdtype(value.dtype, np.floating) and bool(np.isfinite(value).all())):
            fault = (
                f"{name} is {value.dtype}" if not np.issubdtype(value.dtype, np.floating) else f"{name} is not finite"
            )
            raise DataError(f"--from {path}: {fault}", "weights and biases are finite floating-point numbers")


def _check_facts(path: Path, facts: Any, num_layers: int) -> None:
    """Raises DataError where the header holds what cannot be true of the file; it may hold nothing."""
    if not isinstance(facts, dict) or len(json.dumps(facts)) > MAX_FACTS_CHARACTERS:
        raise DataError(f"--from {path}: its header {KEY!r} is no short object", "name a file that --export wrote")
    names = {key: facts[key] for key in ("method", "activation", "dataset") if key in facts}
    invalid_keys = [key for key, value in names.items() if not isinstance(value, str)]
    seconds = facts.get("seconds")
    all_valid = isinstance(seconds, list) and all(
        type(value) in (int, float) and 0 <= value < 1e15 for value in seconds
    )
    if seconds is not None and not (all_valid and len(seconds) == num_layers):
        invalid_keys.append("seconds")
    if invalid_keys:
        raise DataError(
            f"--from {path}: its header has {with_article(invalid_keys[0])} that cannot be",
            "name a file that --export wrote",
        )


def check_fit(file: PretrainedFile, input_shape: Sequence[int], hidden: Sequence[int], inputs_per_unit: int) -> None:
    """Raises UsageError if the layers are not the network's lowest ones."""
    if len(file.layers) > len(hidden):
        raise UsageError(
            f"--from {file.path} has {len(file.layers)} layers, the network {len(hidden)} hidden ones",
            "choose the --model that it was made for",
        )
    inputs = math.prod(input_shape)
    for number, (layer, units) in enumerate(zip(file.layers, hidden, strict=False)):
        expected_shapes = {
            f"{number}.weight": (units * inputs_per_unit, inputs),
            f"{number}.bias": (units * inputs_per_unit,),
        }
        for name, shape in expected_shapes.items():
            actual = layer[name].shape if name in layer else "missing"
            if actual != shape:
                raise UsageError(
                    f"--from {file.path} does not fit the network: {name} is {actual}, not {shape}",
                    "choose the --model and the --dataset that it was made for",
                )
        inputs = units


def to_bytes(layers: Sequence[dict[str, np.ndarray]], facts: dict[str, Any]) -> bytes:
    """The content of a file with these layers and facts."""
    from safetensors.numpy import save

    return save({name: tensor for layer in layers for name, tensor in layer.items()}, {KEY: json.dumps(facts)})
