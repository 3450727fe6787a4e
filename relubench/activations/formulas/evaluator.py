"""Formulas evaluated: closures over torch functions, made from a checked tree."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from relubench.activations.definition import ActivationFunction
from relubench.activations.formulas import special_functions
from relubench.activations.formulas.constants import CONSTANTS
from relubench.activations.formulas.formula import Formula
from relubench.errors import UsageError

Values = Mapping[str, Tensor]
"""x and the learned parameters, by name."""
Node = float | Callable[[Values], Tensor]
"""A constant, folded, or a function of the values."""


def _members(module: Any, names: str) -> dict[str, Callable[..., Tensor]]:
    return {name: getattr(module, name) for name in names.split()}


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **_members(torch, "log log1p log2 log10 sqrt abs sign floor ceil round trunc"),
    **_members(torch, "sin cos tan tanh asin acos atan asinh acosh atanh"),
    **_members(torch, "erf erfc erfinv lgamma digamma sigmoid relu selu"),
    **_members(torch.special, "ndtr"),
    **_members(functional, "logsigmoid hardsigmoid softsign relu6 gelu silu mish"),
    **_members(functional, "hardswish tanhshrink"),
    **_members(special_functions, "exp exp2 expm1 sinh cosh sech csch sinc lambertw cbrt"),
    **_members(special_functions, "log_ndtr heaviside hypot logaddexp atan2 xlogy softplus leaky_relu"),
    **_members(special_functions, "threshold elu celu hardtanh hardshrink softshrink gelu_tanh"),
}

_OPERATORS: dict[type[ast.AST], Callable[..., Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluator(formula: Formula) -> ActivationFunction:
    """f(x) as the formula says, elementwise, in x's dtype; UsageError where a constant part is not finite.

    Without `learned` its learned parameters are where they start.
    """
    names = [name for name, _ in formula.learned]
    node = _Builder(CONSTANTS | dict(formula.fixed)).build(formula.tree)
    if not callable(node):
        raise UsageError(f"the formula {formula.text!r} does not depend on x", "a network cannot learn through it")

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        values = learned or tuple(z.new_tensor([start]) for _, start in formula.learned)
        return node({"x": z, **dict(zip(names, values, strict=True))})

    return function


class _Builder:
    """Builds closures; `constants` are the names that stand for numbers."""

    def __init__(self, constants: Mapping[str, float]) -> None:
        self.constants = constants

    def build(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return self.constants[name] if name in self.constants else operator.itemgetter(name)
            case ast.UnaryOp(operand=operand):
                return _apply(torch.neg, [self.build(operand)], node)
            case ast.BinOp(left=left, op=op, right=right):
                function = _power if isinstance(op, ast.Pow) else _OPERATORS[type(op)]
                return _apply(function, [self.build(left), self.build(right)], node)
            case ast.Compare(left=left, ops=ops, comparators=rest):
                compare = _comparison([_OPERATORS[type(op)] for op in ops])
                return _apply(compare, [self.build(side) for side in (left, *rest)], node)
            case ast.Call(func=ast.Name("where"), args=[condition, *branches]) if _any_infinite_slope(branches):
                return self._choice(condition, branches, node)
            case ast.Call(func=ast.Name(id=name), args=args):
                return _apply(_function(name), [self.build(argument) for argument in args], node)
        raise AssertionError(f"the checker let {ast.dump(node)} through")

    def _choice(self, condition: ast.expr, branches: list[ast.expr], node: ast.expr) -> Node:
        """where(condition, a, b). A branch passes no slope where it is not taken: that would be 0 * infinity."""
        holds, *choices = (self.build(part) for part in (condition, *branches))
        if not callable(holds):
            return _apply(_select, [holds, *choices], node)

        def choose(values: Values) -> Tensor:
            is_true = holds(values) != 0
            a, b = (
                branch({name: torch.where(is_taken, value, value.detach()) for name, value in values.items()})
                if callable(branch)
                else branch
                for branch, is_taken in zip(choices, (is_true, ~is_true), strict=True)
            )
            # The condition's dtype is x's, which two plain numbers then take.
            return _select(is_true.to(values["x"].dtype), a, b)

        return choose


def _any_infinite_slope(branches: list[ast.expr]) -> bool:
    """Whether the slope of a branch may be infinite somewhere."""
    return any(
        isinstance(node, ast.Div | ast.Pow)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in _FINITE_SLOPES)
        for branch in branches
        for node in ast.walk(branch)
    )


_FINITE_SLOPE_NAMES = "abs sign min max clip where sin cos tanh atan erf sigmoid relu gelu silu softsign relu6"
_FINITE_SLOPES = frozenset(_FINITE_SLOPE_NAMES.split())


def _apply(function: Callable[..., Tensor], arguments: list[Node], node: ast.expr) -> Node:
    """The function of the values, or its own value where no argument depends on them."""
    if any(callable(argument) for argument in arguments):
        return lambda values: function(
            *(argument_node(values) if callable(argument_node) else argument_node for argument_node in arguments)
        )
    numbers = [torch.tensor(argument, dtype=torch.float64) for argument in arguments]
    try:
        value = float(function(*numbers))
    except (ValueError, RuntimeError):
        value = math.nan
    if value - value != 0:
        raise UsageError(f"{ast.unparse(node)!r} is not a finite number", "correct that part of the formula")
    return value


def _function(name: str) -> Callable[..., Tensor]:
    match name:
        case "where":
            return _select
        case "clip":
            return lambda x, low, high: _minimum(_maximum(x, low), high)
        case "max":
            return lambda *values: reduce(_maximum, values)
        case "min":
            return lambda *values: reduce(_minimum, values)
    function = _FUNCTIONS[name]

    def with_tensor_first(*values: Any) -> Tensor:
        """The function of a first argument that is a tensor, as torch's functions need."""
        if isinstance(values[0], Tensor):
            return function(*values)
        sample_tensor = next(value for value in values if isinstance(value, Tensor))
        return function(torch.full_like(sample_tensor, values[0]), *values[1:])

    return with_tensor_first


