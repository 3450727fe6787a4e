"""Formulas in x: brought to one canonical form against a whitelist, without torch.

What is allowed: x, numbers, pi and e, + - * / **, comparisons (1 where true, 0 elsewhere), choices, the functions of
functions.py as they are written in several libraries, and parameters whose values follow: 'x*sigmoid(b*x), b=1.7', or
'b~1.7' if it is learned from there. Nothing is ever handed to the interpreter.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from relubench.activations.formulas.canonical_form import Canonicaliser
from relubench.activations.formulas.constants import CONSTANTS, constant
from relubench.activations.formulas.functions import FUNCTIONS
from relubench.activations.formulas.parser import WORDS, Setting, parse
from relubench.activations.formulas.tokens import MAX_CHARACTERS, SEE, tokenize
from relubench.errors import UsageError, shown

MAX_PARAMETERS = 10


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
    tree, settings = parse(tokenize(text), text)
    values = _values(settings, text)
    tree = Canonicaliser(text, values).rebuild(tree)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if "x" not in names:
        raise UsageError(f"the formula {shown(text)} does not contain x", SEE)
    if unused := [name for name in values if name not in names]:
        raise UsageError(f"the formula {shown(text)} has no parameter {unused[0]!r}", "leave its value out")
    # No operator here is a word, so that no space carries meaning.
    canonical = ast.unparse(tree).replace(" ", "")
    learns = {setting.name for setting in settings if setting.learned}
    for name, value in values.items():
        canonical += f":{name}{'~' if name in learns else '='}{_number_text(value)}"
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
        value = constant(Canonicaliser(text, {}).rebuild(setting.value))
        if value is None:
            raise UsageError(f"the value of {shown(name)} is not a number: {shown(text)}", "e.g. a*x, a=0.25")
        values[name] = value + 0
    return dict(sorted(values.items()))


def _number_text(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e6 else repr(value)
