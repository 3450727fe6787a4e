"""Tokens to a tree of Python's ast nodes, which no interpreter ever sees: operator precedence as in Python. Torch-free.

Beyond Python: a product may leave its sign out (2x, 3(x+1), x sin(x)) where it can be read in one way only, a power is
^ or **, and a choice may be written c ? a : b.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from relubench.activations.formulas.functions import NAMES, fold
from relubench.activations.formulas.token_cursor import TokenCursor
from relubench.activations.formulas.tokens import (
    MAX_DEPTH,
    PARAMETER_WORDS,
    SEE,
    Token,
    find_parameter_names,
    number,
    split_name,
)

WORDS = frozenset(("if", "else", "and", "or", "not", "lambda", "return", "def", "in", "is"))
_COMPARISONS: dict[str, type[ast.cmpop]] = {
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
    "==": ast.Eq,
    "!=": ast.NotEq,
}
_SUMS: dict[str, type[ast.operator]] = {"+": ast.Add, "-": ast.Sub}
_PRODUCTS: dict[str, type[ast.operator]] = {"*": ast.Mult, "/": ast.Div}
_LOGIC: tuple[tuple[tuple[str, ...], type[ast.boolop]], ...] = ((("or",), ast.Or), (("and", "&", "&&"), ast.And))


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter's value as it follows a formula: name=value, or name~value where it is learned from there."""

    name: str
    learned: bool
    value: ast.expr


def parse(tokens: Sequence[Token], text: str) -> tuple[ast.expr, list[Setting]]:
    """The tree of the formula and the settings after it; UsageError where the tokens of `text` are none."""
    parser = _Parser(tokens, text)
    tree = parser.choice()
    settings: list[Setting] = []
    while parser.take(",", ":", *PARAMETER_WORDS) is not None:
        settings.append(parser.setting())
    if parser.next_token.kind != "end":
        parser.refuse_next()
    return tree, settings


