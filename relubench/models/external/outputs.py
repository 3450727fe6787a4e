"""What a network that somebody else wrote gives back: class scores, alone or among other things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

MAIN = ("logits", "out", "output", "scores", "main")
"""Names that the class scores go by, in this order, in a dictionary or an object."""


def class_scores(y: Any, images: int, classes: int | None) -> Tensor | None:
    """The class scores [B, K] among what a forward gave for `images`; None where nothing can be taken for them.

    A tensor stands for itself. Of a tuple, dictionary or object it is the part called as in `MAIN`, else the first
    tensor of shape [B, K] (an auxiliary head's output comes after the main one), else the first tensor.
    """
    if isinstance(y, Tensor):
        return y
    parts = _parts(y)
    tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
    named = [tensors[name] for name in MAIN if name in tensors]
    candidates = [*named, *tensors.values()]
    fitting = [
        tensor
        for tensor in candidates
        if tensor.dim() == 2 and len(tensor) == images and classes in (None, tensor.shape[1])
    ]
    if fitting or candidates:
        return (fitting or candidates)[0]
    nested = (class_scores(part, images, classes) for part in parts.values() if _parts(part))
    return next((scores for scores in nested if scores is not None), None)


def form(y: Any) -> str:
    """The kind of thing it is, for people: 'a tuple of 2', "a dictionary (out, aux)"."""
    if isinstance(y, Mapping):
        return f"a dictionary ({', '.join(str(key) for key in list(y)[:4])})"
    if isinstance(y, (tuple, list)):
        return f"a {'list' if isinstance(y, list) else 'tuple'} of {len(y)}"
    return f"an object ({type(y).__name__})"


def _parts(y: Any) -> dict[Any, Any]:
    if isinstance(y, Tensor):
        return {}
    if isinstance(y, Mapping):
        return dict(y)
    if isinstance(y, tuple) and hasattr(y, "_asdict"):
        return dict(y._asdict())  # type: ignore[attr-defined]
    if isinstance(y, (tuple, list)):
        return dict(enumerate(y))
    if is_dataclass(y):
        return {field.name: getattr(y, field.name) for field in fields(y)}
    return {name: getattr(y, name) for name in MAIN if hasattr(y, name)}
