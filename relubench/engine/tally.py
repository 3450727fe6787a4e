"""Counts over the outputs and slopes of one hidden layer, batch by batch.

Shapes: P member, B batch, U units. One network has P = 1 here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relubench.engine.evaluation import accumulator
from relubench.engine.slopes import SlopeScale

NEAR = 0.01
"""An output is near zero if |h| is at most this part of the layer's root mean square."""
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
MOST_QUANTILE_VALUES = 4_000
"""Of more pre-activations every so-manieth is sorted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What has to be known of a layer before anything is counted."""

    near: Tensor
    """|h| up to this is near zero, [P]."""
    quantiles: list[list[float]]
    """Of the pre-activations, by member."""


def sample(z: Tensor, h: Tensor, members: int) -> Sample:
    """The scale and quantiles of a layer from some of its pre-activations and their outputs."""
    by_member = z.reshape(members, -1)
    step = -(-by_member.shape[1] // MOST_QUANTILE_VALUES)
    values = by_member[:, ::step].cpu().numpy()
    at = [round(one * (values.shape[1] - 1)) for one in QUANTILES]
    # Partial sorting, which torch does not have, takes a tenth of the time.
    ordered = np.partition(values, at, axis=1)
    scale = h.reshape(members, -1).square().mean(dim=1).sqrt()
    return Sample(NEAR * scale, ordered[:, at].tolist())


class Tally:
    """Of each member: exact zeros, near zeros, saturated outputs, moments, and the columns that had a slope."""

    def __init__(self, taken: Sample) -> None:
        self.near_at = taken.near
        self.values = 0
        exact = accumulator(taken.near.device.type)
        self.zeros, self.near, self.saturated, self.total, self.squares = (
            torch.zeros_like(taken.near, dtype=exact) for _ in range(5)
        )
        self.live = torch.empty(0)

    def add(self, h: Tensor, slope: Tensor, scale: SlopeScale, live: Tensor) -> None:
        """Count one batch: h, the slope in every column, and which columns have one at some image [P, columns * U]."""
        members = len(self.near_at)
        rows = h.reshape(members, -1)
        self.values += rows.shape[1]
        self.zeros += rows.shape[1] - torch.count_nonzero(rows, dim=1)
        self.near += torch.count_nonzero(rows.abs() <= self.near_at[:, None], dim=1)
        self.total += rows.sum(dim=1)
        self.squares += torch.linalg.vector_norm(rows, dim=1).square()
        steepest = slope.abs()
        if scale.columns > 1:
            axis = -3 if slope.dim() >= 4 else -1
            steepest = steepest.unflatten(axis, (scale.columns, -1)).amax(dim=axis - 1)
        self.saturated += torch.count_nonzero((steepest < scale.saturated).reshape(members, -1), dim=1)
        self.live = live if self.live.numel() == 0 else self.live | live

    def share(self, count: Tensor, place: int) -> float:
        """A count in percent of the outputs counted."""
        return 100.0 * float(count[place]) / self.values

    def moments(self, place: int) -> tuple[float, float]:
        """Mean and variance of the outputs."""
        mean = float(self.total[place]) / self.values
        return mean, float(self.squares[place]) / self.values - mean * mean
