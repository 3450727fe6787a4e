"""The true functions and slopes in float64, from the formulas of the table's rows, accurate to a few ulp of float64.

They are not the kernels' own: every function that a formula calls is NumPy's or SciPy's, with the slope that the rules
below give it, each written so that it keeps its digits. A piecewise-linear function may not be rounded at all: its
numbers are taken in float32, as the kernels take them. At an infinity the value is the limit. tests/verification
compares all of them with the same formulas in mpmath.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit, ndtr

from relubench.activations import ActivationRow
from relubench.activations.formulas.canonical_form import OPERATORS
from relubench.activations.formulas.constants import CONSTANTS
from relubench.activations.formulas.formula import parse_formula
from relubench.activations.row import ParameterValue

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

FAR = 1e30
"""What stands for infinity where a limit is asked for; beyond HUGE the limit is infinite."""
HUGE = 1e20


@dataclass(frozen=True, slots=True)
class ReferenceFunction:
    """f, f', and where f' jumps."""

    value: Function
    slope: Function
    kinks: tuple[float, ...] = ()
    """Where the slope jumps: points beside them are among those checked."""


@dataclass(frozen=True, slots=True)
class Dual:
    """A part of a formula that has x in it, at the points: its value, and its slope in x."""

    value: Any
    slope: Any


def _larger(a: Any, b: Any) -> tuple[Any, ...]:
    """The greater, with half the slope of each at a tie; at a tie with a number the slope is the number's, 0."""
    tie = (a == b) * (0.5 if np.ndim(a) == np.ndim(b) else 0.0)
    return np.maximum(a, b), (a > b) + tie, (b > a) + tie


def _smaller(a: Any, b: Any) -> tuple[Any, ...]:
    value, slope_a, slope_b = _larger(-a, -b)
    return -value, slope_a, slope_b


RULES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "+": lambda a, b: (a + b, 1.0, 1.0),
    "-": lambda a, b: (a - b, 1.0, -1.0),
    "*": lambda a, b: (a * b, b, a),
    "/": lambda a, b: (a / b, 1 / b, -a / b / b),
    "**": lambda a, b: (a**b, b * a ** (b - 1), a**b * np.log(np.abs(a))),
    ">": lambda a, b: (np.greater(a, b), 0.0, 0.0),
    ">=": lambda a, b: (np.greater_equal(a, b), 0.0, 0.0),
    "<": lambda a, b: (np.less(a, b), 0.0, 0.0),
    "<=": lambda a, b: (np.less_equal(a, b), 0.0, 0.0),
    "where": lambda condition, a, b: (np.where(condition, a, b), 0.0, condition != 0, condition == 0),
    "max": _larger,
    "min": _smaller,
    "abs": lambda a: (np.abs(a), np.sign(a)),
    "clip": lambda a, low, high: (np.clip(a, low, high), (a > low) & (a < high), a <= low, a >= high),
    "sign": lambda a: (np.sign(a), 0.0),
    "sqrt": lambda a: (np.sqrt(a), 0.5 / np.sqrt(a)),
    "exp": lambda a: (np.exp(a), np.exp(a)),
    "expm1": lambda a: (np.expm1(a), np.exp(a)),
    "log": lambda a: (np.log(a), 1 / a),
    "log1p": lambda a: (np.log1p(a), 1 / (1 + a)),
    "logaddexp": lambda a, b: (np.logaddexp(a, b), expit(a - b), expit(b - a)),
    "softplus": lambda a: (np.logaddexp(0, a), expit(a)),
    "sigmoid": lambda a: (expit(a), expit(a) * expit(-a)),
    "tanh": lambda a: (np.tanh(a), np.cosh(a) ** -2.0),
    "erf": lambda a: (erf(a), 2 / np.sqrt(np.pi) * np.exp(-a * a)),
    "ndtr": lambda a: (ndtr(a), np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)),
    "gelu": lambda a: (a * ndtr(a), ndtr(a) + a * RULES["ndtr"](a)[1]),
    "silu": lambda a: (a * expit(a), expit(a) * (1 + a * expit(-a))),
    "sin": lambda a: (np.sin(a), np.cos(a)),
    "cos": lambda a: (np.cos(a), -np.sin(a)),
    "atan": lambda a: (np.arctan(a), 1 / (1 + a * a)),
}
"""Operator or function of a formula -> its value, and its slope in each argument."""

CORNERS = frozenset((">", ">=", "<", "<=", "max", "min", "abs"))
"""What makes a corner where its two arguments, or its argument and 0, are equal."""


