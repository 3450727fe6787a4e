"""A training's state as bytes, and back: one safetensors file, its plain values in the header."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

KEY = "relubench"
"""The header's key for the plain values; a single one, since the order of several would differ between processes."""


def to_bytes(tensors: dict[str, Tensor], values: dict[str, Any]) -> bytes:
    """The content of a file with these; tensors of any layout and device are written contiguous."""
    from safetensors.torch import save

    return save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, {KEY: json.dumps(values)})


def from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the plain values that `to_bytes` wrote; raises ValueError for any other content."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        return load(content), json.loads(header["__metadata__"][KEY])
    except (SafetensorError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a checkpoint: {error}") from error
