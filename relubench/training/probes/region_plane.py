"""The linear regions of a piecewise-linear network on a plane through three images, on a grid of points.

A point's region is named by the piece of every activation that it lies on (Hanin & Rolnick 2019): the interval between
kinks, or the winning column of a maximum. In float32, since a point is right on a border only by accident.

Shapes: N points, F features, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relubench.training.probes.linear_regions import LinearMap, LinearStage, PiecewiseLinear

MARGIN = 0.35
"""The square reaches beyond the triangle of images by this part of its longer side."""
CHUNK_VALUES = 20_000_000
"""Pre-activations of the widest layer that are computed together."""


@dataclass(frozen=True, slots=True)
class Plane:
    """origin + u * first + v * second, with orthonormal directions: distances in it are those between images."""

    origin: Tensor
    first: Tensor
    second: Tensor
    corners: list[tuple[float, float]]
    """Where the three images lie, as (u, v)."""
    square: tuple[float, float, float, float]
    """Lowest and highest u, lowest and highest v."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Of each point of the grid, rows from the lowest v up."""

    region: np.ndarray
    """The number of its region, [v, u]."""
    label: np.ndarray
    """The class that the network names, [v, u]."""
    count: int
    """Regions that a point of the grid lies in: those between points are missed."""


def plane_through(a: Tensor, b: Tensor, c: Tensor) -> Plane:
    """The plane through three images [F]; raises ValueError if they lie on a line."""
    a, b, c = (image.flatten().to("cpu", torch.float64) for image in (a, b, c))
    first, across = b - a, c - a
    length = float(first.norm())
    first = first / max(length, 1e-300)
    u = float(across @ first)
    perpendicular = across - u * first
    height = float(perpendicular.norm())
    if height <= 1e-9 * max(length, 1.0):
        raise ValueError("the three images lie on a line")
    corners = [(0.0, 0.0), (length, 0.0), (u, height)]
    low, high = min(0.0, u), max(length, u)
    half = (0.5 + MARGIN) * max(high - low, height)
    middle = (low + high) / 2, height / 2
    square = (middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half)
    return Plane(a, first, perpendicular / height, corners, square)


@torch.no_grad()
def regions_on(stages: Sequence[LinearStage], plane: Plane, points: int) -> Regions:
    """The regions on a grid of points x points over the plane's square."""
    low_u, high_u, low_v, high_v = plane.square
    v, u = torch.meshgrid(
        torch.linspace(low_v, high_v, points, dtype=torch.float64),
        torch.linspace(low_u, high_u, points, dtype=torch.float64),
        indexing="ij",
    )
    positions = torch.stack([u.flatten(), v.flatten()], dim=1)
    widest = max(stage.weight.shape[0] for stage in stages if isinstance(stage, LinearMap))
    parts = [_codes_and_classes(stages, plane, part) for part in positions.split(max(1, CHUNK_VALUES // widest))]
    distinct, regions = np.unique(torch.cat([codes for codes, _ in parts]).numpy(), return_inverse=True)
    label = torch.cat([classes for _, classes in parts]).numpy()
    return Regions(regions.reshape(points, points), label.reshape(points, points), len(distinct))


def _codes_and_classes(stages: Sequence[LinearStage], plane: Plane, positions: Tensor) -> tuple[Tensor, Tensor]:
    """A number for each point's region and the class named there; positions [N, 2]."""
    first = stages[0]
    assert isinstance(first, LinearMap)
    # What the first layer makes of the plane is a plane: the images themselves are never formed.
    spread = torch.stack([plane.first, plane.second]) @ first.weight.T
    z = (positions @ spread + (first.weight @ plane.origin + first.bias)).float()
    code = torch.zeros(len(positions), dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    for stage in stages[1:]:
        if isinstance(stage, LinearMap):
            z = z @ stage.weight.T.float() + stage.bias.float()
            continue
        piece = _piece(z, stage)
        factors = torch.randint(-(2**62), 2**62, (piece.shape[1],), generator=generator)
        # Sums wrap around: two patterns share a number with a probability of 2^-62 or so.
        code += (piece * factors).sum(dim=1)
        z = stage.function(z).float()
    return code, z.argmax(dim=1)


def _piece(z: Tensor, activation: PiecewiseLinear) -> Tensor:
    """Which piece of the activation each unit is on, [N, U]."""
    if activation.inputs_per_unit > 1:
        return torch.stack(z.chunk(activation.inputs_per_unit, dim=1)).argmax(dim=0)
    return torch.bucketize(z, torch.tensor(activation.kinks, dtype=z.dtype))
