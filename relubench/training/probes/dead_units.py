"""Dead units, for any activation: those whose slope is nothing at every image; and those cut off from the output.

A unit is dead if |f'(z)| <= eps at every image looked at (see `slopes.SlopeScale.eps`), and with several columns if so
in each of them. A living unit is cut off if every weight from it into the next layer is 0 or ends at a dead or cut-off
unit: then no gradient reaches it, whatever its own slope.

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


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one hidden layer, by member and unit, bool [P, U]."""

    dead: np.ndarray
    cut_off: np.ndarray
    idle: np.ndarray
    """Columns without slope at any image [P, columns * U]."""


def stage_places(layers: Sequence[Layer]) -> list[int]:
    """Where the hidden activations stand in the list of layers."""
    return [place for place, layer in enumerate(layers) if layer.hidden]


def judge(layers: Sequence[Layer], living: Sequence[np.ndarray], columns: int, stacked: bool) -> list[Standing]:
    """The standing of every hidden layer, from which of its columns [P, columns * U] had a slope at some image."""
    found: list[Standing] = []
    reached: np.ndarray | None = None
    for place, live in reversed(list(zip(stage_places(layers), living, strict=True))):
        by_unit = np.logical_or.reduce(live.reshape(len(live), columns, -1), axis=1) if columns > 1 else live
        heard = _heard(_next_weight(layers, place, stacked), reached, by_unit.shape[1])
        cut_off = by_unit & ~heard
        reached = live & ~(np.tile(cut_off, (1, columns)) if columns > 1 else cut_off)
        found.insert(0, Standing(~by_unit, cut_off, ~live))
    return found


def _heard(weight: Tensor, reached: np.ndarray | None, units: int) -> np.ndarray:
    """Which of the units in front of `weight` [P, O, I, ..] have a weight other than 0 into an output that is reached.

    [P, units], or of size 1 in dimensions where all are alike; `reached`: [P, O], or None if every output is.
    """
    # The usual case, told by one fast pass over the weights: none is 0, so each unit is heard by every output.
    if int(torch.count_nonzero(weight)) == weight.numel():
        return np.ones((1, 1), dtype=bool) if reached is None else np.logical_or.reduce(reached, axis=1, keepdims=True)
    feeds = weight != 0
    if reached is not None and not reached.all():
        feeds &= torch.from_numpy(reached).to(weight.device).view(*reached.shape, *[1] * (feeds.dim() - 2))
    heard = feeds.flatten(3).any(dim=3) if feeds.dim() > 3 else feeds
    # Behind a convolution a dense layer has a weight for each of a channel's pixels.
    return heard.any(dim=1).unflatten(1, (units, -1)).any(dim=2).cpu().numpy()


def _next_weight(layers: Sequence[Layer], place: int, stacked: bool) -> Tensor:
    """The weights [P, O, I] or [P, O, I, K, K] of the first parametered product behind `place`."""
    for layer in layers[place + 1 :]:
        if isinstance(layer, Linear | Convolution):
            return layer.weight.value if stacked else layer.weight.value.unsqueeze(0)
    raise AssertionError("a network ends in an affine layer")


def by_member(value: Tensor) -> Tensor:
    """What a layer gives, of images or not, with P in front: one network's has none."""
    return value if value.dim() in (3, 5) else value.unsqueeze(0)


def living_columns(size: Tensor, eps: float) -> Tensor:
    """Which columns have a slope, of absolute value `size`, above eps at some image (and pixel): bool [P, columns * U].

    `size` is [P, B, columns * U], of images [P, B, columns * C, Y, X].
    """
    return torch.amax(size, dim=(1, 3, 4) if size.dim() > 3 else 1) > eps
