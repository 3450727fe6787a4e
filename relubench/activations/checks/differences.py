"""Slopes from values alone: differences of a function in float64, and where they can be relied on.

Central differences over steps that halve, extrapolated (Ridders 1982), the best by its own error estimate. Steps are
tried relative to x, for functions that change near 0, and relative to 1, for those that change over units. Beside a
kink the smallest steps do not reach it; at one, the differences to the left and to the right do not approach another.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 11
"""Steps of a family, each half of the one before it."""
_ORDER = 4
"""Extrapolations at most: errors of h^2, h^4, h^6 and h^8 are removed."""
_LEAST = 1e-290
"""Below this a step relative to x would itself be subnormal."""
_TRUSTED = 1e-3
"""Relative error, by its own estimate, beyond which a slope is not relied on."""
_EPS = 2.0**-52


def numerical_slopes(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The slopes of `function` at x from its values, an estimate of their absolute error, and whether to rely on them.

    `function` acts on each entry alone; x is float64 of any shape, and so are the slopes and errors; the third is
    bool. Not relied on is a slope at a kink or a jump, at what is not finite, and one that no step size makes out.
    """
    with torch.no_grad():
        at = function(x)
        # From a power of two steps are exact: x + h and x - h lie equally far from x.
        size = torch.exp2(torch.floor(torch.log2(x.abs().clamp(min=_LEAST))))
        # No wider: what oscillates looks smooth from afar.
        unit = (size * 2.0**-22).clamp(min=0.25)
        first = _family(function, x, at, torch.minimum(size / 4, unit))
        second = _family(function, x, at, unit)
        slopes, error, smooth = (torch.where(first[1] <= second[1], a, b) for a, b in zip(first, second, strict=True))
    reliable = smooth & slopes.isfinite() & (error <= _TRUSTED * slopes.abs() + _floor(at, x))
    return slopes, error, reliable


def _family(function: Callable[[Tensor], Tensor], x: Tensor, at: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(slopes, errors, whether one-sided differences approach each other), from steps `step`, step/2, step/4, ..."""
    best, error = torch.full_like(x, torch.nan), torch.full_like(x, torch.inf)
    smooth = torch.zeros_like(x, dtype=torch.bool)
    row: list[Tensor] = []
    wider = torch.full_like(x, torch.nan)
    for place in range(STEPS):
        h = step * 0.5**place
        up, down = function(x + h), function(x - h)
        h = ((x + h) - (x - h)) / 2
        gap = (up - 2 * at + down).abs() / h
        noise = 2 * _EPS * (up.abs() + down.abs() + 2 * at.abs()) / h
        before, row = row, [(up - down) / (2 * h)]
        # A curve's one-sided differences differ by h f'', half as much at half of the step; a kink's always as much.
        approaching = (gap <= 0.8 * wider) | (gap <= 4 * noise)
        wider = gap
        for order, other in enumerate(before[:_ORDER], 1):
            row.append(row[-1] + (row[-1] - other) / (4.0**order - 1))
            apart = torch.maximum((row[-1] - row[-2]).abs(), (row[-1] - other).abs()) + noise
            better = approaching & (apart < error)
            best, error = torch.where(better, row[-1], best), torch.where(better, apart, error)
            smooth |= better
    return best, error, smooth


def _floor(at: Tensor, x: Tensor) -> Tensor:
    """An absolute error that is small beside the function's own size: |f| / max(|x|, 1) scaled down."""
    return 1e-9 * (at.abs() / x.abs().clamp(min=1.0)).nan_to_num(0.0, 0.0, 0.0) + 1e-12
