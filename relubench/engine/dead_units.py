"""Dead units, for any activation: those whose slope is nothing at every image; and those cut off from the output.

A unit is dead if |f'(z)| <= eps at every image looked at (see `slopes.SlopeScale.eps`), and with several columns if so
in each of them. A living unit is cut off if every weight from it into the next layer is 0 or ends at a dead or cut-off
unit: then no gradient reaches it, whatever its own slope.

Shapes: P member, O/I outputs/inputs of a weight, U units. One network has P = 1 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.network.layers import Affine, Convolution, Layer


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one hidden layer, by member and unit [P, U]."""

    dead: Tensor
    cut_off: Tensor
    idle: Tensor
    """Columns without slope at any image [P, columns * U]."""


def stage_places(layers: Sequence[Layer]) -> list[int]:
    """Where the hidden activations stand in the list of layers."""
    return [place for place, layer in enumerate(layers) if layer.hidden]


def judge(layers: Sequence[Layer], living: Sequence[Tensor], columns: int, stacked: bool) -> list[Standing]:
    """The standing of every hidden layer, from which of its columns [P, columns * U] had a slope at some image."""
    found: list[Standing] = []
    reached: Tensor | None = None
    for place, live in reversed(list(zip(stage_places(layers), living, strict=True))):
        by_unit = live.unflatten(1, (columns, -1)).any(dim=1)
        weight = _next_weight(layers, place, stacked)
        feeds = weight != 0
        if reached is not None and not bool(reached.all()):
            feeds = feeds & reached.view(*reached.shape, *[1] * (feeds.dim() - 2))
        heard = feeds.flatten(3).any(dim=3) if feeds.dim() > 3 else feeds
        heard = heard.any(dim=1)
        # Behind a convolution a dense layer has a weight for each of a channel's pixels.
        heard = heard.unflatten(1, (by_unit.shape[1], -1)).any(dim=2)
        cut_off = by_unit & ~heard
        reached = live & ~(cut_off.repeat(1, columns) if columns > 1 else cut_off)
        found.insert(0, Standing(~by_unit, cut_off, ~live))
    return found


def _next_weight(layers: Sequence[Layer], place: int, stacked: bool) -> Tensor:
    """The weights [P, O, I] or [P, O, I, K, K] of the first parametered product behind `place`."""
    for layer in layers[place + 1 :]:
        if isinstance(layer, Affine | Convolution):
            return layer.weight.value if stacked else layer.weight.value.unsqueeze(0)
    raise AssertionError("a network ends in an affine layer")


def living_columns(slope: Tensor, eps: float, members: int) -> Tensor:
    """Which columns have a slope above eps at some image (and pixel) of this batch: [P, columns * U]."""
    size = (
        slope.reshape(members, -1, *slope.shape[-3:])
        if slope.dim() >= 4
        else slope.reshape(members, -1, slope.shape[-1])
    )
    axes = (1, 3, 4) if slope.dim() >= 4 else (1,)
    return torch.amax(size.abs(), dim=axes) > eps
