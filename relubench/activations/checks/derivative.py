"""Is the slope that autograd gives the derivative of the values? Compared with differences of the values.

Shapes: N points, U units.
"""

from __future__ import annotations

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


def wrong_slope(trial: Trial) -> str | None:
    """A sentence with the worst point, where autograd's slope is not the derivative of the values; None where it is."""
    step = _FINE if trial.dtype == torch.float64 and not single_inside(trial) else _COARSE
    x = grid(0.0037)
    slopes = trial.slopes(x).double()
    centre, above, below = (trial.values(x + shift).double() for shift in (0.0, step, -step))
    right, left = (above - centre) / step, (centre - below) / step
    quotient = (right + left) / 2
    size = torch.maximum(quotient.abs(), slopes.abs())
    smooth = (right - left).abs() <= _BEND[step] * (1 + size)
    off = (slopes - quotient).abs()
    wrong = smooth & (off > _WRONG[step] * torch.maximum(size, torch.ones(()) / 10)) & off.isfinite()
    in_a_row = wrong.double().unfold(0, _FEWEST, 1).sum(dim=-1) == _FEWEST
    if not bool(in_a_row.any()):
        return None
    place = torch.where(wrong, off, -1.0).argmax()
    point, unit = divmod(int(place), wrong.shape[1])
    return (
        f"its slope is not the derivative of its values: at x = {float(x[point]):.4g} the backward pass gives "
        f"{float(slopes[point, unit]):.4g} and the values rise by {_plain(float(quotient[point, unit]))}; "
        "it is trained as written, so make sure that this is meant (a straight-through estimator)"
    )


def single_inside(trial: Trial) -> bool:
    """Whether it computes in float32 inside, whatever type it is given: it does not see a change of 2^-40."""
    if trial.dtype != torch.float64:
        return True
    x = grid(0.0037)
    moved = trial.values(x) != trial.values(x * (1 + 2.0**-40))
    sloped = trial.slopes(x).abs() > 1e-3
    return bool(sloped.any()) and float(moved[sloped].double().mean()) < 0.05


def grid(shift: float) -> Tensor:
    """1,201 points from -6 to 6, moved by `shift`: with a small one, none lies on a kink at a round number."""
    return torch.arange(-600, 601, dtype=torch.float64) / 100 * (1.0 if not shift else (RANGE - shift) / RANGE) + shift


def _plain(value: float) -> str:
    return f"{0.0 if abs(value) < 1e-9 else value:.4g}"
