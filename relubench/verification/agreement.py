"""A user's own code against itself and against another's: do its slopes belong to its values, and is it as accurate?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relubench.activations import ActivationChoice, build
from relubench.activations.checks.finite_differences import numerical_slopes
from relubench.activations.definition import Activation
from relubench.verification.arithmetic import COMPUTED, UNDERFLOW
from relubench.verification.bounds import forward_allowance
from relubench.verification.compare import FORMATS, Array, errors, ulp_size
from relubench.verification.forms import backward_forms, forward_forms
from relubench.verification.judge import RowHeader, VerifyRow
from relubench.verification.reference import own_slopes, own_values, reference_of
from relubench.verification.regions import largest_by_region

TOLERANCE = 1e-4
"""Relative difference from which on a slope is not that of the values; differences are good to 1e-6 and better."""
CONSTANTS = 16.0
"""Roundings of float32 within which a formula may differ in float64: its constants are typed to seven digits."""
COARSE = 1 / 8
"""Or this share of what its own type's roundings explain, if that is more."""
BESIDE = 2.0**-10
"""How far from a point its neighbours are whose slopes are compared, too."""
NEAR = (-BESIDE, -0.7 * BESIDE, 0.7 * BESIDE, BESIDE)
"""Where a wave may be steeper than at the point itself."""
DIGITS = 53
"""Binary digits of float64."""
MANY = 0.9
"""The share of wrong slopes from which on flat values make a straight-through estimator."""


def inherited(against: ActivationChoice, header: RowHeader, z: Tensor, true: Array) -> Array:
    """The errors of the other's own kernel in this type, the largest of each region, at the true values' scale."""
    kernel = build(against)
    reference = reference_of(against, kernel, header.dtype, None)
    x = z.to(torch.float64).numpy()
    if header.pass_ == "forward":
        _, computed = next(forward_forms(kernel, z, compiled=False))
        error = errors(computed, reference.values(x), header.dtype)
    else:
        _, slopes, _ = next(backward_forms(kernel, z, compiled=False))
        error = errors(slopes[0], reference.slopes(x)[0], header.dtype)
    ulp = np.where(np.isfinite(error.ulp), error.ulp, 0.0)
    return largest_by_region(ulp, x[-1], header.dtype) * ulp_size(true, header.dtype)


Slopes = Callable[[Array], Array]
"""The slopes [N] at x [N]."""


@dataclass(frozen=True, slots=True)
class InFloat64:
    """A user's values or slopes in float64 beside the other's [N], and what roundings of two types explain there."""

    own: Array
    true: Array
    allowed: Array
    allowed_fp32: Array
    x: Array
    excused: NDArray[np.bool_]


