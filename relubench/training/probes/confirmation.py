"""Candidates for dead units looked at with many more images, computing only what they hang on.

Nothing is computed behind the last layer that has a candidate, and of a dense layer with an elementwise activation only
the candidates' own columns have their slope taken; in the last such layer the others' product is not computed either.

Shapes: P member, B batch, U units. One network has P = 1 here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from relubench.models.layers.activation import AnalyticActivation
from relubench.models.layers.base import Layer
from relubench.models.layers.dense import Linear
from relubench.training.probes.dead_units import by_member, living_columns, stage_places
from relubench.training.probes.slopes import slopes


def look_again(layers: Sequence[Layer], living: Sequence[Tensor], x: Tensor, eps: float) -> bool:
    """Marks in `living` [P, columns * U], a layer each, what has a slope above eps at some of the images x.

    x is [B, ...], in a stack [P, B, ...]. Returns whether any column is still without one.
    """
    doubtful = [bool((~live).any()) for live in living]
    if not any(doubtful):
        return False
    last = max(number for number, one in enumerate(doubtful) if one)
    places = stage_places(layers)
    numbers = {place: number for number, place in enumerate(places)}
    h = x
    for place, layer in enumerate(layers[: places[last] + 1]):
        number = numbers.get(place)
        if place + 1 == places[last] and _by_columns(layers[place + 1], h) and _plain(layer):
            only = _candidates(living[last])
            weight, bias = layer.parameters
            _mark(living[last], only, layers[place + 1], torch.addmm(bias.value[only], h, weight.value[only].t()), eps)
            break
        if number is not None and doubtful[number]:
            if not _by_columns(layer, h):
                h, slope = slopes(layer, h)
                living[number].logical_or_(living_columns(by_member(slope).abs(), eps))
                continue
            only = _candidates(living[number])
            _mark(living[number], only, layer, h[:, only], eps)
        h = layer.forward(h, training=False)
    return True


def _by_columns(layer: Layer, z: Tensor) -> bool:
    """Whether the hidden layer maps each column of one network's z [B, U] for itself, all of them alike."""
    return isinstance(layer, AnalyticActivation) and layer.activation.columns == 1 and z.dim() == 2


def _plain(layer: Layer) -> bool:
    return isinstance(layer, Linear) and not layer.stacked and not layer.bf16


def _candidates(live: Tensor) -> Tensor:
    """The places of one network's columns that have shown no slope."""
    return (~live[0]).nonzero().squeeze(1)


def _mark(live: Tensor, only: Tensor, layer: Layer, z: Tensor, eps: float) -> None:
    """Of the columns `only`, whose pre-activations are z [B, ..], note those that have a slope."""
    _, slope = slopes(layer, z)
    live[0, only] = living_columns(by_member(slope).abs(), eps)[0]
