"""Images as the rows of a Transformer, and back: patches, their positions, and the mean over an image's rows.

Shapes: B images, C channels, Y X pixels, S side of a patch, N patches of an image, R = B N rows, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.models.optimizers import Optimizer

POSITION_BASE = 10_000.0
"""Of the wavelengths of the positions, as in Vaswani et al. 2017."""


class Patches(Layer):
    """Images [B, C, Y, X] as rows [R, C S S], a row for each square of S x S pixels, line by line."""

    def __init__(self, side: int) -> None:
        self.side = side

    def forward(self, x: Tensor, training: bool) -> Tensor:
        squares = x.unfold(2, self.side, self.side).unfold(3, self.side, self.side)
        return squares.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * self.side**2)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        """Nothing: the images are the first thing there is."""
        return grad


class Positions(Layer):
    """Rows [R, D] plus a fixed code of each patch's place: sines and cosines of its line and of its column."""

    stream = True

    def __init__(self, lines: int, columns: int, width: int) -> None:
        quarter = width // 4
        rates = POSITION_BASE ** (-torch.arange(quarter, dtype=torch.float64) / max(1, quarter - 1))
        places = torch.cartesian_prod(torch.arange(lines), torch.arange(columns)).reshape(-1, 2)
        angles = places.unsqueeze(-1) * rates
        codes = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
        self.codes = torch.zeros(len(places), width)
        self.codes[:, : codes.shape[1]] = codes

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.codes = self.codes.to(x.device)
        return (x.unflatten(0, (-1, len(self.codes))) + self.codes).flatten(0, 1)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad


class MeanOverRows(Layer):
    """The mean of each image's N rows: [R, D] to [B, D]."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return x.unflatten(0, (-1, self.rows)).mean(dim=1)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        return grad.div(self.rows).repeat_interleave(self.rows, dim=0)
