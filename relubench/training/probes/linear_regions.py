"""Linear regions: how many linear pieces a piecewise-linear network makes along a line, exactly (Hanin & Rolnick 2019).

Along x(t) = a + t (b - a), 0 <= t <= 1, every layer is piecewise linear in t. Layer by layer each piece is described by
its place, its value and its slope in t; a unit whose pre-activation crosses a kink inside a piece splits it. Slopes are
products of weights, never differences of values, so that a piece however short has the right one. All in float64.

Shapes: S pieces, F features, I/O inputs/outputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relubench.activations import ACTIVATIONS
from relubench.models.layers.activation import AnalyticActivation, AutogradActivation
from relubench.models.layers.base import Dropout, Layer, SignFlip
from relubench.models.layers.dense import Linear
from relubench.models.layers.normalisation import Norm
from relubench.runs.result import RegionPoint
from relubench.training.probes.base import Probe

if TYPE_CHECKING:
    from relubench.training.member import Member

LINES = 5
"""Lines along which linear pieces are counted, each between two of the probe images."""

SAME = 1e-9
"""Output slopes that differ by less than this part of the largest are one slope."""


@dataclass(frozen=True, slots=True)
class LinearMap:
    """y = x W^T + b, W [O, I] and b [O]."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """h = f(z), linear between kinks; with several columns a unit, the largest of them."""

    function: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...]
    inputs_per_unit: int


class RegionProbe(Probe):
    """Counts the linear pieces along lines between probe images, the same lines at every epoch."""

    def measure(self, epoch: int, running: Mapping[int, Member]) -> None:
        population = self.population
        x, _ = self.images.first(2 * LINES)
        for place, member in running.items():
            part = place if population.batched else None
            stages = linear_stages(population.layers, population.spec.activation, part)
            lines = [count_pieces(stages, a, b) for a, b in zip(x[0::2], x[1::2], strict=False)]
            member.regions.append(RegionPoint(epoch=epoch, lines=lines))


LinearStage = LinearMap | PiecewiseLinear


@dataclass(frozen=True, slots=True)
class LineSegments:
    """A line that is cut into S pieces."""

    cuts: Tensor
    """Where each begins, and where the last ends; [S + 1]."""
    value: Tensor
    """At each one's beginning, [S, F]."""
    slope: Tensor
    """In t, [S, F]."""


@torch.no_grad()
def linear_stages(layers: Sequence[Layer], activation: str, member: int | None) -> list[LinearStage]:
    """The network of one member (None: of a single network) in evaluation mode, as linear maps and activations.

    Raises ValueError for a layer that is neither.
    """
    kinks = ACTIVATIONS[activation.partition(":")[0]].kinks
    stages: list[LinearStage] = []
    for layer in layers:
        if isinstance(layer, Linear):
            stages.append(
                LinearMap(_of_member(layer.weight.value, member), _of_member(layer.bias.value, member).flatten())
            )
        elif isinstance(layer, Norm):
            factor, shift = (_of_member(value, member) for value in layer.linear())
            stages.append(LinearMap(torch.diag(factor), shift))
        elif isinstance(layer, SignFlip):
            signs = _of_member(layer.signs, member).flatten()
            stages.append(LinearMap(torch.diag(signs), torch.zeros_like(signs)))
        elif isinstance(layer, AnalyticActivation | AutogradActivation) and kinks is not None:
            stages.append(_piecewise_linear(layer, kinks, member))
        elif not isinstance(layer, Dropout):
            raise ValueError(f"{type(layer).__name__} is not piecewise linear here")
    return stages


def _of_member(value: Tensor, member: int | None) -> Tensor:
    return (value if member is None else value[member]).detach().to("cpu", torch.float64)


def _piecewise_linear(
    layer: AnalyticActivation | AutogradActivation, kinks: tuple[float, ...], member: int | None
) -> PiecewiseLinear:
    activation = layer.activation
    learned = tuple(_of_member(parameter.value, member).flatten() for parameter in layer.parameters)
    return PiecewiseLinear(lambda z: activation.function(z, learned=learned), kinks, activation.inputs_per_unit)


