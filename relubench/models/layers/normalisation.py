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
from relubench.models.norm_table import NormRow
from relubench.models.optimizers import Parameter

BATCHNORM_MOMENTUM, NORM_EPS = 0.1, 1e-5
"""torch.nn.BatchNorm's defaults."""


class Norm(AutogradLayer):
    """A normalisation with what its row of `NORMS` has it learn, [F] or [C] each (in a stack with P in front).

    Statistics are a member's own. In images, batch norm is per channel over batch and pixels; layer and rms norm are
    over channels and pixels of one image.
    """

    def __init__(self, row: NormRow, parameters: Sequence[Parameter], image: bool, batched: bool) -> None:
        super().__init__(parameters)
        self.row, self.image, self.batched = row, image, batched

    def linear(self) -> tuple[Tensor, Tensor]:
        """Factor and shift of each unit in evaluation, [F] or [P, F] of float64; only of a norm that is linear then."""
        raise ValueError(f"{type(self).__name__} is not piecewise linear here")

    def shape(self, x: Tensor) -> Sequence[int]:
        """The dimensions of one example."""
        return x.shape[-3:] if self.image else x.shape[-1:]

    def spread(self, value: Tensor) -> Tensor:
        """[F] or [P, F] so that it lies along x's features or channels."""
        if self.batched:
            value = value.unsqueeze(1)
        return value[..., None, None] if self.image else value


class LayerNorm(Norm):
    """scale (x - mean) / deviation + shift, over the units of an example (Ba et al. 2016)."""

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        y = F.layer_norm(x, self.shape(x), eps=NORM_EPS)
        return y * self.spread(leaves[0]) + self.spread(leaves[1])


class RmsNorm(Norm):
    """scale x / root mean square, over the units of an example (Zhang & Sennrich 2019)."""

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        return F.rms_norm(x, self.shape(x), eps=NORM_EPS) * self.spread(leaves[0])


class BatchNorm(Norm):
    """scale (x - mean) / deviation + shift, over the batch, in evaluation with running ones (Ioffe & Szegedy 2015)."""

    def __init__(self, row: NormRow, parameters: Sequence[Parameter], image: bool, batched: bool) -> None:
        super().__init__(row, parameters, image, batched)
        flat = parameters[0].value.flatten()
        self.mean, self.variance = torch.zeros_like(flat), torch.ones_like(flat)
        self.buffers = (Buffer("mean", self.mean), Buffer("variance", self.variance))

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
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

    def linear(self) -> tuple[Tensor, Tensor]:
        scale, shift = (parameter.value.detach().to("cpu", torch.float64) for parameter in self.parameters)
        mean, variance = (value.view_as(scale).to("cpu", torch.float64) for value in (self.mean, self.variance))
        factor = scale / (variance + NORM_EPS).sqrt()
        return factor, shift - mean * factor
