"""Counts over the outputs and slopes of hidden layers, batch by batch.

Shapes: R row, one for each layer and member counted here; B batch, U units. One layer of one network has R = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.training.probes.dead_units import columns_with_slope
from relubench.training.probes.slopes import SlopeScale, slope_of

SAMPLE_IMAGES = 100
"""The scale for near zeros and the quantiles of pre-activations come from this many of the images."""
NEAR = 0.01
"""An output is near zero if |h| is at most this part of the layer's root mean square."""
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
MOST_QUANTILE_VALUES = 4_000
"""Of more pre-activations than these an evenly spaced part is sorted."""


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """A hidden layer on a batch of images, its slopes not taken yet."""

    layer: Layer
    z: Tensor
    h: Tensor
    trace: Tensor
    """See `slopes.output_and_trace`."""


@dataclass(frozen=True, slots=True)
class LayerBatch:
    """Hidden layers on a batch of images."""

    z: Tensor
    """Some pre-activations of the first images, [R, ..]."""
    h: Tensor
    """[R, B, U] or [R, B, C, Y, X]."""
    slope: Tensor
    """In every column: [R, B, columns * U] or [R, B, columns * C, Y, X]."""


@dataclass(frozen=True, slots=True)
class ActivationCounts:
    """What a layer of one member did, over all batches."""

    zeros_pct: float
    near_pct: float
    saturated_pct: float
    mean: float
    variance: float
    quantiles: list[float]
    """Of the pre-activations."""


def sample_pre_activations(z: Tensor) -> Tensor:
    """A copy of those pre-activations of z [R, B, ..] that are sorted for the quantiles."""
    rows = z[:, :SAMPLE_IMAGES].reshape(len(z), -1)
    return rows[:, :: max(1, -(-rows.shape[1] // MOST_QUANTILE_VALUES))].clone()


def join_layers(layers: Sequence[LayerTrace]) -> LayerBatch:
    """Layers of one shape and activation as rows of one batch, layer after layer."""
    first = layers[0]
    if len(layers) == 1:
        z, h, trace = first.z, first.h, first.trace
    else:
        z, h = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("z", "h"))
        trace = h if first.trace is first.h else torch.cat([layer.trace for layer in layers])
    return LayerBatch(z, h, slope_of(first.layer, h, trace))


class ActivationCounter:
    """Counts each row's exact zeros, near zeros and saturated outputs, moments, quantiles, and columns with a slope."""

    def __init__(self, batch: LayerBatch) -> None:
        """Scale and quantiles come from the first batch; the batch itself is not counted yet."""
        # Sorted by numpy, which takes a thirtieth of torch's time.
        ordered = np.sort(batch.z.cpu().numpy(), axis=1)
        last = ordered.shape[1] - 1
        # An expert of a mixture may have got no row.
        is_empty = last < 0
        self.quantiles = (
            [[math.nan] * len(QUANTILES) for _ in ordered]
            if is_empty
            else ordered[:, [round(share * last) for share in QUANTILES]].tolist()
        )
        first = batch.h[:, :SAMPLE_IMAGES].reshape(len(batch.h), -1)
        size = max(1, first.shape[1])
        self.near_at = torch.linalg.vector_norm(first, dim=1, keepdim=True).mul_(NEAR / size**0.5)
        self.values = 0
        self.sums: list[Tensor] = []
        """The counts of each batch: zeros, near zeros, saturated, sum and sum of squares, [5, R]."""
        self.with_slope = torch.empty(0)
        """The columns that had a slope at some image, [R, columns * U]."""

    def add(self, batch: LayerBatch, scale: SlopeScale) -> None:
        """Count one batch."""
        rows = batch.h.reshape(len(batch.h), -1)
        self.values += rows.shape[1]
        # Flags of 0.0 and 1.0, whose sums are exact up to 2**24 a batch: bool ones take several times as long.
        flags = torch.empty_like(rows)
        zeros = torch.eq(rows, 0.0, out=flags).sum(dim=1)
        near = torch.abs(rows, out=flags).le_(self.near_at).sum(dim=1)
        size = batch.slope.abs()
        with_slope = columns_with_slope(size, scale.eps)
        self.with_slope = with_slope if self.with_slope.numel() == 0 else self.with_slope | with_slope
        if scale.inputs_per_unit > 1:
            axis = -3 if size.dim() > 3 else -1
            size = size.unflatten(axis, (scale.inputs_per_unit, -1)).amax(dim=axis - 1)
        saturated = size.lt_(scale.saturated).reshape(len(rows), -1).sum(dim=1)
        squares = torch.linalg.vector_norm(rows, dim=1).square_()
        self.sums.append(torch.stack([zeros, near, saturated, rows.sum(dim=1), squares]))

    def counts(self) -> list[ActivationCounts]:
        """The counts of every row."""
        by_row = []
        values = max(1, self.values)
        sums = np.add.reduce(torch.stack(self.sums).cpu().numpy(), axis=0, dtype=np.float64)
        for row, (zeros, near, saturated, total, squares) in enumerate(sums.T.tolist()):
            mean = total / values
            by_row.append(
                ActivationCounts(
                    zeros_pct=100.0 * zeros / values,
                    near_pct=100.0 * near / values,
                    saturated_pct=100.0 * saturated / values,
                    mean=mean,
                    variance=squares / values - mean * mean,
                    quantiles=self.quantiles[row],
                )
            )
        return by_row