def same_function(row: VerifyRow, comparison: InFloat64) -> VerifyRow:
    """The row, 'wrong' where the function in float64 already differs from the other: no rounding explains that."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(comparison.own - comparison.true)
        tolerance = np.maximum(CONSTANTS * comparison.allowed_fp32, COARSE * comparison.allowed)
        is_wrong = (
            np.isfinite(comparison.own) & np.isfinite(comparison.true) & (difference > tolerance) & ~comparison.excused
        )
    if not is_wrong.any():
        return row
    excess = np.where(is_wrong, difference / (tolerance + np.abs(comparison.true) + np.finfo(np.float64).tiny), 0.0)
    worst, num_wrong = int(np.argmax(excess)), int(is_wrong.sum())
    message = (
        f"in float64 it gives {comparison.own[worst]:.9g} at x = {comparison.x[worst]:.9g}, where {row.against} is "
        f"{comparison.true[worst]:.9g}: another function, not rounding ({num_wrong:,} of {len(is_wrong):,} places)"
    )
    return replace(
        row, outcome="wrong", wrong=max(row.wrong, num_wrong), at=float(comparison.x[worst]), message=message
    )


def single_points(own: Slopes, true: Slopes, x: Array, dtype: str) -> NDArray[np.bool_]:
    """Where a user's slope is another than the true one at x [N] alone: beside it, both are the same.

    There a step has a kink, and the function has none: clamp(x, min=0) + log1p(exp(-abs(x))) at 0.
    """
    at_point, true_slope = own(x), true(x)
    with np.errstate(invalid="ignore"):
        is_single = np.isfinite(at_point) & (np.abs(at_point - true_slope) > TOLERANCE * np.abs(true_slope))
    places = np.flatnonzero(is_single)
    for shift in (ulp_size(x[places], dtype), np.full(len(places), BESIDE)):
        for beside in (x[places] - shift, x[places] + shift):
            expected = true(beside)
            is_single[places] &= np.abs(own(beside) - expected) <= TOLERANCE * np.abs(expected)
    return is_single


def backward_pass_of_values(row: VerifyRow, activation: Activation) -> VerifyRow:
    """The row, 'wrong' or 'straight-through' where the slopes in float64 are not those of the values."""
    x = _comparison_points()
    values, slopes = own_values(activation, row.dtype), own_slopes(activation, row.dtype)
    true, error, reliable = numerical_slopes(values, x, _rounding_of_values(activation, x))
    backward_slopes = slopes(x)
    reliable &= _has_full_precision(values, x)
    difference = (backward_slopes - true).abs()
    scale = float(true[reliable].abs().amax()) if reliable.any() else 0.0
    tolerance = TOLERANCE * torch.maximum(backward_slopes.abs(), true.abs()) + 10 * error + 1e-9 * scale
    is_wrong = (reliable & (difference > tolerance)) | (backward_slopes.isnan() & values(x).isfinite())
    steepest = torch.stack([slopes(x + shift).abs() for shift in (0.0, *NEAR)]).amax(0).nan_to_num(0.0)
    is_wrong &= ~_is_beyond_steps(values, x, backward_slopes, steepest)
    is_single = is_wrong & backward_slopes.isfinite() & _is_right_beside(values, slopes, x)
    if is_single.any():
        row = _with_single_points(row, x[is_single], backward_slopes[is_single], true[is_single])
    is_wrong &= ~is_single
    if not is_wrong.any():
        return row
    is_flat = reliable & (true == 0)
    worst = int(torch.where(is_wrong, difference.nan_to_num(torch.inf), -1.0).argmax())
    worst_slope = f"slope {float(backward_slopes[worst]):.6g} at x = {float(x[worst]):.6g}"
    num_wrong = int(is_wrong.sum())
    if backward_slopes[worst].isnan():
        reason = f"its value is {float(values(x)[worst]):.6g}"
    elif bool(is_flat[reliable].all()):
        message = f"a straight-through estimator: its values are flat, its slope is not; {worst_slope}"
        return replace(row, outcome="straight-through", wrong=0, message=message)
    elif bool((is_wrong & is_flat).sum() >= MANY * is_wrong.sum()):
        reason = "its values are flat there: a straight-through estimator, or a mask that is missing"
    else:
        reason = f"the differences of its values give {float(true[worst]):.6g}"
    message = f"{worst_slope}, where {reason} ({num_wrong:,} of {int(reliable.sum()):,} places)"
    return replace(row, outcome="wrong", wrong=max(num_wrong, row.wrong), at=float(x[worst]), message=message)


def _is_beyond_steps(values: Callable[[Tensor], Tensor], x: Tensor, slopes: Tensor, steepest: Tensor) -> Tensor:
    """Where values change as fast as such slopes say, over steps that are short enough to see it; bool [N].

    sin(exp(x)) at x = 24 has ten million periods in the widest step of the differences, and a hundred in the finest.
    Where float64 has no steps that are short enough, a change from one number to the next but seven is enough.
    How short a step has to be follows from the steepest slopes beside it: at a crest of the wave its own is small.
    """
    size = torch.stack([values(x + shift).abs() for shift in (-0.1, 0.0, 0.1)]).amax(0)
    step, least = size / steepest / 64, x.abs() * 2.0**-49
    short = torch.maximum(step, least)
    rise = values(x + short) - values(x - short)
    is_agreed = (rise / ((x + short) - (x - short)) - slopes).abs() <= slopes.abs() / 100 + steepest / 1000
    return (step < 2.0**-20) & torch.where(step > least, is_agreed, rise.abs() > size / 64)


def _is_right_beside(values: Callable[[Tensor], Tensor], slopes: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Where the slopes on both sides are those of the values, whatever it is at x itself; bool [N]."""
    is_right = torch.ones_like(x, dtype=torch.bool)
    for shift in (-BESIDE, BESIDE):
        true, error, reliable = numerical_slopes(values, x + shift)
        difference = (slopes(x + shift) - true).abs()
        is_right &= reliable & (difference <= TOLERANCE * true.abs() + 10 * error + TOLERANCE**2)
    return is_right


def _with_single_points(row: VerifyRow, x: Tensor, slopes: Tensor, true: Tensor) -> VerifyRow:
    """The row with a note: autograd takes one number of many where a step has a kink, and the function has none."""
    note = (
        f"at x = {float(x[0]):.6g} alone the slope is {float(slopes[0]):.6g}, where that of the values is "
        f"{float(true[0]):.6g}: a step has a kink there, and autograd takes one slope of it"
    )
    return replace(row, known=row.known + len(x), message="; ".join(filter(None, (row.message, note))))


def _rounding_of_values(activation: Activation, x: Tensor) -> Tensor:
    """By how much the function's own steps may miss its values in float64, [N]: what cancels is lost to differences."""
    size = forward_allowance(activation, x[None].to(torch.float32), COMPUTED, emulate=False).size
    in_float64 = (size - UNDERFLOW) * 2.0 ** (FORMATS[COMPUTED][0] - DIGITS)
    return torch.from_numpy(in_float64).nan_to_num(0.0, torch.inf, 0.0).clamp_(min=0.0)


def _comparison_points() -> Tensor:
    """Where slopes are compared: evenly over the pre-activations of networks, and by orders of magnitude; float64."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(2000, generator=generator, dtype=torch.float64) * 20 - 10
    magnitudes = 10.0 ** (torch.rand(500, generator=generator, dtype=torch.float64) * 7 - 5)
    integers = torch.arange(-6, 7, dtype=torch.float64)
    return torch.cat([uniform, magnitudes, -magnitudes, integers])


def _has_full_precision(values: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Where differences mean something; bool [N]."""
    # A function that computes in float32 inside is a staircase: flat to the smallest steps, steep to larger ones.
    unchanged_by_small_step = (values(x) == values(x * (1 + 2.0**-40))) & (values(x) == values(x * (1 - 2.0**-40)))
    unchanged_by_large_step = (values(x) == values(x * (1 + 2.0**-14))) & (values(x) == values(x * (1 - 2.0**-14)))
    return ~unchanged_by_small_step | unchanged_by_large_step
