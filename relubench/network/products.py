"""Who multiplies the matrices of one network's dense layers on a processor: a choice by its maker, never by timing.

PyTorch sends a float32 product to MKL, which keeps its best kernels for Intel's processors. On AMD's, oneDNN (which
PyTorch carries too) took four fifths of the time for a step's products at a batch of 10 on two threads, and as long on
one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Library = Literal["torch", "turned", "onednn"]
"""torch: x W^T as it stands; turned: W x^T, copied back; onednn: x W^T by oneDNN."""

TURNED_BATCH = 64
"""Up to this batch one thread on Intel's MKL computes W x^T in half the time of x W^T; elsewhere it takes longer."""


ONEDNN_WEIGHTS = 100_000
"""From here on oneDNN's kernels save more than its calls cost, 15 microseconds each."""


def library(device: str, device_name: str, threads: int, weights: int) -> Library:
    """What one network's dense layer of so many weights is multiplied by."""
    if device != "cpu":
        return "torch"
    if threads == 1:
        return "turned" if "Intel" in device_name else "torch"
    onednn = "AMD" in device_name and weights >= ONEDNN_WEIGHTS and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return "onednn" if onednn else "torch"


def onednn_linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """x W^T + b, x [B, I], W [O, I] with any strides, b [O]."""
    return torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")
