"""A user's own object as an activation: a class, a function, an instance, a partial, a factory, or TorchScript's."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import io
import re
import sys
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from relubench.activations.definition import Activation, plain, trainable
from relubench.activations.input_copies import AdaptedFunction, InputAdapter, find_input_adapter
from relubench.errors import UsageError
from relubench.system.lookup import did_you_mean
from relubench.system.user_code.origin import one_line
from relubench.system.user_code.records import is_users

WANTED = "name a torch.nn.Module class, or a function of one tensor"

Make = Callable[[], nn.Module]
_INTERNAL = frozenset(vars(nn.Module()))
_DEPTH, _LOOKED_AT = 3, 100
"""How deep, and at how many parts of each container, an iterator is looked for."""


@contextlib.contextmanager
def own_code() -> Iterator[None]:
    """Inside, a user's code prints to stderr, and what it draws shifts nobody's random numbers."""
    with contextlib.redirect_stdout(sys.stderr), torch.random.fork_rng(devices=[]):
        yield


def activation_of(target: object, arguments: Mapping[str, Any], label: str) -> Activation:
    """The object as an activation with these arguments; UsageError if it is none, or does not take them."""
    # What torch.compile made is the same function; compiling it anew in every worker takes minutes.
    target = getattr(target, "_torchdynamo_orig_callable", getattr(target, "_orig_mod", target))
    unwrapped = target
    while isinstance(unwrapped, functools.partial):
        unwrapped = unwrapped.func
    if isinstance(unwrapped, nn.Module):
        return _activation_of_instance(target, unwrapped, arguments, label)
    if not callable(target):
        raise UsageError(f"{label} is neither a class nor a function, but {type(target).__name__}", WANTED)
    arguments = with_floats(target, arguments)
    if not isinstance(unwrapped, type):
        return _activation_of_function(target, arguments, label)
    if issubclass(unwrapped, torch.autograd.Function):
        return _activation_of_function(unwrapped.apply, arguments, label)
    if not issubclass(unwrapped, nn.Module) and not any("__call__" in vars(item) for item in unwrapped.__mro__):
        raise UsageError(f"{label} is a class that is not a torch.nn.Module", WANTED)
    check_arguments(target, arguments, label)
    return _activation_of_factory(functools.partial(target, **arguments), target, label)


def _activation_of_instance(
    target: object, instance: nn.Module, arguments: Mapping[str, Any], label: str
) -> Activation:
    """Every layer of every network gets a copy, with the instance's values."""
    kind = type(instance).__name__
    if target is not instance or arguments:
        raise UsageError(f"{label} is an instance of {kind}, which takes no more arguments", f"name {kind} itself")
    if isinstance(instance, torch.jit.ScriptModule) and any(item.requires_grad for item in instance.parameters()):
        return _activation_of_factory(functools.partial(_copy_scripted, instance), None, label)
    return _activation_of_factory(functools.partial(copy.deepcopy, instance), None, label)


def _copy_scripted(scripted: torch.jit.ScriptModule) -> nn.Module:
    """A TorchScript module with the same values: its deep copy has no parameters that could be trained."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Of TorchScript as such: its author has been told.
        torch.jit.save(scripted, file)
        file.seek(0)
        return torch.jit.load(file)


def _activation_of_factory(factory: Callable[[], Any], signature_source: object, label: str) -> Activation:
    """An activation of modules that `make` gives; tried out once."""

    adapter = InputAdapter()

    def module() -> nn.Module:
        with contextlib.redirect_stdout(sys.stderr):
            instance = _as_module(factory(), label)
        if isinstance(instance, torch.jit.ScriptModule) and (adapter or trainable(instance)):
            instance = _CallableModule(instance)  # TorchScript's own takes neither hooks nor other parameters.
        if adapter:
            instance.register_forward_pre_hook(adapter, prepend=True)
        return instance

    try:
        with own_code():
            instance = module()
            refuse_iterators(instance, label)
            refuse_counters(instance, label)
            adapter = find_input_adapter(instance)
    except UsageError:
        raise
    except (Exception, SystemExit) as problem:
        hint = (
            "leave that argument out"
            if "unexpected keyword" in str(problem)
            else missing_arguments_hint(signature_source, label)
        )
        raise UsageError(f"{label} cannot be instantiated: {one_line(problem)}", hint) from problem

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        raise AssertionError(f"{label} is a class: use its instances")

    return Activation(function=function, module=module, copied=adapter.copied)


def refuse_counters(module: nn.Module, label: str) -> None:
    """Raises UsageError where a TorchScript module counts in an attribute, which PyTorch gives nobody to be stored."""
    for path, submodule in module.named_modules():
        if not isinstance(submodule, torch.jit.ScriptModule):
            continue
        names = set(re.findall(r"^\s*self\.(\w+) = ", getattr(submodule, "code", ""), re.MULTILINE))
        if attributes := sorted(
            names - {name for name, _ in [*submodule.named_buffers(), *submodule.named_parameters()]}
        ):
            raise UsageError(
                f"{label} changes {f'{path}.{attributes[0]}'.strip('.')} in TorchScript: it cannot be stored with the "
                "best epoch's weights",
                "count in a buffer: self.register_buffer",
            )


def refuse_iterators(module: nn.Module, label: str) -> None:
    """Raises UsageError where a module holds an iterator: its position cannot be stored with the best epoch."""
    for path, submodule in module.named_modules():
        for name, value in vars(submodule).items():
            if name not in _INTERNAL and (iterator := _iterator_in(value)):
                raise UsageError(
                    f"{label} keeps {iterator} in {f'{path}.{name}'.strip('.')}: what it gives next cannot "
                    "be stored with the best epoch's weights",
                    "count in a buffer, a number or a list",
                )


def _iterator_in(value: object, depth: int = 0) -> str:
    """The kind of an iterator that the value is or holds, in containers and objects of the user's own; '' if none."""
    if isinstance(value, Iterator):
        return type(value).__name__
    parts: list[object] = []
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list | tuple | deque):
        parts = list(value)
    elif is_users(type(value)) and not isinstance(value, nn.Module):
        parts = list(getattr(value, "__dict__", {}).values())
    within = (_iterator_in(part, depth + 1) for part in parts[:_LOOKED_AT]) if depth < _DEPTH else ()
    return next(filter(None, within), "")


