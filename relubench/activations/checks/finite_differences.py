"""Slopes from values alone, by finite differences: how steep a function is, and whether its backward pass says so.

`wrong_slope` asks a trial, unit by unit, with one central difference at points of a grid, in the type in which the
function computes. It runs before every training, calls the user's code few times, and passes over single points.

`numerical_slopes` takes a function of float64 and answers at every point with an estimate of its error: central
differences over steps that halve, extrapolated (Ridders 1982), the best by its own error estimate. Steps are tried
relative to x, for functions that change near 0, and relative to 1, for those that change over units or, as sin(1000x),
over a thousandth of one. Beside a kink the smallest steps do not reach it; at one, the differences to the left and to
the right do not approach another.

Shapes: N points, U units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from relubench.activations.checks.trial import RANGE, Trial

_FINE, _COARSE = 1e-4, 2.0**-7
"""Steps of the differences: for values in float64, and where they have the digits of float32 only."""
_BEND = {_FINE: 1e-3, _COARSE: 2e-2}
"""Differences to the left and to the right that disagree by more, relatively, lie at a kink or a jump."""
_WRONG = {_FINE: 2e-3, _COARSE: 2e-2}
"""A slope that is further from the difference quotient, relatively, is not the derivative."""
_FEWEST = 3
"""Points in a row: fewer may be a kink that the differences do not see."""

STEPS = 11
"""Steps of a family, each half of the one before it."""
FINER = 2.0**-10
"""How much finer the last family's steps are: what changes fast looks like anything in the others."""
FAINT = 1e-6
"""Slopes that differ by less may do so by the function's own arithmetic, which the finest steps magnify."""
_ORDER = 4
"""Extrapolations at most: errors of h^2, h^4, h^6 and h^8 are removed."""
_LEAST = 1e-290
"""Below this a step relative to x would itself be subnormal."""
_TRUSTED = 1e-3
"""Relative error, by its own estimate, beyond which a slope is not relied on."""
_EPS = 2.0**-52


def wrong_slope(trial: Trial) -> str | None:
    """A sentence with the worst point, where autograd's slope is not the derivative of the values; None where it is."""
    step = _FINE if trial.dtype == torch.float64 and not single_inside(trial) else _COARSE
    x = grid(0.0037)
    slopes = trial.slopes(x).double()
    centre, values_above, values_below = (trial.values(x + shift).double() for shift in (0.0, step, -step))
    right, left = (values_above - centre) / step, (centre - values_below) / step
    quotient = (right + left) / 2
    scale = torch.maximum(quotient.abs(), slopes.abs())
    is_smooth = (right - left).abs() <= _BEND[step] * (1 + scale)
    error = (slopes - quotient).abs()
    is_wrong = is_smooth & (error > _WRONG[step] * torch.maximum(scale, torch.ones(()) / 10)) & error.isfinite()
    in_a_row = is_wrong.double().unfold(0, _FEWEST, 1).sum(dim=-1) == _FEWEST
    if not bool(in_a_row.any()):
        return None
    worst = torch.where(is_wrong, error, -1.0).argmax()
    point, unit = divmod(int(worst), is_wrong.shape[1])
    rise = float(quotient[point, unit])
    return (
        f"its slope is not the derivative of its values: at x = {float(x[point]):.4g} the backward pass gives "
        f"{float(slopes[point, unit]):.4g} and the values rise by {0.0 if abs(rise) < 1e-9 else rise:.4g}; "
        "it is trained as written, so make sure that this is meant (a straight-through estimator)"
    )


def single_inside(trial: Trial) -> bool:
    """Whether it computes in float32 inside, whatever type it is given: it does not see a change of 2^-40."""
    if trial.dtype != torch.float64:
        return True
    x = grid(0.0037)
    moved = trial.values(x) != trial.values(x * (1 + 2.0**-40))
    has_slope = trial.slopes(x).abs() > 1e-3
    return bool(has_slope.any()) and float(moved[has_slope].double().mean()) < 0.05


def grid(shift: float) -> Tensor:
    """1,201 points from -6 to 6, moved by `shift`: with a small one, none lies on a kink at a round number."""
    return torch.arange(-600, 601, dtype=torch.float64) / 100 * (1.0 if not shift else (RANGE - shift) / RANGE) + shift


def numerical_slopes(
    function: Callable[[Tensor], Tensor], x: Tensor, rounding: Tensor | float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """The slopes of `function` at x from its values, an estimate of their absolute error, and whether to rely on them.

    `function` acts on each entry alone; x is float64 of any shape, and so are the slopes and errors; the third is
    bool. `rounding`: by how much its own arithmetic may miss the values, absolutely, beside their last rounding: steps
    so small that 1 + x is 1 see (1 + x) - 1 as flat. Not relied on is a slope at a kink or a jump, at what is not
    finite, and one that no step size makes out.
    """
    with torch.no_grad():
        values = function(x)
        # From a power of two steps are exact: x + h and x - h lie equally far from x.
        scale = torch.exp2(torch.floor(torch.log2(x.abs().clamp(min=_LEAST))))
        # No wider: what oscillates looks smooth from afar.
        widest = (scale * 2.0**-22).clamp(min=0.25)
        relative = _extrapolate(function, x, values, torch.minimum(scale / 4, widest), rounding)
        absolute = _extrapolate(function, x, values, widest, rounding)
        coarse = _chosen(relative[1] <= absolute[1], relative, absolute)
        fine = _extrapolate(function, x, values, widest * FINER, rounding)
        # Where coarse and fine steps contradict each other, the coarse ones step over several periods.
        difference, trusted = (fine[0] - coarse[0]).abs(), _TRUSTED * fine[0].abs()
        is_contradicted = (difference > 10 * (fine[1] + coarse[1])) & (difference > trusted + FAINT)
        slopes, error, is_smooth = _chosen(is_contradicted, fine, coarse)
        is_smooth &= ~is_contradicted | (fine[1] <= trusted)
    # An absolute error that is small beside the function's own size, |f| / max(|x|, 1).
    tolerance = 1e-9 * (values.abs() / x.abs().clamp(min=1.0)).nan_to_num(0.0, 0.0, 0.0) + 1e-12
    reliable = is_smooth & slopes.isfinite() & (error <= _TRUSTED * slopes.abs() + tolerance)
    return slopes, error, reliable


_Differences = tuple[Tensor, Tensor, Tensor]
"""Slopes, their errors, and whether one-sided differences approach each other."""


def _chosen(condition: Tensor, first: _Differences, second: _Differences) -> _Differences:
    slopes, errors, is_smooth = (torch.where(condition, a, b) for a, b in zip(first, second, strict=True))
    return slopes, errors, is_smooth


def _extrapolate(
    function: Callable[[Tensor], Tensor], x: Tensor, values: Tensor, step: Tensor, rounding: Tensor | float
) -> _Differences:
    """What differences over `step`, step/2, step/4, ... give."""
    best, error = torch.full_like(x, torch.nan), torch.full_like(x, torch.inf)
    is_smooth = torch.zeros_like(x, dtype=torch.bool)
    row: list[Tensor] = []
    wider_gap = torch.full_like(x, torch.nan)
    for halvings in range(STEPS):
        h = step * 0.5**halvings
        values_above, values_below = function(x + h), function(x - h)
        h = ((x + h) - (x - h)) / 2
        gap = (values_above - 2 * values + values_below).abs() / h
        noise = (2 * _EPS * (values_above.abs() + values_below.abs() + 2 * values.abs()) + 2 * rounding) / h
        previous_row, row = row, [(values_above - values_below) / (2 * h)]
        # A curve's one-sided differences differ by h f'', half as much at half of the step; a kink's always as much.
        approaching = (gap <= 0.8 * wider_gap) | (gap <= 4 * noise)
        wider_gap = gap
        for order, coarser in enumerate(previous_row[:_ORDER], 1):
            row.append(row[-1] + (row[-1] - coarser) / (4.0**order - 1))
            uncertainty = torch.maximum((row[-1] - row[-2]).abs(), (row[-1] - coarser).abs()) + noise
            is_better = approaching & (uncertainty < error)
            best, error = torch.where(is_better, row[-1], best), torch.where(is_better, uncertainty, error)
            is_smooth |= is_better
    return best, error, is_smooth
