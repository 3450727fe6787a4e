"""Batch, layer and rms norm as layers.

Shapes: P member, B batch, I/O features in/out, F features, C channels, YX image. One network drops P: x [B, F] or
[B, C, Y, X]; a stack has x [P, B, F] or [P, B, C, Y, X]. Features lie in dimension -1, channels in dimension -3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from relubench.models.layers.base import AutogradLayer, Buffer
from relubench.models.optimizers import Parameter

BATCHNORM_MOMENTUM, NORM_EPS = 0.1, 1e-5
"""torch.nn.BatchNorm's defaults."""


class Norm(AutogradLayer):
    """batch (Ioffe & Szegedy 2015), layer (Ba et al. 2016) or rms norm (Zhang & Sennrich 2019), statistics per member.

    In images, batch norm is per channel over batch and pixels; layer and rms norm are over channels and pixels of one
    image. Scale and shift are [F] or [C] (in a stack with P in front).
    """

    def __init__(self, kind: str, parameters: Sequence[Parameter], image: bool, batched: bool) -> None:
        super().__init__(parameters)
        self.kind, self.image, self.batched = kind, image, batched
        if kind == "batch":
            flat = parameters[0].value.flatten()
            self.mean, self.variance = torch.zeros_like(flat), torch.ones_like(flat)
            self.buffers = (Buffer("mean", self.mean), Buffer("variance", self.variance))

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        if self.kind == "batch":
            return self._batch(x, leaves, training)
        shape = x.shape[-3:] if self.image else x.shape[-1:]
        y = F.rms_norm(x, shape, eps=NORM_EPS) if self.kind == "rms" else F.layer_norm(x, shape, eps=NORM_EPS)
        y = y * self._spread(leaves[0])
        return y + self._spread(leaves[1]) if self.kind == "layer" else y

    def _spread(self, value: Tensor) -> Tensor:
        """[F] or [P, F] so that it lies along x's features or channels."""
        if self.batched:
            value = value.unsqueeze(1)
        return value[..., None, None] if self.image else value

    def _batch(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        # Members side by side as channels of one call: each keeps statistics of its own.
        merged = x.transpose(0, 1).flatten(1, 2) if self.batched else x
        y = F.batch_norm(
            merged,
            self.mean,
            self.variance,
            leaves[0].flatten(),
            leaves[1].flatten(),
            training=training,
            momentum=BATCHNORM_MOMENTUM,
            eps=NORM_EPS,
        )
        return y.unflatten(1, (x.shape[0], x.shape[2])).transpose(0, 1) if self.batched else y
