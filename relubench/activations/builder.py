"""Builds what was chosen: a row of the table by its function, a formula by the evaluator, a user's own by import."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from relubench.activations.checks.trial import flat_call
from relubench.activations.choice import ActivationChoice
from relubench.activations.definition import Activation, fixed
from relubench.activations.formulas.formula import parse_formula
from relubench.activations.formulas.learned import formula_activation
from relubench.activations.table import ACTIVATIONS
from relubench.activations.user import split_name
from relubench.activations.user_objects import WANTED, activation_of
from relubench.activations.user_sources import is_path
from relubench.errors import UsageError
from relubench.system.lookup import did_you_mean
from relubench.system.user_code.loading import RESERVED, load
from relubench.system.user_code.origin import missing_module, without_package


def build(choice: ActivationChoice) -> Activation:
    """The activation that was chosen; UsageError if a user's own cannot be imported or is not usable."""
    match choice.kind:
        case "table":
            return ACTIVATIONS[choice.name].build(dict(choice.parameters))
        case "formula":
            return replace(formula_activation(parse_formula(choice.name)), per_unit=choice.per_unit)
        case "user":
            return activation_of(own_object(choice, WANTED), dict(choice.parameters), choice.label)
        case "mix":
            raise UsageError(f"{choice.label} has an activation for each layer, and is no function", "name one of them")


def as_function(activation: Activation, dtype: torch.dtype = torch.float64) -> Callable[[Tensor], Tensor]:
    """f(z) as in evaluation, for one column: learned parameters at their initial values, no noise.

    A user's class is instantiated once, in `dtype` and in evaluation mode, with the same initial values every time.
    """
    if activation.module is not None:
        return flat_call(fixed(activation.module).to(dtype).eval(), activation)
    learned = tuple(torch.tensor(value, dtype=dtype) for value in activation.learned)
    return lambda z: activation.function(z, learned=learned)


def own_object(choice: ActivationChoice, hint: str) -> object:
    """The imported object that a user's own choice names; UsageError with this hint where it is not there."""
    location, name = split_name(choice.name)
    with contextlib.redirect_stdout(sys.stderr):  # What is printed on import is no result.
        module = _import_module(location, choice.label)
    return _find_object(module, name, choice.label, hint)


def _import_module(location: str, label: str) -> ModuleType:
    try:
        return load(Path(location) if is_path(location) else location)
    except (Exception, SystemExit) as problem:
        reason = f"{label}: importing {location} failed: {_reason(problem)}"
        raise UsageError(
            reason, _shadowed_module_hint(location, problem) or missing_module(problem) or _IMPORTS_ALONE
        ) from problem


_IMPORTS_ALONE = "the file must import on its own with this Python"


def _shadowed_module_hint(location: str, problem: BaseException) -> str:
    """The hint where an import failed because the standard library's module was found instead of the user's file."""
    name = problem.name if isinstance(problem, ImportError) else None
    if not name or not is_path(location) or name.partition(".")[0] not in RESERVED:
        return ""
    neighbour = Path(location).parent / f"{name.partition('.')[0]}.py"
    return (
        f"{neighbour} is not taken for {name}: rename it, or write `from .{name} import`" if neighbour.is_file() else ""
    )


def _find_object(module: ModuleType, name: str, label: str, hint: str) -> object:
    value: object = module
    for attribute in name.split("."):
        if not hasattr(value, attribute):
            public = [name for name in vars(value) if not name.startswith("_")]
            raise UsageError(f"{label}: there is no {attribute!r} in it", did_you_mean(attribute, public, hint))
        value = getattr(value, attribute)
    return value


def _reason(problem: BaseException) -> str:
    text = without_package(str(problem))
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
