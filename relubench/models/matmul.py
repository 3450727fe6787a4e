"""Who multiplies the matrices of one network's dense layers on a processor: a choice by its maker, never by timing.

Plain SGD on a dense network goes through generated kernels, which read each weight once (`relubench.models.kernels`).
For all else PyTorch sends a float32 product to MKL, which keeps its best kernels for Intel's processors. On AMD's,
oneDNN (which PyTorch carries too) multiplies two to three times as fast.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from relubench.models.backend import LARGE
from relubench.system.device_kinds import DEVICES

Library = Literal["torch", "turned", "onednn"]
"""torch: x W^T as it stands; turned: W x^T, copied back; onednn: x W^T by oneDNN."""

TURNED_BATCH = 64
"""Up to this batch one thread on Intel's MKL computes W x^T in half the time of x W^T; elsewhere it takes longer."""


def library(device: str, device_name: str, threads: int, weights: int) -> Library:
    """What one network's dense layer of so many weights is multiplied by, where no kernels are."""
    if not DEVICES[device].is_processor:
        return "torch"
    if "AMD" in device_name and weights >= LARGE and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return "onednn"
    return "turned" if threads == 1 and "Intel" in device_name else "torch"


def evaluated(chosen: Library, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """x W^T + b of a large batch x [B, I], W [O, I] and b [O] of any strides."""
    return onednn_linear(x, w, b) if chosen == "onednn" else torch.addmm(b, x, w.t())


def onednn_linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """x W^T + b, x [B, I], W [O, I] with any strides, b [O]."""
    return torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")


def storage(by_shape: dict[tuple[int, int], Tensor], like: Tensor, columns: int) -> Tensor:
    """Storage for [..., rows, columns] with the rows of `like`, made once for each shape."""
    key = (like.shape[-2], columns)
    if key not in by_shape:
        by_shape[key] = like.new_empty(*like.shape[:-1], columns)
    return by_shape[key]
