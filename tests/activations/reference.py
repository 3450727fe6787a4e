"""The true functions of the table's rows again, one value at a time, in mpmath at 40 digits."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import mpmath
from mpmath import mp, mpf

from relubench.activations import ACTIVATIONS, select
from relubench.verification.truth import formula_of, walk

mp.dps = 40

F = Callable[[mpf], mpf]


def logistic(x):
    return 1 / (1 + mpmath.exp(-x))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow},
    **{">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le},
    **{"max": max, "min": min, "abs": abs, "clip": lambda x, low, high: min(max(x, low), high)},
    "where": lambda condition, a, b: a if condition else b,
    "logaddexp": lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "sigmoid": logistic,
    "ndtr": mpmath.ncdf,
    "gelu": lambda x: x * mpmath.ncdf(x),
    "silu": lambda x: x * logistic(x),
}


def function(symbol: str) -> Callable[..., Any]:
    """What an operator or a function of a formula is in mpmath."""
    return FUNCTIONS[symbol] if symbol in FUNCTIONS else getattr(mpmath, symbol)


def evaluate(tree: ast.expr, x: float) -> mpf:
    return walk(tree, mpf(x), lambda symbol, *sides: function(symbol)(*map(mpf, sides)))


def true_function(name: str, parameters: Mapping[str, Any]) -> F:
    """f, in evaluation and with learned parameters at their start; of a gated one the g of a*g(b)."""
    tree = formula_of(ACTIVATIONS[name], parameters)
    return lambda x: evaluate(tree, x)


def of_label(label: str) -> F:
    choice = select([label])[0]
    return true_function(choice.name, dict(choice.parameters))


VARIANTS = (
    *("leaky_relu:negative_slope=0.2", "leaky_relu:negative_slope=0", "leaky_relu:negative_slope=-0.3"),
    *("softplus:beta=3:threshold=30", "elu:alpha=0.5", "celu:alpha=2", "gelu:approximate=tanh", "swish:beta=1.5"),
)
ELEMENTWISE: dict[str, F] = {
    label: of_label(label)
    for label in (*(row.name for row in ACTIVATIONS.values() if row.inputs_per_unit == 1), *VARIANTS)
}
"""Label -> f."""

SURROGATES = ("straight_through_relu",)
"""Activations whose backward pass takes another slope than that of the function, by design."""

DIFFERENTIATED = [label for label in ELEMENTWISE if label not in SURROGATES]
"""Labels whose backward pass is the derivative."""

GATES: dict[str, F] = {row.name: of_label(row.name) for row in ACTIVATIONS.values() if row.inputs_per_unit == 2}
"""Name -> g of a*g(b)."""

CORNERS: dict[str, list[tuple[float, float]]] = {
    "relu": [(0.0, 0.0)],
    "relu6": [(0.0, 0.0), (6.0, 0.0)],
    "hardtanh": [(-1.0, 0.0), (1.0, 0.0)],
    "abs_tanh": [(0.0, 0.0)],
    "squared_relu": [(0.0, 0.0)],
    "leaky_relu": [(0.0, 0.01)],
    "elu": [(0.0, 1.0)],
}
"""Label -> (x, the slope taken there) where there is a kink, as torch takes it."""


def slope(function: F, x: float) -> float:
    """f'(x), by a central difference that 40 digits make exact to 1e-15; x must not be at a kink."""
    step = mpf(10) ** -15
    return float((function(mpf(x) + step) - function(mpf(x) - step)) / (2 * step))