def _activation_of_function(target: Callable[..., Any], arguments: Mapping[str, Any], label: str) -> Activation:
    """The function of a tensor, or what it gives when it is called without one: a module, a class or a function."""
    check_arguments(target, arguments, label)
    bound = functools.partial(target, **arguments) if arguments else target
    parameters = _parameters(bound)
    required = [item.name for item in parameters or () if _is_required(item)]
    if len(required) > 1:
        hint = f"give the others behind colons: {label}{''.join(f':{name}=...' for name in required[1:])}"
        raise UsageError(f"{label} takes {len(required)} arguments ({', '.join(required)}), not one tensor", hint)
    if parameters is None or required:
        return _elementwise_activation(bound)
    try:
        with own_code():
            result = bound()
    except (Exception, SystemExit) as problem:
        if parameters:  # Such as *args, or a tensor with a default.
            return _elementwise_activation(bound)
        raise UsageError(f"{label} takes no tensor, and calling it failed: {one_line(problem)}", WANTED) from problem
    if isinstance(result, nn.Module):
        return _activation_of_factory(_fresh_instances(bound, result), bound, label)
    if callable(result) and not isinstance(result, Tensor):
        return activation_of(result, {}, label)
    if not parameters:
        raise UsageError(f"{label} takes no tensor and gives {type(result).__name__}", WANTED)
    return _elementwise_activation(bound)


def _elementwise_activation(bound: Callable[..., Any]) -> Activation:
    """A function of one tensor, given a copy where it writes into its input."""
    function = cast(Callable[[Tensor], Tensor], bound)
    with own_code():
        adapter = find_input_adapter(function)
    return Activation(
        function=plain(AdaptedFunction(function, adapter) if adapter else function),
        inplace=function if adapter.in_place else None,
        copied=adapter.copied,
    )


def _fresh_instances(factory: Callable[[], Any], instance: nn.Module) -> Callable[[], Any]:
    """The factory, or copies where it gives the same module every time."""
    with own_code():
        second = factory()
    return functools.partial(copy.deepcopy, instance) if second is instance else factory


class _CallableModule(nn.Module):
    """An object that is called like a function, as a module of its own."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.held = function

    def forward(self, x: Tensor) -> Tensor:
        return self.held(x)


def _as_module(instance: object, label: str) -> nn.Module:
    if isinstance(instance, nn.Module):
        return instance
    attributes = vars(instance).values() if hasattr(instance, "__dict__") else ()
    if any(isinstance(item, nn.Module) or (isinstance(item, Tensor) and item.requires_grad) for item in attributes):
        raise UsageError(
            f"{label} is no torch.nn.Module, so that its parameters would not be trained", "derive it from nn.Module"
        )
    return _CallableModule(cast(Callable[[Tensor], Tensor], instance))


def check_arguments(target: Callable[..., Any], arguments: Mapping[str, Any], label: str) -> None:
    """Refuse an argument that it has no parameter for."""
    parameters = _parameters(target)
    if parameters is None or any(item.kind is item.VAR_KEYWORD for item in parameters):
        return
    names = [item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
    for key in arguments:
        if key not in names:
            accepted = f"it takes {', '.join(names)}" if names else "it takes none"
            raise UsageError(f"{label} takes no argument {key!r}", did_you_mean(key, names, accepted))


def with_floats(target: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, a whole number as float where the parameter is declared as one: `beta: float` or `beta=1.0`."""
    declared = {
        item.name
        for item in _parameters(target) or ()
        if item.annotation in (float, "float") or type(item.default) is float
    }
    return {key: float(value) if type(value) is int and key in declared else value for key, value in arguments.items()}


def missing_arguments_hint(signature_source: object, label: str, defaults: Collection[str] = ()) -> str:
    """The hint of a class that was not made: which arguments it still needs, beside the `defaults`."""
    parameters = _parameters(signature_source) if callable(signature_source) else None
    required = [item.name for item in parameters or () if _is_required(item)]
    given_names = [*defaults, *(part.partition("=")[0] for part in label.split(":"))]
    missing = [name for name in required if name not in given_names]
    if not missing:
        return "arguments follow colons: ./file.py:Name:size=3"
    return f"arguments follow colons: {label}{''.join(f':{name}=...' for name in missing)}"


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Its parameters; None where Python does not know them, as of torch's own functions."""
    try:
        return list(inspect.signature(target).parameters.values())
    except (ValueError, TypeError):
        return None


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic
