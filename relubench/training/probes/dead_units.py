"""Dead units of any activation, which have no slope at any image; and units that are cut off from the output.

A unit is dead if |f'(z)| <= eps at every image of the probe (see `slopes.SlopeScale.eps`), and with several columns if
so in each of them. A living unit is cut off if every weight from it into the next layer is 0 or ends at a dead or
cut-off unit: then no gradient reaches it, whatever its own slope.

Shapes: P member, O/I outputs/inputs of a weight, U units. One network has P = 1 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.models.layers.convolution import Convolution
from relubench.models.layers.dense import Linear
from relubench.models.optimizers import Parameter


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """The states of one hidden layer's units, by member and unit, bool [P, U]."""

    dead: np.ndarray
    cut_off: np.ndarray
    idle: np.ndarray
    """Columns without slope at any image [P, columns * U]."""


def stage_places(layers: Sequence[Layer]) -> list[int]:
    """Where the hidden activations stand in the list of layers."""
    return [place for place, layer in enumerate(layers) if layer.hidden]


def stage_weights(layers: Sequence[Layer]) -> list[Parameter]:
    """The weights of every hidden stage: those whose pre-activations its activation gets."""
    weights: list[Parameter] = []
    nearest: Parameter | None = None
    for layer in layers:
        nearest = layer.weight if isinstance(layer, Linear | Convolution) else nearest
        if layer.hidden and nearest is not None:
            weights.append(nearest)
    return weights


def unit_statuses(
    layers: Sequence[Layer], with_slope: Sequence[np.ndarray], inputs_per_unit: int, batched: bool
) -> list[UnitStatus]:
    """The status of every hidden layer's units, from the columns [P, columns * U] that had a slope at some image."""
    statuses: list[UnitStatus] = []
    receives_gradient: np.ndarray | None = None
    for place, columns_alive in reversed(list(zip(stage_places(layers), with_slope, strict=True))):
        by_unit = (
            np.logical_or.reduce(columns_alive.reshape(len(columns_alive), inputs_per_unit, -1), axis=1)
            if inputs_per_unit > 1
            else columns_alive
        )
        weights, always_reached = _weights_above(layers, place, batched)
        *linear, nearest = weights
        receives_gradient = None if always_reached else receives_gradient
        for weight in linear:
            receives_gradient = _has_outgoing_weight(weight, receives_gradient, weight.shape[2])
        cut_off = by_unit & ~_has_outgoing_weight(nearest, receives_gradient, by_unit.shape[1])
        receives_gradient = columns_alive & ~(
            np.tile(cut_off, (1, inputs_per_unit)) if inputs_per_unit > 1 else cut_off
        )
        statuses.insert(0, UnitStatus(~by_unit, cut_off, ~columns_alive))
    return statuses


def _has_outgoing_weight(weight: Tensor, receives_gradient: np.ndarray | None, units: int) -> np.ndarray:
    """The units in front of `weight` [P, O, I, ..] with a weight other than 0 into an output that receives gradient.

    bool [P, units], or of size 1 in dimensions where all are alike; `receives_gradient`: [P, O], or None if every
    output does.
    """
    # The usual case, found by one fast pass over the weights: none is 0, so each unit has one into every output.
    if int(torch.count_nonzero(weight)) == weight.numel():
        return (
            np.ones((1, 1), dtype=bool)
            if receives_gradient is None
            else np.logical_or.reduce(receives_gradient, axis=1, keepdims=True)
        )
    feeds = weight != 0
    if receives_gradient is not None and not receives_gradient.all():
        feeds &= (
            torch.from_numpy(receives_gradient)
            .to(weight.device)
            .view(*receives_gradient.shape, *[1] * (feeds.dim() - 2))
        )
    has_outgoing_weight = feeds.flatten(3).any(dim=3) if feeds.dim() > 3 else feeds
    # Behind a convolution a dense layer has a weight for each of a channel's pixels.
    return has_outgoing_weight.any(dim=1).unflatten(1, (units, -1)).any(dim=2).cpu().numpy()


def _weights_above(layers: Sequence[Layer], place: int, batched: bool) -> tuple[list[Tensor], bool]:
    """The weights [P, O, I] or [P, O, I, K, K] between this activation and the next one, or the output, top first;
    or those up to where their outputs are added to a stream or read by the loss, and whether that is so."""
    above = layers[place + 1 :]
    ends = (number for number, layer in enumerate(above) if layer.hidden or layer.stream or layer.in_loss)
    end = next(ends, len(above))
    weights = [layer.weight.value for layer in above[:end] if isinstance(layer, Linear | Convolution)]
    always_reached = end < len(above) and (above[end].stream or above[end].in_loss)
    return [weight if batched else weight.unsqueeze(0) for weight in reversed(weights)], always_reached


def by_member(value: Tensor) -> Tensor:
    """The output of a layer with P in front, which that of one network lacks."""
    return value if value.dim() in (3, 5) else value.unsqueeze(0)


def columns_with_slope(size: Tensor, eps: float) -> Tensor:
    """Which columns have a slope, of absolute value `size`, above eps at some image (and pixel): bool [P, columns * U].

    `size` is [P, B, columns * U], of images [P, B, columns * C, Y, X].
    """
    if size.shape[1] == 0:
        return torch.zeros(size.shape[0], size.shape[2], dtype=torch.bool, device=size.device)
    return torch.amax(size, dim=(1, 3, 4) if size.dim() > 3 else 1) > eps