def _power(base: Tensor | float, exponent: Tensor | float) -> Tensor:
    if isinstance(exponent, Tensor) and not isinstance(base, Tensor):
        # As special.exp: no 0 * infinity where nothing flows back.
        logarithm = math.log(base)
        return special_functions.with_slope(lambda x: base**x, lambda x, h: h * logarithm)(exponent)
    return base**exponent  # pyright: ignore[reportReturnType]


def _comparison(operators: list[Callable[..., Tensor]]) -> Callable[..., Tensor]:
    """1 where every neighbouring pair compares so, else 0; in the operands' dtype, so that sums are not logic."""

    def compare(*sides: Tensor | float) -> Tensor:
        dtype = next(side.dtype for side in sides if isinstance(side, Tensor))
        pairs = zip(operators, sides, sides[1:], strict=False)
        return reduce(operator.mul, (torch.as_tensor(compares(a, b)).to(dtype) for compares, a, b in pairs))

    return compare


def _select(condition: Tensor | float, a: Tensor | float, b: Tensor | float) -> Tensor:
    if isinstance(condition, Tensor) and not isinstance(a, Tensor):
        # Of two plain numbers torch.where makes float32, whatever x is.
        a = torch.full_like(condition, a)
    return torch.where(torch.as_tensor(condition) != 0, a, b)


def _maximum(a: Tensor | float, b: Tensor | float) -> Tensor:
    """max(a, b), NaN where either is; at a tie with a constant the slope is the constant's, as in ReLU."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.maximum(a, b)
    if isinstance(a, Tensor):
        return functional.threshold(a, float(b), float(b))
    if isinstance(b, Tensor):
        return functional.threshold(b, a, a)
    return torch.tensor(max(a, b))


def _minimum(a: Tensor | float, b: Tensor | float) -> Tensor:
    return -_maximum(-a, -b)
