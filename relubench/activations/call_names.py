"""Which function a call means, however it is written: tanh(x), torch.tanh(x), x.tanh(), nn.Tanh()(x). Torch-free."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from relubench.activations.formulas.functions import (
    CONTEXT,
    FUNCTIONS,
    IGNORED,
    KEYWORDS,
    MODULES,
    NAMES,
    NEIGHBOURS,
    RANDOM,
    FunctionRow,
    fold,
)
from relubench.errors import UsageError
from relubench.system.lookup import near_names

_NORMAL = {"cdf": "ndtr", "logcdf": "log_ndtr", "pdf": "normpdf"}
"""scipy.stats.norm.NAME -> what it is here."""
_PACKAGES = {"tensorflow": "tf", "K": "keras"}


@dataclass(frozen=True, slots=True)
class Called:
    """A call's parts: the function's name, the package before its dots ('' without), and all arguments in order."""

    name: str
    package: str
    method: bool
    args: list[ast.expr]
    keywords: list[ast.keyword]

    @property
    def key(self) -> str:
        return fold(self.name)


def called(node: ast.Call) -> Called | None:
    """The parts of a call; None where what is called has no name."""
    function, args, keywords = node.func, list(node.args), list(node.keywords)
    if isinstance(function, ast.Call):
        factory = called(function)
        if factory is None or factory.method:
            return None
        # nn.LeakyReLU(0.1)(x) is leaky_relu(x, 0.1).
        return Called(factory.name, factory.package, False, [*args, *factory.args], [*keywords, *factory.keywords])
    if isinstance(function, ast.Name):
        return Called(function.id, "", False, args, keywords)
    if not isinstance(function, ast.Attribute):
        return None
    chain = dotted(function)
    if chain is None:
        return Called(function.attr, "", True, [function.value, *args], keywords)
    name = _NORMAL.get(chain[-1], chain[-1]) if chain[-2] == "norm" else chain[-1]
    package = "keras" if "keras" in chain else _PACKAGES.get(chain[0], chain[0])
    return Called(name, package, False, args, keywords)


def dotted(node: ast.expr) -> list[str] | None:
    """The names of torch.nn.functional.tanh, where all but the last are packages' or modules'."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not names or not isinstance(node, ast.Name):
        return None
    names = [*reversed([*names, node.id])]
    return names if all(name in MODULES for name in names[:-1]) else None


def function_of(call: Called, other_names: Sequence[str]) -> tuple[FunctionRow, list[ast.expr]]:
    """The row of the called function and its arguments, in the row's order; `known`: names that are no functions.

    Raises UsageError, whose message is only the reason, where there is no such function or its arguments do not fit.
    """
    name = NAMES.get(call.key)
    if name is None or (call.name.endswith("_") and (call.method or call.package)):
        refuse_unknown_function(call, other_names)
    args = list(call.args)
    keywords = {keyword.arg or "": keyword.value for keyword in call.keywords if keyword.arg not in IGNORED}
    if name == "gelu":
        keywords |= {"approximate": args.pop()} if len(args) == 2 else {}
        name = _gelu(call.package, keywords)
    elif call.package == "keras" and name == "hardsigmoid":
        hint = "write clip(0.2*x + 0.5, 0, 1) or relu6(x + 3)/6"
        raise UsageError("hard_sigmoid is another function in Keras 2 and in Keras 3", hint)
    elif (call.package, call.key) in CONTEXT and len(args) == 1 and not keywords:
        args.append(ast.Constant(CONTEXT[call.package, call.key]))
    row = FUNCTIONS[name]
    return row, _bind_arguments(row, args, keywords)


def _gelu(package: str, keywords: dict[str, ast.expr]) -> str:
    """Which of the two; JAX's default is the approximation."""
    approximate = keywords.pop("approximate", None)
    if approximate is None:
        return "gelu_tanh" if package == "jax" else "gelu"
    value = approximate.value if isinstance(approximate, ast.Constant) else None
    if value not in ("tanh", "none", True, False):
        raise UsageError("gelu's approximate is 'tanh' or 'none'", "write gelu(x) or gelu_tanh(x)")
    return "gelu_tanh" if value in ("tanh", True) else "gelu"


def _bind_arguments(row: FunctionRow, args: list[ast.expr], keywords: dict[str, ast.expr]) -> list[ast.expr]:
    """The arguments in order, defaults where one in the middle was left out; the last ones may be missing."""
    bound: dict[str, ast.expr] = dict(zip(row.arguments, args, strict=False))
    aliases = KEYWORDS[""] | KEYWORDS.get(row.name, {})
    for word, value in keywords.items():
        name = word if word in row.arguments else aliases.get(word, word)
        if name not in row.arguments or name in bound:
            raise UsageError(f"{row.name}() has no argument {word!r} left", f"it is {row.signature}")
        bound[name] = value
    num_least, num_most = row.counts
    num_given = len(bound) + max(0, len(args) - len(row.arguments))
    if row.name == "clip" and num_given == 2:
        return [bound.get(name, ast.Name("None")) for name in row.arguments]
    last_position = max((position for position, name in enumerate(row.arguments) if name in bound), default=-1)
    missing = [name for name in row.arguments[: last_position + 1] if name not in bound and name not in row.defaults]
    if not num_least <= num_given <= num_most or missing:
        expected_count = (
            str(num_least)
            if num_least == num_most
            else f"{num_least} to {num_most}"
            if num_most < 10
            else f"at least {num_least}"
        )
        plural = "s" if expected_count != "1" else ""
        raise UsageError(
            f"{row.name}() takes {expected_count} argument{plural}, not {num_given}", f"it is {row.signature}"
        )
    arguments = [
        bound.get(name) or ast.Constant(float(row.defaults[name])) for name in row.arguments[: last_position + 1]
    ]
    return [*arguments, *args[len(row.arguments) :]]


def refuse_unknown_function(call: Called, other_names: Sequence[str]) -> NoReturn:
    """Says why there is no such function, and what to write instead."""
    name = call.name[:60]
    if call.name.endswith("_") and call.key in NAMES:
        raise UsageError(f"{name} works in place, and a formula changes nothing", f"write {NAMES[call.key]}(...)")
    if call.key in NEIGHBOURS:
        raise UsageError(
            f"{name} reads an entry's neighbours, and a formula depends on each entry alone",
            "gated ones are in `relubench list activations`; your own code is --act ./file.py:Name",
        )
    if call.key in RANDOM:
        raise UsageError(f"{name} draws random numbers, and a formula draws none", "rrelu and nrelu are in the list")
    candidates = near_names(name, [*FUNCTIONS, *other_names])
    hint = f"did you mean {' or '.join(candidates)}? " if candidates else ""
    raise UsageError(
        f"{name!r} is not known in a formula", f"{hint}`relubench list functions` shows which functions are known"
    )


def not_a_function(name: str) -> UsageError:
    power = "; e to the power is exp(...)" if name == "e" else ""
    return UsageError(f"{name!r} is not a function", f"a product is written {name}*(...){power}")
