"""The tree of a formula in its one canonical form: allowed nodes only, anything else is refused. Torch-free."""

from __future__ import annotations

import ast
import copy
import functools
import math
from collections.abc import Mapping
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
from relubench.activations.formulas.parser import parse
from relubench.activations.formulas.tokens import MAX_DEPTH, SEE, tokenize
from relubench.errors import UsageError, shown
from relubench.system.lookup import near_names

MAX_NODES = 100

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


@functools.cache
def _definition_tree(row: FunctionRow) -> ast.expr:
    tree, _ = parse(tokenize(row.definition), row.definition)
    return tree


class _Substitution(ast.NodeTransformer):
    """Puts expressions in the place of names."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)


class Canonicaliser:
    """Rebuilds a tree from allowed nodes only, counting them; anything else is refused.

    `values`: the numbers that its parameters stand for.
    """

    def __init__(self, text: str, values: Mapping[str, float]) -> None:
        self.text, self.values, self.num_nodes = text, values, 0

    def rebuild(self, node: ast.expr, depth: int = 1) -> ast.expr:
        """The same expression in canonical form; UsageError where a part of it is not allowed."""
        self._count_node(depth)
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.UnaryOp():
                return self._unary_operation(node, depth)
            case ast.BinOp():
                # A long sum leans to the left without being deep to its reader.
                left, right = self.rebuild(node.left, depth), self.rebuild(node.right, depth + 1)
                return self._operation(node.op, left, right)
            case ast.Compare():
                sides = [self.rebuild(side, depth + 1) for side in (node.left, *node.comparators)]
                return ast.Compare(sides[0], node.ops, sides[1:])
            case ast.IfExp():
                branches = [self.rebuild(branch, depth + 1) for branch in (node.test, node.body, node.orelse)]
                return ast.Call(ast.Name("where"), branches, [])
            case ast.BoolOp():
                return self._logic(node, depth)
            case ast.Call():
                return self._call(node, depth)
        self._refuse(f"{type(node).__name__.lower()} is not part of a formula")

    def _count_node(self, depth: int) -> None:
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            self._refuse(f"a formula has at most {MAX_NODES} numbers, names and operations", "write a shorter one")
        if depth > MAX_DEPTH:
            self._refuse(f"a formula nests at most {MAX_DEPTH} deep", "write a flatter one")

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

    def _unary_operation(self, node: ast.UnaryOp, depth: int) -> ast.expr:
        operand = self.rebuild(node.operand, depth + 1)
        if isinstance(node.op, ast.UAdd):
            return operand
        if isinstance(node.op, ast.USub):
            return ast.UnaryOp(ast.USub(), operand)
        self._condition(operand, "not")
        return ast.BinOp(ast.Constant(1), ast.Sub(), operand)

    def _logic(self, node: ast.BoolOp, depth: int) -> ast.expr:
        """a and b is their product, a or b the greater, of conditions that are 0 or 1."""
        word = "and" if isinstance(node.op, ast.And) else "or"
        sides = [self.rebuild(side, depth + 1) for side in node.values]
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
            operation = self._operation_of_call(call)
            if operation is not None:
                return self.rebuild(operation, depth)
            row, args = function_of(call, [*self.values, *CONSTANTS, "x"])
        except UsageError as problem:
            self._refuse(problem.message, problem.hint)
        if row.definition:
            args += [ast.Constant(float(row.defaults[name])) for name in row.arguments[len(args) :]]
            # A fresh tree: the definition is kept.
            tree = _Substitution(dict(zip(row.arguments, args, strict=True))).visit(
                copy.deepcopy(_definition_tree(row))
            )
            return self.rebuild(tree, depth)
        return self._function(
            row, [argument if _is_none(argument) else self.rebuild(argument, depth + 1) for argument in args]
        )

    def _operation_of_call(self, call: Called) -> ast.expr | None:
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
            return self._one_sided_clip(args)
        if any(map(_is_none, args)):
            self._refuse(f"{row.name}() takes numbers, not None")
        names = row.arguments
        while row.counts[0] < len(args) <= len(names) and constant(args[-1]) == float(
            row.defaults[names[len(args) - 1]]
        ):
            args = args[:-1]
        return ast.Call(ast.Name(row.name), args, [])

    def _one_sided_clip(self, args: list[ast.expr]) -> ast.expr:
        x, low, high = args
        if _is_none(x) or (_is_none(low) and _is_none(high)):
            self._refuse("clip() takes x and a bound", "e.g. clip(x, 0, 6) or max(x, 0)")
        return ast.Call(ast.Name("min"), [x, high], []) if _is_none(low) else ast.Call(ast.Name("max"), [x, low], [])

    def _operation(self, op: ast.operator, left: ast.expr, right: ast.expr) -> ast.expr:
        if isinstance(op, ast.Div) and constant(right, self.values) == 0:
            self._refuse("division by zero")
        if isinstance(op, ast.Pow) and (refusal := wrong_with_power(left, right, self.values)) is not None:
            self._refuse(*refusal)
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
