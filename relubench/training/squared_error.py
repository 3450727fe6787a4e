"""Squared error: the loss of regression, and of fitting a picture's colours.

Shapes: P member, B batch, K output units.
"""

from __future__ import annotations

import torch
from torch import Tensor


class SquaredError:
    """The squared error (z - y)^2, averaged over the K outputs and the batch; targets are float32 [N, K]."""

    def targets(self, y: Tensor, outputs: int) -> Tensor:
        return y

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """2 (z - y) / (B K), and z - y."""
        gap = output.to(torch.float32) - target
        return gap * (2.0 / (target.shape[-2] * target.shape[-1])), gap

    def total(self, record: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        return record.square_().sum(dim=(-2, -1), dtype=dtype).div_(target.shape[-1])

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        return (output.to(torch.float32) - y).square().mean(dim=-1)

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        return self.losses(output, y)
