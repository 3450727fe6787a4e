"""Formulas in x: brought to one canonical form against a whitelist, without torch.

What is allowed: x, numbers, pi and e, + - * / **, comparisons (1 where true, 0 elsewhere), choices, the functions of
functions.py as they are written in several libraries, and parameters whose values follow: 'x*sigmoid(b*x), b=1.7', or
'b~1.7' if it is learned from there. Nothing is ever handed to the interpreter.
"""

from __future__ import annotations

import ast
import copy
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from relubench.activations.call_names import Called, called, dotted, function_of, not_a_function
from relubench.activations.formulas.constants import CONSTANTS, constant, wrong_with_power
from relubench.activations.formulas.functions import (
    FILLED,
    FUNCTIONS,
    NAMES,
    OPERATIONS,
    SAME,
    SAME_METHODS,
    FunctionRow,
    fold,
)
from relubench.activations.formulas.parser import WORDS, Setting, parse
from relubench.activations.formulas.tokens import MAX_CHARACTERS, MAX_DEPTH, SEE, shown, tokens
from relubench.errors import UsageError
from relubench.system.lookup import near_names

MAX_NODES = 100
MAX_PARAMETERS = 10

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
_BY_SIGN: dict[str, Any] = {sign: op for op, sign in OPERATORS.items()}


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that passed: its canonical text, and what the evaluator needs."""

    text: str
    tree: ast.expr = field(compare=False, repr=False)
    fixed: Mapping[str, float] = field(default_factory=dict, compare=False)
    """The values of its parameters that stay."""
    learned: tuple[tuple[str, float], ...] = ()
    """The names and first values of those that are learned."""


def parse_formula(text: str) -> Formula:
    """The formula that `text` writes; UsageError, with the reason, if it is not a formula in x within the limits."""
    tree, settings = parse(tokens(text), text)
    values = _values(settings, text)
    tree = _Checker(text, values).check(tree, depth=1)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if "x" not in names:
        raise UsageError(f"the formula {shown(text)} does not contain x", SEE)
    if unused := [name for name in values if name not in names]:
        raise UsageError(f"the formula {shown(text)} has no parameter {unused[0]!r}", "leave its value out")
    # No operator here is a word, so that no space carries meaning.
    canonical = ast.unparse(tree).replace(" ", "")
    learns = {setting.name for setting in settings if setting.learned}
    for name, value in values.items():
        canonical += f":{name}{'~' if name in learns else '='}{_written(value)}"
    if len(canonical) > MAX_CHARACTERS:
        raise UsageError(f"the formula has more than {MAX_CHARACTERS} characters written out", "write a shorter one")
    fixed = {name: value for name, value in values.items() if name not in learns}
    return Formula(canonical, tree, fixed, tuple((name, value) for name, value in values.items() if name in learns))


def _values(settings: list[Setting], text: str) -> dict[str, float]:
    """The parameters' values, in the order of their names."""
    values: dict[str, float] = {}
    for setting in settings:
        name = setting.name
        if name in FUNCTIONS or name in WORDS or name in CONSTANTS or name == "x":
            raise UsageError(f"a parameter cannot be called {name!r}: {shown(text)}", "name it a, b or beta")
        if name in values:
            raise UsageError(f"{name} is given twice in {shown(text)}", "give each parameter once")
        if len(values) == MAX_PARAMETERS:
            raise UsageError(f"a formula has at most {MAX_PARAMETERS} parameters: {shown(text)}", "write a shorter one")
        value = constant(_Checker(text, {}).check(setting.value, depth=1))
        if value is None:
            raise UsageError(f"the value of {shown(name)} is not a number: {shown(text)}", "e.g. a*x, a=0.25")
        values[name] = value + 0
    return dict(sorted(values.items()))


