"""A population's state as bytes, and back: one safetensors file, its plain values in the header."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

KEY = "relubench"
"""One key only: the order of several would differ from one process to the next."""


def to_bytes(tensors: dict[str, Tensor], values: dict[str, Any]) -> bytes:
    """The file's content; tensors of any layout and device are written contiguous."""
    from safetensors.torch import save

    return save({key: one.detach().cpu().contiguous() for key, one in tensors.items()}, {KEY: json.dumps(values)})


def from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `to_bytes` was given; raises ValueError for anything that is no such file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        return load(content), json.loads(header["__metadata__"][KEY])
    except (SafetensorError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a checkpoint: {error}") from error
