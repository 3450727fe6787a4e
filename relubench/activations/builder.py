"""A choice made computable: the table's through its target, formulas through the evaluator, users' own by import."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from relubench.activations.checks.trial import flat_call
from relubench.activations.choice import Choice
from relubench.activations.definition import Activation, fixed
from relubench.activations.formulas.formula import parse_formula
from relubench.activations.formulas.learned import formula_activation
from relubench.activations.table import ACTIVATIONS
from relubench.activations.user import is_path, split_name
from relubench.activations.user_objects import WANTED, activation_of
from relubench.errors import UsageError
from relubench.system.lookup import did_you_mean
from relubench.system.user_code.loading import RESERVED, load
from relubench.system.user_code.origin import missing_module, without_package


def build(choice: Choice) -> Activation:
    """The activation that was chosen; UsageError if a user's own cannot be imported or is not usable."""
    match choice.kind:
        case "table":
            module, _, name = ACTIVATIONS[choice.name].target.partition(":")
            return getattr(importlib.import_module(f"relubench.activations.{module}"), name)(**dict(choice.parameters))
        case "formula":
            return formula_activation(parse_formula(choice.name))
        case "user":
            return _own(choice)


def as_function(activation: Activation, dtype: torch.dtype = torch.float64) -> Callable[[Tensor], Tensor]:
    """f(z) as in evaluation, for one column: learned parameters at their initial values, no noise.

    A user's class is instantiated once, in `dtype` and in evaluation mode, with the same initial values every time.
    """
    if activation.module is not None:
        return flat_call(fixed(activation.module).to(dtype).eval(), activation)
    learned = tuple(torch.tensor(value, dtype=dtype) for value in activation.learned)
    return lambda z: activation.function(z, learned=learned)


def own_object(choice: Choice, wanted: str) -> object:
    """What a user's own names, imported; `wanted` is the hint where it is not there."""
    place, name = split_name(choice.name)
    with contextlib.redirect_stdout(sys.stderr):  # What is printed on import is no result.
        module = _import(place, choice.label)
    return _attribute(module, name, choice.label, wanted)


def _own(choice: Choice) -> Activation:
    return activation_of(own_object(choice, WANTED), dict(choice.parameters), choice.label)


def _import(place: str, label: str) -> ModuleType:
    try:
        return load(Path(place) if is_path(place) else place)
    except (Exception, SystemExit) as problem:
        reason = f"{label}: importing {place} failed: {_reason(problem)}"
        raise UsageError(reason, _shadowed(place, problem) or missing_module(problem) or _ALONE) from problem


_ALONE = "the file must import on its own with this Python"


def _shadowed(place: str, problem: BaseException) -> str:
    """The hint where an import failed since the standard library's module was taken, not the file of that name."""
    name = problem.name if isinstance(problem, ImportError) else None
    if not name or not is_path(place) or name.partition(".")[0] not in RESERVED:
        return ""
    beside = Path(place).parent / f"{name.partition('.')[0]}.py"
    return f"{beside} is not taken for {name}: rename it, or write `from .{name} import`" if beside.is_file() else ""


def _attribute(module: ModuleType, name: str, label: str, wanted: str) -> object:
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = [one for one in vars(found) if not one.startswith("_")]
            raise UsageError(f"{label}: there is no {part!r} in it", did_you_mean(part, public, wanted))
        found = getattr(found, part)
    return found


def _reason(problem: BaseException) -> str:
    text = without_package(str(problem))
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
