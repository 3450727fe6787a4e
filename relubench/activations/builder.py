"""A choice made computable: the table's through its target, formulas through the evaluator, users' own by import."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from relubench.activations.choice import Choice
from relubench.activations.definition import Activation, plain
from relubench.activations.expression import parse_formula
from relubench.activations.learning import formula_activation
from relubench.activations.loading import RESERVED, load
from relubench.activations.own import is_path, split_name
from relubench.activations.table import ACTIVATIONS
from relubench.errors import UsageError
from relubench.lookup import did_you_mean


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

    A user's class is instantiated once, in `dtype` and in evaluation mode.
    """
    if activation.module is not None:
        return activation.module().to(dtype).eval()
    learned = tuple(torch.tensor(value, dtype=dtype) for value in activation.learned)
    return lambda z: activation.function(z, learned=learned)


def own_object(choice: Choice, wanted: str) -> object:
    """What a user's own names, imported; `wanted` is the hint where it is not there."""
    place, name = split_name(choice.name)
    return _attribute(_import(place, choice.label), name, choice.label, wanted)


def _own(choice: Choice) -> Activation:
    found = own_object(choice, _WANTED)
    arguments = dict(choice.parameters)
    if isinstance(found, nn.Module):
        raise UsageError(
            f"{choice.label} is an instance of {type(found).__name__}", "name its class: every network needs its own"
        )
    if isinstance(found, type):
        if not issubclass(found, nn.Module):
            raise UsageError(f"{choice.label} is a class that is not a torch.nn.Module", _WANTED)
        return _class(found, arguments, choice.label)
    if not callable(found):
        raise UsageError(f"{choice.label} is neither a class nor a function, but {type(found).__name__}", _WANTED)
    return Activation(function=plain(functools.partial(cast(Callable[..., Tensor], found), **arguments)))


_WANTED = "name a torch.nn.Module class, or a function of one tensor"


def _class(found: type[nn.Module], arguments: dict[str, Any], label: str) -> Activation:
    make = functools.partial(found, **arguments)
    try:
        # Parameters drawn here must not shift anybody's random numbers.
        with torch.random.fork_rng(devices=[]):
            module = make()
    except Exception as problem:
        raise UsageError(
            f"{label} cannot be instantiated: {_reason(problem)}", "arguments follow colons: ./file.py:Name:size=3"
        ) from problem

    refuse_iterators(module, label)

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        raise AssertionError(f"{label} is a class: use its instances")

    return Activation(function=function, module=make)


def refuse_iterators(module: nn.Module, label: str) -> None:
    """Raises UsageError where a module holds an iterator: its position cannot be stored with the best epoch."""
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, Iterator):
                raise UsageError(
                    f"{label} keeps {type(value).__name__} in {f'{path}.{name}'.strip('.')}: what it gives next cannot "
                    "be stored with the best epoch's weights",
                    "count in a buffer, a number or a list",
                )


def _import(place: str, label: str) -> ModuleType:
    try:
        return load(Path(place) if is_path(place) else place)
    except (Exception, SystemExit) as problem:
        reason = f"{label}: importing {place} failed: {_reason(problem)}"
        raise UsageError(reason, _shadowed(place, problem) or _ALONE) from problem


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
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
