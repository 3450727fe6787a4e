"""What an activation is compared with: the true function of a table's, a user's own in float64, another by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relubench.activations import ACTIVATIONS, ActivationChoice, build
from relubench.activations.definition import Activation
from relubench.activations.row import HeldForm, ParameterValue
from relubench.verification import points, truth
from relubench.verification.arithmetic import widened
from relubench.verification.compare import Array
from relubench.verification.forms import twin


@dataclass(frozen=True, slots=True)
class Reference:
    """True values [N] and slopes [C, N] at x [C, N]."""

    name: str
    values: Callable[[Array], Array]
    slopes: Callable[[Array], Array]
    kinks: tuple[float, ...] = ()


def reference_of(
    choice: ActivationChoice, activation: Activation, dtype: str, against: ActivationChoice | None
) -> Reference:
    """The true function of a table's; for a user's own itself in float64, or what --against names."""
    if against is not None:
        reference = reference_of(against, build(against), dtype, None)
        return Reference(against.label, reference.values, reference.slopes, reference.kinks)
    if choice.kind != "table":
        return _itself(activation, dtype)
    if activation.combines == "maximum":
        return Reference("truth", lambda x: np.max(x, axis=0), _winner)
    true = truth.of_row(ACTIVATIONS[choice.name], parameters_in_type(choice, dtype))
    if activation.inputs_per_unit == 1:
        return Reference("truth", lambda x: true.value(x[0]), lambda x: true.slope(x[0])[None], true.kinks)
    return Reference(
        "truth",
        lambda x: _product(x[0], true.value(x[1])),
        lambda x: np.stack([true.value(x[1]), _product(x[0], true.slope(x[1]))]),
        true.kinks,
    )


def parameters_in_type(choice: ActivationChoice, dtype: str) -> dict[str, ParameterValue]:
    """A table's parameters, those that are learned as the type holds them."""
    parameters, row = dict(choice.parameters), ACTIVATIONS[choice.name]
    if not row.learned:
        return parameters
    plain = HeldForm(float, float)
    for key, value in parameters.items():
        if not isinstance(value, str):
            form = row.held.get(key, plain)
            parameters[key] = form.shown(float(torch.tensor(form.held(value), dtype=points.DTYPES[dtype])))
    return parameters


def own_values(activation: Activation, dtype: str) -> Callable[[Tensor], Tensor]:
    """A user's own function in float64, without a tape."""
    function = twin(activation, points.DTYPES[dtype])

    def values(x: Tensor) -> Tensor:
        with torch.no_grad(), widened():
            return function(x.clone())

    return values


def own_slopes(activation: Activation, dtype: str) -> Callable[[Tensor], Tensor]:
    """The slopes that a user's own function hands back in float64."""
    function = twin(activation, points.DTYPES[dtype])

    def slopes(x: Tensor) -> Tensor:
        with torch.enable_grad(), widened():
            z = x.clone().requires_grad_()
            h = function(z.clone())
            (input_slopes,) = torch.autograd.grad(h, z, torch.ones_like(h), materialize_grads=True, allow_unused=True)
        return input_slopes

    return slopes


def _itself(activation: Activation, dtype: str) -> Reference:
    values, slopes = own_values(activation, dtype), own_slopes(activation, dtype)
    return Reference(
        "itself in float64",
        lambda x: values(torch.from_numpy(x[0])).numpy(),
        lambda x: slopes(torch.from_numpy(x[0])).numpy()[None],
    )


def _winner(x: Array) -> Array:
    return (np.arange(len(x))[:, None] == np.argmax(x, axis=0)).astype(np.float64)


def _product(a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        return a * b
