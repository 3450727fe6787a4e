"""Slopes of hidden activations: f(z) with df/dz for any of them, and from which size on a slope counts.

Shapes: P member, B batch. Units lie in dimension -1, in images [.., C, Y, X] in dimension -3; of an activation with
several columns a unit, z and its slope have columns * units there, chunk after chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.models.layers.activation import AnalyticActivation, AutogradActivation, UserModule
from relubench.models.layers.base import AutogradLayer, Layer

EXPECTED = 6.0
"""The activation's largest slope is searched within this of 0, where normalised pre-activations lie."""
GRID = 1201
SATURATED = 0.01
"""Below this part of the activation's largest slope an output is saturated."""
DEAD = 0.001
"""Up to this part of it a smooth activation's slope is no slope."""
FEW_SLOPES = 16
"""Distinct slopes on the grid, at most, of what is taken as piecewise linear."""


@dataclass(frozen=True, slots=True)
class SlopeScale:
    """The sizes by which slopes of one activation are judged."""

    inputs_per_unit: int
    saturated: float
    """|f'| below this is saturated."""
    eps: float
    """|f'| up to this is none: 0 where f is piecewise linear or has flat parts, else 0.001 of its largest slope."""


@torch.no_grad()
def slopes(layer: Layer, z: Tensor) -> tuple[Tensor, Tensor]:
    """h = f(z) in evaluation mode and its slope in every column, of z's shape; overwrites z."""
    h, trace = output_and_trace(layer, z)
    return h, slope_of(layer, h, trace)


def output_and_trace(layer: Layer, z: Tensor) -> tuple[Tensor, Tensor]:
    """h = f(z) and what `slope_of` computes its slope from, of z's shape or h's; overwrites z."""
    if isinstance(layer, AnalyticActivation):
        h = layer.forward(z, training=False)
        return h, layer.saved
    assert isinstance(layer, AutogradLayer)
    with torch.enable_grad():
        x = z.detach().requires_grad_()
        h = layer.apply(x, [parameter.value for parameter in layer.parameters], training=False)
        (slope,) = torch.autograd.grad(h.sum(), x, allow_unused=True, materialize_grads=True)
    return h.detach(), slope


def slope_of(layer: Layer, h: Tensor, trace: Tensor) -> Tensor:
    """The slope in every column, from the results of `output_and_trace`, for one layer or several of one activation."""
    return layer.gradient(torch.ones_like(h), trace, layer.dim) if isinstance(layer, AnalyticActivation) else trace


def slope_scale(layer: Layer, like: Sequence[int]) -> SlopeScale:
    """The scale of the hidden layer `layer`, whose z has as many dimensions as `like` (and its P in front, if any).

    Of several columns one runs over the grid while the others stay at 1, where a product shows the gate's own slope.
    """
    is_own = isinstance(layer, AnalyticActivation | AutogradActivation)
    inputs_per_unit, axis = layer.activation.inputs_per_unit if is_own else 1, -3 if len(like) >= 4 else -1
    moving = torch.linspace(-EXPECTED, EXPECTED, GRID)
    if _of_user(layer):
        # Every unit may have parameters of its own, and the layer's shape may be the only one that it takes.
        example = list(like[axis:])
        pixels = math.prod(example[1:])
        rows = torch.nn.functional.pad(moving, (0, -GRID % pixels), value=EXPECTED).reshape(-1, 1, *example[1:])
        shape = [len(rows), *example]
        z = rows.expand(shape)
    else:
        rows = torch.ones(GRID, inputs_per_unit)
        rows[:, -1] = moving
        shape = [GRID, inputs_per_unit, 1, 1] if axis == -3 else [GRID, inputs_per_unit]
        z = rows.reshape(shape)
    members = like[0] if len(like) in (3, 5) else 0
    z = z.expand(members, *shape) if members else z
    z = z.clone(memory_format=torch.contiguous_format)
    device = next((parameter.value.device for parameter in layer.parameters), None)
    _, slope = slopes(layer, z.to(device) if device is not None else z)
    size = slope.cpu().abs().amax(dim=axis)
    size = (size[0] if members else size).flatten()[:GRID]
    flat = bool(((size[1:] == 0) & (size[:-1] == 0)).any())
    # Rounded, because a slope of 0.01 is not the same number at every z.
    few_slopes = flat or len(torch.unique(torch.round(size, decimals=5))) <= FEW_SLOPES
    largest = float(size.max())
    # A hair below, so that leaky_relu's default slope of exactly 1 % is on the same side everywhere.
    return SlopeScale(inputs_per_unit, SATURATED * largest * (1 - 1e-6), 0.0 if few_slopes else DEAD * largest)


def _of_user(layer: Layer) -> bool:
    """Whether it is a formula or a user's module, which may take no shape but the layer's, or each unit is its own."""
    if isinstance(layer, AutogradActivation):
        if layer.activation.per_unit:
            return True
        return layer.activation.inputs_per_unit == 1 and not layer.activation.learned and layer.activation.draw is None
    return isinstance(layer, UserModule)