class _Parser(TokenCursor):
    """Recursive descent; the brackets' depth was bounded before, signs are bounded here."""

    def __init__(self, tokens: Sequence[Token], text: str) -> None:
        parameter_names = find_parameter_names(tokens)
        super().__init__([piece for token in tokens for piece in split_name(token, parameter_names)], text)
        self.factors = {"x", "pi"} | parameter_names
        """Names before a bracket that multiply it."""
        self.depth = 0
        self.ends_in_power = False
        """Whether what was read last is a power without brackets: a product must then write its sign."""

    def setting(self) -> Setting:
        self.take(*PARAMETER_WORDS)
        token = self.next_token
        self.position += 1
        sign = self.take("=", "~") if token.kind == "name" else None
        if sign is None:
            self.refuse(
                f"{token.text!r} after the formula is not of the form name=value",
                "a parameter follows the formula: a*x, a=0.25 (fixed) or a*x, a~0.25 (learned from there)",
            )
        return Setting(token.text, sign == "~", self.sum())

    def choice(self) -> ast.expr:
        """a if c else b, or c ? a : b."""
        self.depth += 1
        if self.depth > 2 * MAX_DEPTH:
            self.refuse(f"a formula nests at most {MAX_DEPTH} deep", "write a flatter one")
        tree = self.logic(0)
        if self.take("?"):
            value = self.choice()
            self.expect(":")
            tree = ast.IfExp(tree, value, self.choice())
        elif self.take("if"):
            condition = self.logic(0)
            self.expect("else")
            tree = ast.IfExp(condition, tree, self.choice())
        self.depth -= 1
        return tree

    def logic(self, level: int) -> ast.expr:
        if level == len(_LOGIC):
            return self.negation()
        words, op = _LOGIC[level]
        sides = [self.logic(level + 1)]
        while self.take(*words):
            sides.append(self.logic(level + 1))
        return sides[0] if len(sides) == 1 else ast.BoolOp(op(), sides)

    def negation(self) -> ast.expr:
        num_negations = 0
        while self.take("not"):
            num_negations += 1
        tree = self.comparison()
        return ast.UnaryOp(ast.Not(), tree) if num_negations % 2 else tree

    def comparison(self) -> ast.expr:
        first, ops, operands = self.sum(), [], []
        while sign := self.take(*_COMPARISONS):
            ops.append(_COMPARISONS[sign]())
            operands.append(self.sum())
        return ast.Compare(first, ops, operands) if ops else first

    def sum(self) -> ast.expr:
        tree = self.product()
        while sign := self.take(*_SUMS):
            tree = ast.BinOp(tree, _SUMS[sign](), self.product())
        return tree

    def product(self) -> ast.expr:
        tree, divides = self.signed(), False
        while True:
            if sign := self.take(*_PRODUCTS):
                divides = sign == "/"
                tree = ast.BinOp(tree, _PRODUCTS[sign](), self.signed())
            elif self.follows():
                if divides or self.ends_in_power:
                    self.refuse(
                        "a product without its sign is ambiguous after a division or a power",
                        "write the sign, and brackets where they matter: 1/(2*x) or 1/2*x, x**2*(x+1)",
                    )
                tree = ast.BinOp(tree, ast.Mult(), self.power())
            else:
                return tree

    def follows(self) -> bool:
        """Whether the next token begins a factor whose sign was left out."""
        token, previous = self.next_token, self.tokens[self.position - 1]
        if token.kind == "mark":
            factor = previous.kind in ("number", "mark") or previous.text in self.factors
            return token.text in ("√", "∛", "∕") or (token.text == "(" and factor)
        if token.text in PARAMETER_WORDS and self.tokens[self.position + 1].text != "(":
            return False
        return token.kind == "name" and token.text not in WORDS and not token.text == previous.text == "x"

    def signed(self) -> ast.expr:
        signs = ""
        while sign := self.take("+", "-"):
            signs += sign
        if len(signs) > MAX_DEPTH:
            self.refuse(f"a formula nests at most {MAX_DEPTH} deep", "write a flatter one")
        tree = self.power()
        for sign in reversed(signs):
            tree = ast.UnaryOp(ast.USub(), tree) if sign == "-" else ast.UnaryOp(ast.UAdd(), tree)
        return tree

    def power(self) -> ast.expr:
        """base ** exponent, from the right; an exponent may have a sign."""
        tree = self.call()
        is_power = self.take("**", "^") is not None
        if is_power and isinstance(tree, ast.Name) and fold(tree.id) in NAMES and tree.id not in self.factors:
            tree, is_power = self.function_power(tree), False
        elif is_power:
            self.depth += 1
            if self.depth > 2 * MAX_DEPTH:
                self.refuse(f"a formula nests at most {MAX_DEPTH} deep", "write a flatter one")
            tree = ast.BinOp(tree, ast.Pow(), self.signed())
            self.depth -= 1
        self.ends_in_power = is_power and self.tokens[self.position - 1].text != ")"
        return tree

    def function_power(self, function: ast.Name) -> ast.expr:
        """sin^2(x) as (sin(x))^2; the inverse of a function has a name of its own."""
        grouped = self.take("(") is not None
        token = self.next_token
        if token.kind != "number":
            name = function.id
            inverse = {"tan": "atan(x)", "tanh": "atanh(x)", "cos": "acos(x)", "sinh": "asinh(x)"}.get(name, "asin(x)")
            self.refuse(f"{name!r} is a function", f"write {name}(x)**2, 1/{name}(x), or the inverse's name: {inverse}")
        self.position += 1
        if grouped:
            self.expect(")")
        self.expect("(")
        return ast.BinOp(ast.Call(function, *self.arguments()), ast.Pow(), ast.Constant(number(token.text)))

    def call(self) -> ast.expr:
        """A primary and what is called on it: f(x), (x+1).tanh(), nn.Tanh()(x)."""
        grouped = self.next_token.text == "("
        tree = self.primary()
        while True:
            if self.take("."):
                token = self.next_token
                self.position += 1
                if token.kind != "name":
                    self.refuse("a dot is followed by a name", SEE)
                tree, grouped = ast.Attribute(tree, token.text), False
            elif not grouped and self.is_callable(tree) and self.take("("):
                tree = ast.Call(tree, *self.arguments())
            else:
                self.refuse_second_bracket(tree)
                return tree

    def refuse_second_bracket(self, tree: ast.expr) -> None:
        """Refuse f(0.2)(x): a function of constants alone, with a bracket behind it, may be a call or a product."""
        if isinstance(tree, ast.Call) and self.next_token.text == "(" and tree.args:
            names = {node.id for argument in tree.args for node in ast.walk(argument) if isinstance(node, ast.Name)}
            if not names:
                name = tree.func.attr if isinstance(tree.func, ast.Attribute) else getattr(tree.func, "id", "f")
                self.refuse("a call with a bracket behind it", f"write {name}(x, ...) for a call, or * for a product")

    def is_callable(self, tree: ast.expr) -> bool:
        """Whether a bracket after it holds arguments; after a call it does where that made a layer: nn.Tanh()(x)."""
        if not isinstance(tree, ast.Call):
            return isinstance(tree, ast.Attribute) or (isinstance(tree, ast.Name) and tree.id not in self.factors)
        name = tree.func.attr if isinstance(tree.func, ast.Attribute) else getattr(tree.func, "id", "")
        return not tree.args or (name[:1].isupper() and isinstance(tree.func, ast.Attribute))

    def arguments(self) -> tuple[list[ast.expr], list[ast.keyword]]:
        args: list[ast.expr] = []
        keywords: list[ast.keyword] = []
        while not self.take(")"):
            is_keyword = self.next_token.kind == "name" and self.tokens[self.position + 1].text == "="
            if is_keyword:
                name = self.next_token.text
                self.position += 2
                keywords.append(ast.keyword(name, self.choice()))
            elif keywords:
                self.refuse("an argument without a name stands after one with a name", "give them in order")
            else:
                args.append(self.choice())
            if not self.take(","):
                self.expect(")")
                break
        return args, keywords

    def primary(self) -> ast.expr:
        token = self.next_token
        self.position += 1
        match token.kind, token.text:
            case "number", text:
                return ast.Constant(number(text))
            case "string", text:
                return ast.Constant(text[1:-1])
            case "name", text if text in ("True", "False"):
                return ast.Constant(text == "True")
            case "name", text if text not in WORDS:
                return ast.Name(text)
            case "mark", "(":
                tree = self.choice()
                self.expect(")")
                return tree
            case "mark", ("√" | "∛") as root:
                return ast.Call(ast.Name("sqrt" if root == "√" else "cbrt"), [self.radicand()], [])
            case "mark", "∕":
                return ast.BinOp(self.call(), ast.Div(), self.call())
        self.position -= 1
        self.refuse_next()

    def radicand(self) -> ast.expr:
        """What stands under a root; without brackets, not what may also stand behind it."""
        grouped = self.next_token.text == "("
        tree = self.call()
        if not grouped and (self.next_token.text in ("**", "^") or self.follows()):
            self.refuse("what stands under the root is ambiguous", "write √(2*x) or √(2)*x")
        return tree
