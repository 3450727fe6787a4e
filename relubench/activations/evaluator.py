"""Formulas evaluated: closures over torch functions, made from a checked tree."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from relubench.activations.expression import CONSTANTS, Formula
from relubench.errors import UsageError

Node = float | Callable[[Tensor], Tensor]
"""A constant, folded, or a function of x."""

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sign": torch.sign,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "atan": torch.atan,
    "asinh": torch.asinh,
    "erf": torch.erf,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "elu": functional.elu,
    "selu": torch.selu,
    "softsign": functional.softsign,
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
    "hardswish": functional.hardswish,
}

_OPERATORS: dict[type[ast.AST], Callable[..., Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluator(formula: Formula) -> Callable[[Tensor], Tensor]:
    """f(x) as the formula says, elementwise, in x's dtype; UsageError where a constant part is not finite."""
    built = _build(formula.tree)
    if not callable(built):
        raise UsageError(f"the formula {formula.text!r} does not depend on x", "a network cannot learn through it")
    return built


def _build(node: ast.expr) -> Node:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return _variable if name == "x" else CONSTANTS[name]
        case ast.UnaryOp(operand=operand):
            return _apply(torch.neg, [_build(operand)], node)
        case ast.BinOp(left=left, op=op, right=right):
            return _apply(_OPERATORS[type(op)], [_build(left), _build(right)], node)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            return _apply(
                _comparison([_OPERATORS[type(op)] for op in ops]), [_build(one) for one in (left, *rest)], node
            )
        case ast.Call(func=ast.Name(id=name), args=args):
            return _apply(_function(name), [_build(one) for one in args], node)
    raise AssertionError(f"the checker let {ast.dump(node)} through")


def _variable(x: Tensor) -> Tensor:
    return x


def _apply(function: Callable[..., Tensor], arguments: list[Node], node: ast.expr) -> Node:
    """The function of x, or its value where no argument depends on x."""
    if any(callable(one) for one in arguments):
        return lambda x: function(*(one(x) if callable(one) else one for one in arguments))
    values = [torch.tensor(one, dtype=torch.float64) for one in arguments]
    value = float(function(*values))
    if value - value != 0:
        raise UsageError(f"{ast.unparse(node)!r} is not a finite number", "correct that part of the formula")
    return value


def _function(name: str) -> Callable[..., Tensor]:
    match name:
        case "where":
            return _where
        case "clip":
            return lambda x, low, high: _least(_greatest(x, low), high)
        case "max":
            return lambda *values: reduce(_greatest, values)
        case "min":
            return lambda *values: reduce(_least, values)
    return _FUNCTIONS[name]


def _comparison(operators: list[Callable[..., Tensor]]) -> Callable[..., Tensor]:
    """1 where every neighbouring pair compares so, else 0; in the operands' dtype, so that sums are not logic."""

    def compare(*sides: Tensor | float) -> Tensor:
        dtype = next(side.dtype for side in sides if isinstance(side, Tensor))
        pairs = zip(operators, sides, sides[1:], strict=False)
        return reduce(operator.mul, (torch.as_tensor(one(a, b)).to(dtype) for one, a, b in pairs))

    return compare


def _where(condition: Tensor | float, a: Tensor | float, b: Tensor | float) -> Tensor:
    if isinstance(condition, Tensor) and not isinstance(a, Tensor):
        # Of two plain numbers torch.where makes float32, whatever x is.
        a = torch.full_like(condition, a)
    return torch.where(torch.as_tensor(condition) != 0, a, b)


def _greatest(a: Tensor | float, b: Tensor | float) -> Tensor:
    """max(a, b), NaN where either is; at a tie with a constant the slope is the constant's, as in ReLU."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.maximum(a, b)
    if isinstance(a, Tensor):
        return functional.threshold(a, float(b), float(b))
    if isinstance(b, Tensor):
        return functional.threshold(b, a, a)
    return torch.tensor(max(a, b))


def _least(a: Tensor | float, b: Tensor | float) -> Tensor:
    return -_greatest(-a, -b)
