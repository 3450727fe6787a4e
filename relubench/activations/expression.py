"""Formulas in x: parsed against a whitelist, without torch; evaluated through closures over torch functions.

What is allowed: x, numbers, pi and e, + - * / **, comparisons (1 where true, 0 elsewhere), where(condition, a, b) and
the functions of FUNCTIONS. Nothing is ever handed to the interpreter.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from relubench.errors import UsageError
from relubench.lookup import near_names

MAX_CHARACTERS = 500
MAX_NODES = 100
MAX_DEPTH = 20
MAX_EXPONENT = 10.0
MAX_BASE = 10.0

CONSTANTS = {"pi": math.pi, "e": math.e}

_ONE = (
    "exp log log1p expm1 sqrt abs sign sin cos tan sinh cosh tanh atan asinh erf "
    "sigmoid softplus relu gelu silu mish elu selu softsign relu6 hardtanh hardswish"
)
FUNCTIONS: dict[str, tuple[int, int]] = {
    **{name: (1, 1) for name in _ONE.split()},
    "pow": (2, 2),
    "where": (3, 3),
    "clip": (3, 3),
    "min": (2, MAX_NODES),
    "max": (2, MAX_NODES),
}
"""Name -> least and most arguments."""

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}

_ALLOWED = re.compile(r"[A-Za-z0-9_ .,+\-*/()<>=!]*")
_SEE = "a formula is made of x, numbers, + - * / **, comparisons, where(condition, a, b) and functions such as exp(x)"
_HINTS = {"^": "a power is written x**2", "·": "a product is written 2*x", "×": "a product is written 2*x"}
_NAMES = (*FUNCTIONS, *CONSTANTS, "x")


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that passed: its canonical text, and its tree for the evaluator."""

    text: str
    tree: ast.expr = field(compare=False, repr=False)


def parse_formula(text: str) -> Formula:
    """The formula that `text` writes; UsageError, with the reason, if it is not a formula in x within the limits."""
    tree = _Checker(text).check(_syntax(text), depth=1)
    if not any(isinstance(node, ast.Name) and node.id == "x" for node in ast.walk(tree)):
        raise UsageError(f"the formula {_shown(text)} does not contain x", _SEE)
    # No operator here is a word, so that no space carries meaning.
    canonical = ast.unparse(tree).replace(" ", "")
    if len(canonical) > MAX_CHARACTERS:
        raise UsageError(f"the formula has more than {MAX_CHARACTERS} characters written out", "write a shorter one")
    return Formula(canonical, tree)


def _syntax(text: str) -> ast.expr:
    """Python's tree for `text`, after the checks that keep its parser out of trouble."""
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"a formula has at most {MAX_CHARACTERS} characters, not {len(text)}", "write a shorter one")
    allowed = _ALLOWED.match(text)
    if allowed is not None and allowed.end() < len(text):
        mark = text[allowed.end()]
        raise UsageError(f"a formula cannot contain {mark!r}: {_shown(text)}", _HINTS.get(mark, _SEE))
    depth = 0
    for mark in text:
        depth += (mark == "(") - (mark == ")")
        if depth > MAX_DEPTH:
            raise UsageError(f"a formula nests at most {MAX_DEPTH} deep: {_shown(text)}", "write a flatter one")
    try:
        # Python warns of things like `1if`, on stderr, in its own words.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as problem:
        where = f" near column {problem.offset}" if problem.offset else ""
        raise UsageError(f"{_shown(text)} is not a formula{where}: {problem.msg}", _SEE) from None
    except (ValueError, RecursionError, MemoryError):
        raise UsageError(f"{_shown(text)} is not a formula", _SEE) from None


