"""The constant parts of formulas: their values, and the limits of powers. Torch-free."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping

MAX_EXPONENT = 10.0
MAX_BASE = 10.0

CONSTANTS = {"pi": math.pi, "e": math.e}


def constant(node: ast.expr, values: Mapping[str, float] | None = None) -> float | None:
    """The value of an expression of numbers, pi, e, parameters and + - * / **; None if it is not one, or not finite."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return CONSTANTS.get(name, (values or {}).get(name))
        case ast.UnaryOp(operand=operand):
            value = constant(operand, values)
            return None if value is None else -value
        case ast.BinOp(left=left, op=op, right=right) if (operation := _ARITHMETIC.get(type(op))) is not None:
            a, b = constant(left, values), constant(right, values)
            if a is None or b is None:
                return None
            try:
                value = operation(a, b)
            except (OverflowError, ZeroDivisionError, ValueError):
                return None
            return value if math.isfinite(value) else None
    return None


_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: math.pow,
}


def wrong_with_power(base: ast.expr, exponent: ast.expr, values: Mapping[str, float]) -> tuple[str, str] | None:
    """Why a power is refused, and a hint; None for number**f(x), 0 < number <= 10, and f(x)**number, |number| <= 10.

    What is learned counts as the number at which it starts: `values` has it.
    """
    if _is_power(base) or _is_power(exponent):
        return "a power of a power is not allowed", "multiply the exponents: (x**2)**3 is x**6"
    power, number = constant(exponent, values), constant(base, values)
    if power is None and number is None:
        return "a power needs a number as its exponent or as its base", "e.g. x**2 or 2**x"
    if power is None and number is not None and not 0 < number <= MAX_BASE:
        return f"the base of a power of x is above 0 and at most {MAX_BASE:g}", "exp(a*x) has any base"
    if power is not None and not abs(power) * _degree(base, values) <= MAX_EXPONENT:
        return f"exponents, multiplied where nested, are at most {MAX_EXPONENT:g} in size", "write a smaller one"
    power_of_numbers = ast.BinOp(base, ast.Pow(), exponent)
    if power is not None and number is not None and constant(power_of_numbers, values) is None:
        return "the power of two numbers is not a finite real number", "write another number"
    return None


def _is_power(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def _degree(node: ast.expr, values: Mapping[str, float]) -> float:
    """The largest product of nested constant exponents in a checked tree, at least 1."""
    children = (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
    largest = max((_degree(child, values) for child in children), default=1.0)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return max(largest, 1.0) * max(1.0, abs(constant(node.right, values) or 1.0))
    return max(largest, 1.0)