@torch.no_grad()
def pieces_along(stages: Sequence[LinearStage], a: Tensor, b: Tensor) -> LineSegments:
    """The network's linear pieces from image a to image b, [F] each; neighbours have different slopes."""
    a, b = a.flatten().to("cpu", torch.float64), b.flatten().to("cpu", torch.float64)
    pieces = LineSegments(torch.tensor([0.0, 1.0], dtype=torch.float64), a[None], (b - a)[None])
    for stage in stages:
        if isinstance(stage, LinearMap):
            value, slope = pieces.value @ stage.weight.T + stage.bias, pieces.slope @ stage.weight.T
            pieces = LineSegments(pieces.cuts, value, slope)
        else:
            pieces = _activated(_split_at_kinks(pieces, stage), stage)
    return _merged(pieces, SAME * float(pieces.slope.abs().max()))


def count_pieces(stages: Sequence[LinearStage], a: Tensor, b: Tensor) -> int:
    """How many linear pieces the network makes on the line from image a to image b."""
    return len(pieces_along(stages, a, b).value)


def _split_at_kinks(pieces: LineSegments, activation: PiecewiseLinear) -> LineSegments:
    """The pieces cut wherever a unit crosses a kink."""
    value, slope = pieces.value, pieces.slope
    if activation.inputs_per_unit > 1:
        columns = [numbers.chunk(activation.inputs_per_unit, dim=1) for numbers in (value, slope)]
        pairs = list(itertools.combinations(range(activation.inputs_per_unit), 2))
        crossing = [[columns[n][i] - columns[n][j] for i, j in pairs] for n in (0, 1)]
    else:
        crossing = [[value - kink for kink in activation.kinks], [slope] * len(activation.kinks)]
    start, end = pieces.cuts[:-1, None], pieces.cuts[1:, None]
    points = [pieces.cuts]
    for height, steepness in zip(*crossing, strict=True):
        at = start - height / steepness
        # A slope of 0 gives an infinity or NaN, which lies in no piece.
        points.append(at[(at > start) & (at < end)])
    cuts = torch.unique(torch.cat(points))
    parent = torch.searchsorted(pieces.cuts, cuts[:-1], right=True) - 1
    into = (cuts[:-1] - pieces.cuts[parent])[:, None]
    return LineSegments(cuts, value[parent] + slope[parent] * into, slope[parent])


def _activated(pieces: LineSegments, activation: PiecewiseLinear) -> LineSegments:
    """f applied to pieces in which no unit crosses a kink: its slope in the middle is its slope throughout."""
    half = (pieces.cuts[1:] - pieces.cuts[:-1])[:, None] / 2
    with torch.enable_grad():
        middle = (pieces.value + pieces.slope * half).requires_grad_()
        h = activation.function(middle)
        (steepness,) = torch.autograd.grad(h.sum(), middle)
    slope = steepness * pieces.slope
    if activation.inputs_per_unit > 1:
        slope = slope.unflatten(1, (activation.inputs_per_unit, -1)).sum(dim=1)
    activated = LineSegments(pieces.cuts, h.detach() - slope * half, slope)
    # Columns of a maximum cross below it, too, where the maximum has no kink.
    return _merged(activated, 0.0) if activation.inputs_per_unit > 1 else activated


def _merged(pieces: LineSegments, tolerance: float) -> LineSegments:
    """The pieces with neighbours of one slope put together."""
    change = (pieces.slope[1:] - pieces.slope[:-1]).abs().amax(dim=1) > tolerance
    first = torch.cat([torch.tensor([True]), change])
    return LineSegments(
        torch.cat([pieces.cuts[:-1][first], pieces.cuts[-1:]]), pieces.value[first], pieces.slope[first]
    )