class _Checker:
    """Rebuilds a tree from allowed nodes only, counting them; anything else is refused."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.nodes = 0

    def check(self, node: ast.expr, depth: int) -> ast.expr:
        """The same expression in canonical form."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._refuse(f"a formula has at most {MAX_NODES} numbers, names and operations", "write a shorter one")
        if depth > MAX_DEPTH:
            self._refuse(f"a formula nests at most {MAX_DEPTH} deep", "write a flatter one")
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.check(node.operand, depth + 1)
            case ast.UnaryOp(op=ast.USub()):
                return ast.UnaryOp(ast.USub(), self.check(node.operand, depth + 1))
            case ast.BinOp():
                # A long sum leans to the left without being deep to its reader.
                left, right = self.check(node.left, depth), self.check(node.right, depth + 1)
                return self._operation(node.op, left, right)
            case ast.Compare():
                sides = [self.check(side, depth + 1) for side in (node.left, *node.comparators)]
                if any(type(op) not in OPERATORS for op in node.ops):
                    self._refuse("a comparison is one of < <= > >= == !=")
                return ast.Compare(sides[0], node.ops, sides[1:])
            case ast.Call():
                return self._call(node, depth)
        return self._other(node)

    def _number(self, node: ast.Constant) -> ast.expr:
        value = node.value
        # bool is an int to Python; here it is only a word.
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(f"{value!r} is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self._refuse("a number is too large")
        return ast.Constant(int(number) if number.is_integer() and number < 1e6 else number)

    def _name(self, node: ast.Name) -> ast.expr:
        if node.id in FUNCTIONS:
            self._refuse(f"{node.id!r} is a function", f"write {node.id}(...)")
        if node.id != "x" and node.id not in CONSTANTS:
            self._unknown(node.id)
        return ast.Name(node.id)

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        if not isinstance(node.func, ast.Name):
            self._refuse("only functions can be called", "a product is written 2*(x+1)")
        name = node.func.id
        if name in CONSTANTS or name == "x":
            self._refuse(f"{name!r} is not a function", f"a product is written {name}*(...)")
        if name not in FUNCTIONS:
            self._unknown(name)
        if node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
            self._refuse(f"{name}() takes plain arguments, in order")
        least, most = FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            wanted = str(least) if least == most else f"at least {least}"
            self._refuse(f"{name}() takes {wanted} argument{'s' if least > 1 else ''}, not {len(node.args)}")
        arguments = [self.check(one, depth + 1) for one in node.args]
        if name == "pow":
            return self._operation(ast.Pow(), *arguments)
        return ast.Call(ast.Name(name), arguments, [])

    def _operation(self, op: ast.operator, left: ast.expr, right: ast.expr) -> ast.expr:
        if type(op) not in OPERATORS:
            self._refuse("an operation is one of + - * / **")
        if isinstance(op, ast.Div) and constant(right) == 0:
            self._refuse("division by zero")
        if isinstance(op, ast.Pow):
            self._power(left, right)
        return ast.BinOp(left, op, right)

    def _power(self, base: ast.expr, exponent: ast.expr) -> None:
        """Refuse a power that is not number**f(x), with 0 < number <= 10, or f(x)**number, with |number| <= 10."""
        if _is_power(base) or _is_power(exponent):
            self._refuse("a power of a power is not allowed", "multiply the exponents: (x**2)**3 is x**6")
        power, number = constant(exponent), constant(base)
        if power is None and number is None:
            self._refuse("a power needs a number as its exponent or as its base", "e.g. x**2 or 2**x")
        if power is None and number is not None and not 0 < number <= MAX_BASE:
            self._refuse(f"the base of a power of x is above 0 and at most {MAX_BASE:g}", "exp(a*x) has any base")
        if power is not None and not abs(power) * _degree(base) <= MAX_EXPONENT:
            self._refuse(f"exponents, multiplied where nested, are at most {MAX_EXPONENT:g} in size")
        if power is not None and number is not None and constant(ast.BinOp(base, ast.Pow(), exponent)) is None:
            self._refuse("the power of two numbers is not a finite real number")

    def _other(self, node: ast.expr) -> NoReturn:
        if isinstance(node, ast.IfExp | ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            self._refuse("if, and, or, not are not part of a formula", "write where(x>0, a, b)")
        if isinstance(node, ast.Attribute):
            self._refuse(f"a dot is only part of a number, not of {node.attr!r}", "write tanh(x), not torch.tanh(x)")
        self._refuse(f"{type(node).__name__.lower()} is not part of a formula")

    def _unknown(self, name: str) -> NoReturn:
        close = near_names(name[:100], _NAMES)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        self._refuse(f"{_shown(name)} is not known in a formula", f"{hint}known are {', '.join(_NAMES)}")

    def _refuse(self, why: str, hint: str = _SEE) -> NoReturn:
        raise UsageError(f"{why}: {_shown(self.text)}", hint)


def constant(node: ast.expr) -> float | None:
    """The value of an expression of numbers, pi, e and + - * / **; None where it is not one, or not finite."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return CONSTANTS.get(name)
        case ast.UnaryOp(operand=operand):
            inner = constant(operand)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=op, right=right) if (operation := _ARITHMETIC.get(type(op))) is not None:
            a, b = constant(left), constant(right)
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


def _is_power(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def _degree(node: ast.expr) -> float:
    """The largest product of nested constant exponents in a checked tree, at least 1."""
    below = max((_degree(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)), default=1.0)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return max(below, 1.0) * max(1.0, abs(constant(node.right) or 1.0))
    return max(below, 1.0)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
