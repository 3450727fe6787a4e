"""What multiplies the matrices of one network's dense layers on a processor, where no kernels do."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from relubench.errors import ComputeError
from relubench.models.backends.question import LARGE

Library = Literal["torch", "turned", "onednn"]
"""torch: x W^T as it stands; turned: W x^T, copied back; onednn: x W^T by oneDNN."""


MOST_SHAPES = 4
"""Storages that a layer keeps: of whole batches, the last one of an epoch, a probe's."""


def has_onednn() -> bool:
    """Whether this PyTorch multiplies by oneDNN."""
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


def library(backend: str, weights: int) -> Library:
    """What a dense layer of so many weights is multiplied by in a network of that backend, but for its kernels.

    Raises ComputeError where this PyTorch has no oneDNN.
    """
    if backend.endswith("onednn") and weights >= LARGE:
        if not has_onednn():
            raise ComputeError("this PyTorch was built without oneDNN", "use --set train.backend=torch")
        return "onednn"
    return "turned" if backend == "turned" else "torch"


def evaluated(chosen: Library, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """x W^T + b of a large batch x [B, I], W [O, I] and b [O] of any strides."""
    return onednn_linear(x, w, b) if chosen == "onednn" else torch.addmm(b, x, w.t())


def onednn_linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """x W^T + b, x [B, I], W [O, I] with any strides, b [O]."""
    return torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")


def storage(by_shape: dict[tuple[int, int], Tensor], like: Tensor, columns: int) -> Tensor:
    """Storage for [..., rows, columns] with the rows of `like`, made once for each of a few shapes."""
    key = (like.shape[-2], columns)
    if key not in by_shape:
        # An expert of a mixture gets other rows in every batch.
        if len(by_shape) == MOST_SHAPES:
            by_shape.clear()
        by_shape[key] = like.new_empty(*like.shape[:-1], columns)
    return by_shape[key]
