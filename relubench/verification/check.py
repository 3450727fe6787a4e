"""Checks one activation in one type: every form of its forward and backward pass against the true function.

What is allowed at each point is what the roundings of the computation's own steps explain. A backward pass that reads a
rounded output is held to what that output can tell; the errors in the table are against the true slope all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relubench.activations import ActivationChoice, build
from relubench.activations.definition import Activation
from relubench.verification import points
from relubench.verification.agreement import InFloat64, backward_pass_of_values, inherited, same_function, single_points
from relubench.verification.arithmetic import COMPUTED
from relubench.verification.bounds import SINGLE, Allowance, backward_allowance, forward_allowance
from relubench.verification.compare import Array, ulp_size
from relubench.verification.forms import backward_forms, forward_forms
from relubench.verification.judge import Expected, RowHeader, VerifyRow, failed, row_of
from relubench.verification.reference import Reference, own_slopes, own_values, reference_of


def check(
    choice: ActivationChoice,
    dtype: str,
    *,
    seed: int = 0,
    compiled: bool = False,
    num_points: int = points.MILLION,
    against: ActivationChoice | None = None,
) -> list[VerifyRow]:
    """The rows of one activation in one type: forward and backward."""
    # Training flushes subnormal numbers, process-wide; here they are part of what is checked.
    torch.set_flush_denormal(False)
    activation = build(choice)
    reference = reference_of(choice, activation, dtype, against)
    z = _inputs(choice, dtype, reference.kinks, seed, num_points)
    checked = Checked(choice, activation, reference, against, z, compiled)
    rows: list[VerifyRow] = []
    for pass_, judge in (("forward", _forward), ("backward", _backward)):
        header = RowHeader(choice.label, dtype, pass_, z.shape[1], reference.name)
        try:
            _check_entries(checked, dtype)
            rows.append(judge(checked, header))
        except Exception as problem:
            rows.append(failed(header, problem))
    return rows


def _inputs(choice: ActivationChoice, dtype: str, kinks: tuple[float, ...], seed: int, num_points: int) -> Tensor:
    x = points.stratified(kinks, seed, num_points) if dtype == "fp32" else points.every_pattern(points.DTYPES[dtype])
    return (
        points.shuffled(x, choice.inputs_per_unit, seed)
        if choice.name == "maxout"
        else points.partners(x, choice.inputs_per_unit, seed)
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """The activation, its reference and its inputs, which both passes need."""

    choice: ActivationChoice
    activation: Activation
    reference: Reference
    against: ActivationChoice | None
    z: Tensor
    compiled: bool

    @property
    def x(self) -> Array:
        return self.z.to(torch.float64).numpy()


def _forward(checked: Checked, header: RowHeader) -> VerifyRow:
    activation, z, x = checked.activation, checked.z, checked.x
    _check_shape(next(forward_forms(activation, z, compiled=False))[1], z[0])
    is_users = checked.choice.kind != "table"
    allowed = forward_allowance(activation, z, header.dtype, emulate=is_users)
    true = checked.reference.values(x)
    tolerance = _allowed_errors(checked, header, allowed, true)
    expected = Expected(
        true,
        tolerance,
        x[-1],
        allowed.excuses,
        header.dtype,
        checked.reference.kinks,
        allowed.emulated,
        allowed.overflows if checked.against is None else None,
    )
    row = row_of(header, forward_forms(activation, z, compiled=checked.compiled), expected)
    if not is_users or checked.against is None or row.outcome == "failed":
        return row
    user_values = own_values(activation, header.dtype)(torch.from_numpy(x[0])).numpy()
    allowance_fp32 = forward_allowance(activation, z, COMPUTED, emulate=False).size
    return same_function(
        row, InFloat64(user_values, true, allowed.size, allowance_fp32, x[0], _is_excused_anywhere(allowed))
    )


def _backward(checked: Checked, header: RowHeader) -> VerifyRow:
    activation, z, x = checked.activation, checked.z, checked.x
    is_users = checked.choice.kind != "table"
    allowed = backward_allowance(activation, z, header.dtype, emulate=is_users)
    true = checked.reference.slopes(x)
    if is_users and checked.against is not None:
        allowed = replace(allowed, excuses={**allowed.excuses, SINGLE: _single_points(checked, header.dtype)})
    # There is no true slope at NaN, nor for a maximum of equals that are not finite.
    usable = ~np.isnan(x).any(axis=0)
    keep = torch.from_numpy(usable)

    def flat(of: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(of, true.shape)[:, usable].flatten()

    expected = Expected(
        flat(true),
        flat(_allowed_errors(checked, header, allowed, true)),
        flat(x[-1]),
        {why: flat(where) for why, where in allowed.excuses.items()},
        header.dtype,
        checked.reference.kinks,
        None if allowed.emulated is None else flat(allowed.emulated),
        flat(allowed.overflows) if checked.against is None else None,
    )

    def forms() -> Iterator[tuple[str, Tensor]]:
        for form, slopes, _ in backward_forms(activation, z, compiled=checked.compiled):
            yield form, slopes[:, keep].flatten()

    row = row_of(replace(header, points=expected.x.size), forms(), expected)
    if not is_users or row.outcome == "failed":
        return row
    if checked.against is not None:
        user_slopes = own_slopes(activation, header.dtype)(torch.from_numpy(x[0])).numpy()
        allowance_fp32 = backward_allowance(activation, z, COMPUTED, emulate=False).size[0]
        row = same_function(
            row, InFloat64(user_slopes, true[0], allowed.size[0], allowance_fp32, x[0], _is_excused_anywhere(allowed))
        )
    return backward_pass_of_values(row, activation)


def _single_points(checked: Checked, dtype: str) -> NDArray[np.bool_]:
    """Where the user's slope is not the other's at one point alone, [N]."""
    own = own_slopes(checked.activation, dtype)
    return single_points(
        lambda x: own(torch.from_numpy(x)).numpy(), lambda x: checked.reference.slopes(x[None])[0], checked.x[0], dtype
    )


def _allowed_errors(checked: Checked, header: RowHeader, allowed: Allowance, true: Array) -> Array:
    """What is allowed: what roundings explain, or what the other's own kernel has in that region."""
    # Room for the float64 arithmetic of the truth itself, far below a rounding of the type.
    size = allowed.size + 1e-3 * ulp_size(true, header.dtype)
    if checked.against is None:
        return size
    return np.maximum(size, inherited(checked.against, header, checked.z, true))


def _is_excused_anywhere(allowed: Allowance) -> NDArray[np.bool_]:
    return np.logical_or.reduce(list(allowed.excuses.values()))


def _check_entries(checked: Checked, dtype: str) -> None:
    """Raises ValueError where a user's function gives an entry another value when other entries change."""
    if checked.choice.kind != "user":
        return
    values, x = own_values(checked.activation, dtype), torch.linspace(-3, 3, 240, dtype=torch.float64)
    neighboured = x.clone()
    neighboured[1::2] = x[1::2].flip(0) + 0.5
    results = values(x), values(neighboured)
    _check_shape(results[0], x)
    if not torch.allclose(*(result[::2].double() for result in results), rtol=1e-3, atol=1e-6, equal_nan=True):
        raise ValueError("it gives an entry another value when other entries change: it is no function of x alone")


def _check_shape(h: object, expected: Tensor) -> None:
    if not isinstance(h, Tensor) or h.shape != expected.shape:
        shape = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"it gives {shape} for shape {tuple(expected.shape)}")