def _written(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e6 else repr(value)


@functools.cache
def _definition(row: FunctionRow) -> ast.expr:
    tree, _ = parse(tokens(row.definition), row.definition)
    return tree


class _Put(ast.NodeTransformer):
    """Puts expressions in the place of names."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)


class _Checker:
    """Rebuilds a tree from allowed nodes only, counting them; anything else is refused."""

    def __init__(self, text: str, values: Mapping[str, float]) -> None:
        self.text, self.values, self.nodes = text, values, 0

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
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.UnaryOp():
                return self._unary(node, depth)
            case ast.BinOp():
                # A long sum leans to the left without being deep to its reader.
                left, right = self.check(node.left, depth), self.check(node.right, depth + 1)
                return self._operation(node.op, left, right)
            case ast.Compare():
                sides = [self.check(side, depth + 1) for side in (node.left, *node.comparators)]
                return ast.Compare(sides[0], node.ops, sides[1:])
            case ast.IfExp():
                parts = [self.check(part, depth + 1) for part in (node.test, node.body, node.orelse)]
                return ast.Call(ast.Name("where"), parts, [])
            case ast.BoolOp():
                return self._logic(node, depth)
            case ast.Call():
                return self._call(node, depth)
        self._refuse(f"{type(node).__name__.lower()} is not part of a formula")

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

    def _name(self, node: ast.Name | ast.Attribute) -> ast.expr:
        if isinstance(node, ast.Attribute):
            chain = dotted(node)
            if chain is None or (chain[-1] not in CONSTANTS and fold(chain[-1]) not in NAMES):
                self._refuse(f"{node.attr!r} after a dot is not a function", "e.g. x.tanh() or torch.tanh(x)")
            name = chain[-1]
        else:
            name = node.id
            if name == "x" or name in self.values:
                return ast.Name(name)
        if name in CONSTANTS:
            return ast.Name(name)
        if fold(name) in NAMES and len(name) > 1:
            self._refuse(f"{name!r} is a function", f"write {name}(...)")
        self._unknown(name)

    def _unary(self, node: ast.UnaryOp, depth: int) -> ast.expr:
        operand = self.check(node.operand, depth + 1)
        if isinstance(node.op, ast.UAdd):
            return operand
        if isinstance(node.op, ast.USub):
            return ast.UnaryOp(ast.USub(), operand)
        self._condition(operand, "not")
        return ast.BinOp(ast.Constant(1), ast.Sub(), operand)

    def _logic(self, node: ast.BoolOp, depth: int) -> ast.expr:
        """a and b is their product, a or b the greater, of conditions that are 0 or 1."""
        word = "and" if isinstance(node.op, ast.And) else "or"
        sides = [self.check(side, depth + 1) for side in node.values]
        for side in sides:
            self._condition(side, word)
        if word == "or":
            return ast.Call(ast.Name("max"), sides, [])
        return functools.reduce(lambda left, right: ast.BinOp(left, ast.Mult(), right), sides)

    def _condition(self, node: ast.expr, word: str) -> None:
        match node:
            case ast.Compare():
                return
            case ast.BinOp(left=left, op=ast.Mult(), right=right) | ast.Call(func=ast.Name("max"), args=[left, right]):
                self._condition(left, word)
                self._condition(right, word)
            case ast.BinOp(left=ast.Constant(1), op=ast.Sub(), right=right):
                self._condition(right, word)
            case _:
                self._refuse(f"{word!r} joins conditions only, such as x > 0", "write where(x>0, a, b)")

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        call = called(node)
        if call is None:
            self._refuse("only functions can be called", "a product is written 2*(x+1)")
        plain = not call.method and not call.package
        try:
            if plain and (call.name == "x" or call.name in CONSTANTS or call.name in self.values):
                raise not_a_function(call.name)
            rewritten = self._rewritten(call)
            if rewritten is not None:
                return self.check(rewritten, depth)
            row, args = function_of(call, [*self.values, *CONSTANTS, "x"])
        except UsageError as problem:
            self._refuse(problem.message, problem.hint)
        if row.definition:
            args += [ast.Constant(float(row.defaults[name])) for name in row.arguments[len(args) :]]
            # A fresh tree: the definition is kept.
            tree = _Put(dict(zip(row.arguments, args, strict=True))).visit(copy.deepcopy(_definition(row)))
            return self.check(tree, depth)
        return self._function(row, [one if _is_none(one) else self.check(one, depth + 1) for one in args])

    def _rewritten(self, call: Called) -> ast.expr | None:
        """The operation that a function stands for: add(a, b), neg(a), clamp_min(a, b), float(a), zeros_like(a)."""
        key, args = call.key, call.args
        if args and (key in SAME or (call.method and key in SAME_METHODS)):
            return args[0]
        if key in FILLED and args:
            return ast.Constant(int(FILLED[key]))
        if key in ("full", "fulllike") and len(args) == 2:
            return args[1]
        if key in ("neg", "negative") and len(args) == 1:
            return ast.UnaryOp(ast.USub(), args[0])
        if key in ("clampmin", "clampmax") and len(args) == 2:
            return ast.Call(ast.Name("max" if key == "clampmin" else "min"), args, [])
        if key not in OPERATIONS or len(args) != 2 or call.keywords:
            return None
        sign = OPERATIONS[key]
        if sign in ("and", "or"):
            return ast.BoolOp(ast.And() if sign == "and" else ast.Or(), args)
        op = _BY_SIGN[sign]()
        return ast.Compare(args[0], [op], [args[1]]) if isinstance(op, ast.cmpop) else ast.BinOp(args[0], op, args[1])

    def _function(self, row: FunctionRow, args: list[ast.expr]) -> ast.expr:
        if row.name == "pow":
            return self._operation(ast.Pow(), *args)
        if row.name == "clip" and any(map(_is_none, args)):
            return self._half_clip(args)
        if any(map(_is_none, args)):
            self._refuse(f"{row.name}() takes numbers, not None")
        names = row.arguments
        while row.counts[0] < len(args) <= len(names) and constant(args[-1]) == float(
            row.defaults[names[len(args) - 1]]
        ):
            args = args[:-1]
        return ast.Call(ast.Name(row.name), args, [])

    def _half_clip(self, args: list[ast.expr]) -> ast.expr:
        x, low, high = args
        if _is_none(x) or (_is_none(low) and _is_none(high)):
            self._refuse("clip() takes x and a bound", "e.g. clip(x, 0, 6) or max(x, 0)")
        return ast.Call(ast.Name("min"), [x, high], []) if _is_none(low) else ast.Call(ast.Name("max"), [x, low], [])

    def _operation(self, op: ast.operator, left: ast.expr, right: ast.expr) -> ast.expr:
        if isinstance(op, ast.Div) and constant(right, self.values) == 0:
            self._refuse("division by zero")
        if isinstance(op, ast.Pow) and (wrong := wrong_with_power(left, right, self.values)) is not None:
            self._refuse(*wrong)
        return ast.BinOp(left, op, right)

    def _unknown(self, name: str) -> NoReturn:
        close = near_names(name[:100], [*FUNCTIONS, *CONSTANTS, *self.values]) if len(name) > 2 else []
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        if name in ("X", "y", "z", "t", "u", "v", "input", "inputs"):
            hint = f"a formula is written in x, or says what stands for it: lambda {name}: ...; "
        short = name[:20]
        hint += f"a parameter's value follows: {short}*x, {short}=0.25 (fixed) or {short}~0.25 (learned); "
        self._refuse(f"{shown(name)} is not known in a formula", f"{hint}see `relubench list functions`")

    def _refuse(self, why: str, hint: str = SEE) -> NoReturn:
        raise UsageError(f"{why}: {shown(self.text)}", hint)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "None"