def walk(node: ast.expr, x: Any, apply: Callable[..., Any]) -> Any:
    """The value of a canonical tree at x; `apply` computes an operator's or a function's of its arguments' values."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return x if name == "x" else CONSTANTS[name]
        case ast.UnaryOp(operand=operand):
            symbol, arguments = "*", [ast.Constant(-1), operand]
        case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
            symbol, arguments = OPERATORS[type(op)], [left, right]
        case ast.Call(func=ast.Name(id=symbol), args=arguments):
            pass
        case _:
            raise ValueError(f"no true function comes from {ast.unparse(node)!r}")
    return apply(symbol, *(walk(argument, x, apply) for argument in arguments))


def formula_of(row: ActivationRow, parameters: Mapping[str, ParameterValue]) -> ast.expr:
    """The canonical tree of the row's true function; of a gated one that of its gate, b, where a is 1."""
    formula = row.truth or row.formula
    return _tree(formula if isinstance(formula, str) else formula(**parameters), row, parameters)


def of_row(row: ActivationRow, parameters: Mapping[str, ParameterValue]) -> ReferenceFunction:
    """The truth of a table's activation of one column; of a gated one that of its gate."""
    tree = formula_of(row, parameters)
    slope_tree = _tree(row.true_slope, row, parameters) if row.true_slope else None
    apply = functools.partial(_apply, np.float64 if row.kinks is None else np.float32)

    def value(x: Array) -> Array:
        return walk(tree, Dual(x, 1.0), apply).value

    def slope(x: Array) -> Array:
        return walk(slope_tree, Dual(x, 1.0), apply).value if slope_tree else walk(tree, Dual(x, 1.0), apply).slope

    return ReferenceFunction(_limited(value), _limited(slope), _corners(tree))


def _tree(text: str, row: ActivationRow, parameters: Mapping[str, ParameterValue]) -> ast.expr:
    values = {**parameters, **({"a": 1, "b": "x"} if row.inputs_per_unit == 2 else {})}
    names = "|".join(values) or "(?!)"
    return parse_formula(re.sub(rf"\b({names})\b", lambda name: f"({values[name[0]]})", text)).tree


def _apply(numbers: type[np.floating], symbol: str, *arguments: Dual | float) -> Dual | float:
    """The operator or function of its arguments, by the chain rule; a number that meets x is taken in this type."""
    if symbol not in RULES:
        raise ValueError(f"verification/truth.py has no rule for {symbol}")
    if not any(isinstance(argument, Dual) for argument in arguments):
        return float(RULES[symbol](*arguments)[0])
    sides = [argument.value if isinstance(argument, Dual) else float(numbers(argument)) for argument in arguments]
    value, *slopes = RULES[symbol](*sides)
    # A slope of 0 lets nothing through, not even an infinity.
    chained = [
        np.where(slope == 0, 0.0, slope * argument.slope)
        for slope, argument in zip(slopes, arguments, strict=True)
        if isinstance(argument, Dual)
    ]
    return Dual(value, sum(chained))


def _limited(function: Function) -> Function:
    """The same function with its limits at the infinities and NaN at NaN."""

    def with_limits(x: Array) -> Array:
        with np.errstate(all="ignore"):
            inside = np.where(np.isinf(x), np.copysign(FAR, x), x)
            y = np.asarray(function(inside), dtype=np.float64)
            endless = np.isinf(x) & (np.abs(y) > HUGE)
            y = np.where(endless, np.copysign(np.inf, y), y)
            return np.where(np.isnan(x), np.nan, y)

    return with_limits


def _corners(tree: ast.expr) -> tuple[float, ...]:
    """Where two sides that are compared are equal, if their difference is 0 at 0 or a multiple of x and a number."""
    corners: set[float] = set()

    def apply(symbol: str, *arguments: Dual | float) -> Dual | float:
        if symbol in CORNERS:
            sides = [argument.value if isinstance(argument, Dual) else argument for argument in arguments]
            at_0, at_1, at_2 = np.broadcast_to(sides[0] - sides[1] if len(sides) > 1 else sides[0], 3)
            if at_0 == 0 or (at_1 != at_0 and np.isclose(at_2 - at_1, at_1 - at_0)):
                corners.add(float(at_0 / (at_0 - at_1)) if at_0 else 0.0)
        return _apply(np.float64, symbol, *arguments)

    with np.errstate(all="ignore"):
        walk(tree, Dual(np.array([0.0, 1.0, 2.0]), 1.0), apply)
    return tuple(sorted(corners))
