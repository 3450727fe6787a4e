"""Confirms candidates for dead units on many more images, computing only what their slopes depend on.

Nothing is computed behind the last layer that has a candidate, and of a dense layer with an elementwise activation only
the candidates' own columns have their slope taken; in the last such layer only their product is computed.

Shapes: P member, B batch, U units. One network has P = 1 here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from relubench.models.layers.activation import AnalyticActivation
from relubench.models.layers.base import Layer
from relubench.models.layers.dense import Linear
from relubench.training.probes.dead_units import by_member, columns_with_slope, stage_places
from relubench.training.probes.slopes import slopes


def confirm_dead_units(layers: Sequence[Layer], with_slope: Sequence[Tensor], x: Tensor, eps: Sequence[float]) -> bool:
    """Mark in `with_slope` [P, columns * U], a layer each, what has a slope above its eps at some of the images x.

    x is [B, ...], of batched members [P, B, ...]. Returns whether any column was still without slope before.
    """
    doubtful = [bool((~columns).any()) for columns in with_slope]
    if not any(doubtful):
        return False
    last = max(number for number, doubt in enumerate(doubtful) if doubt)
    places = stage_places(layers)
    numbers = {place: number for number, place in enumerate(places)}
    h = x
    for place, layer in enumerate(layers[: places[last] + 1]):
        number = numbers.get(place)
        if place + 1 == places[last] and _by_columns(layers[place + 1], h) and _plain(layer):
            candidates = _candidates(with_slope[last])
            weight, bias = layer.parameters
            _mark(
                with_slope[last],
                candidates,
                layers[place + 1],
                torch.addmm(bias.value[candidates], h, weight.value[candidates].t()),
                eps[last],
            )
            break
        if number is not None and doubtful[number]:
            if not _by_columns(layer, h):
                h, slope = slopes(layer, h)
                with_slope[number].logical_or_(columns_with_slope(by_member(slope).abs(), eps[number]))
                continue
            candidates = _candidates(with_slope[number])
            _mark(with_slope[number], candidates, layer, h[:, candidates], eps[number])
        h = layer.forward(h, training=False)
    return True


def _by_columns(layer: Layer, z: Tensor) -> bool:
    """Whether the hidden layer maps each column of one network's z [B, U] for itself, all of them alike."""
    return isinstance(layer, AnalyticActivation) and layer.activation.inputs_per_unit == 1 and z.dim() == 2


def _plain(layer: Layer) -> bool:
    return isinstance(layer, Linear) and not layer.batched and not layer.bf16


def _candidates(with_slope: Tensor) -> Tensor:
    """The places of one network's columns that have shown no slope."""
    return (~with_slope[0]).nonzero().squeeze(1)


def _mark(with_slope: Tensor, candidates: Tensor, layer: Layer, z: Tensor, eps: float) -> None:
    """Mark those of the columns `candidates`, whose pre-activations are z [B, ..], that have a slope."""
    _, slope = slopes(layer, z)
    with_slope[0, candidates] = columns_with_slope(by_member(slope).abs(), eps)[0]
