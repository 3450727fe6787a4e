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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from relubench.activations.definition import Activation, plain, trainable
from relubench.activations.input_copies import Handed, Handing, handing_of
from relubench.errors import UsageError
from relubench.system.lookup import did_you_mean
from relubench.system.user_code.origin import one_line

WANTED = "name a torch.nn.Module class, or a function of one tensor"

Make = Callable[[], nn.Module]


@contextlib.contextmanager
def own_code() -> Iterator[None]:
    """Inside, a user's code prints to stderr, and what it draws shifts nobody's random numbers."""
    with contextlib.redirect_stdout(sys.stderr), torch.random.fork_rng(devices=[]):
        yield


def activation_of(thing: object, arguments: Mapping[str, Any], label: str) -> Activation:
    """The object as an activation with these arguments; UsageError if it is none, or does not take them."""
    # What torch.compile made is the same function; compiling it anew in every worker takes minutes.
    thing = getattr(thing, "_torchdynamo_orig_callable", getattr(thing, "_orig_mod", thing))
    base = thing
    while isinstance(base, functools.partial):
        base = base.func
    if isinstance(base, nn.Module):
        return _of_instance(thing, base, arguments, label)
    if not callable(thing):
        raise UsageError(f"{label} is neither a class nor a function, but {type(thing).__name__}", WANTED)
    if not isinstance(base, type):
        return _of_function(thing, arguments, label)
    if issubclass(base, torch.autograd.Function):
        return _of_function(base.apply, arguments, label)
    if not issubclass(base, nn.Module) and not any("__call__" in vars(item) for item in base.__mro__):
        raise UsageError(f"{label} is a class that is not a torch.nn.Module", WANTED)
    _check_arguments(thing, arguments, label)
    return _of_maker(functools.partial(thing, **arguments), thing, label)


def _of_instance(thing: object, base: nn.Module, arguments: Mapping[str, Any], label: str) -> Activation:
    """Every layer of every network gets a copy, with the instance's values."""
    kind = type(base).__name__
    if thing is not base or arguments:
        raise UsageError(f"{label} is an instance of {kind}, which takes no more arguments", f"name {kind} itself")
    if isinstance(base, torch.jit.ScriptModule) and any(item.requires_grad for item in base.parameters()):
        return _of_maker(functools.partial(_again, base), None, label)
    return _of_maker(functools.partial(copy.deepcopy, base), None, label)


def _again(scripted: torch.jit.ScriptModule) -> nn.Module:
    """A TorchScript module with the same values: its deep copy has no parameters that could be trained."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Of TorchScript as such: its author has been told.
        torch.jit.save(scripted, file)
        file.seek(0)
        return torch.jit.load(file)


def _of_maker(make: Callable[[], Any], maker: object, label: str) -> Activation:
    """An activation of modules that `make` gives; tried out once."""

    handing = Handing()

    def module() -> nn.Module:
        with contextlib.redirect_stdout(sys.stderr):
            made = _as_module(make(), label)
        if isinstance(made, torch.jit.ScriptModule) and (handing or trainable(made)):
            made = _Held(made)  # TorchScript's own takes neither hooks nor other parameters.
        if handing:
            made.register_forward_pre_hook(handing, prepend=True)
        return made

    try:
        with own_code():
            made = module()
            refuse_iterators(made, label)
            refuse_counters(made, label)
            handing = handing_of(made)
    except UsageError:
        raise
    except (Exception, SystemExit) as problem:
        hint = "leave that argument out" if "unexpected keyword" in str(problem) else _missing(maker, label)
        raise UsageError(f"{label} cannot be instantiated: {one_line(problem)}", hint) from problem

    def function(z: Tensor, *, learned: tuple[Tensor, ...] = (), noise: Tensor | None = None, dim: int = -1) -> Tensor:
        raise AssertionError(f"{label} is a class: use its instances")

    return Activation(function=function, module=module, copied=handing.copied)


def refuse_counters(module: nn.Module, label: str) -> None:
    """Raises UsageError where a TorchScript module counts in an attribute, which PyTorch gives nobody to be stored."""
    for path, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule):
            continue
        names = set(re.findall(r"^\s*self\.(\w+) = ", getattr(part, "code", ""), re.MULTILINE))
        if counted := sorted(names - {name for name, _ in [*part.named_buffers(), *part.named_parameters()]}):
            raise UsageError(
                f"{label} changes {f'{path}.{counted[0]}'.strip('.')} in TorchScript: it cannot be stored with the "
                "best epoch's weights",
                "count in a buffer: self.register_buffer",
            )


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


def _of_function(thing: Callable[..., Any], arguments: Mapping[str, Any], label: str) -> Activation:
    """The function of a tensor, or what it gives when it is called without one: a module, a class or a function."""
    _check_arguments(thing, arguments, label)
    bound = functools.partial(thing, **arguments) if arguments else thing
    parameters = _parameters(bound)
    needed = [item.name for item in parameters or () if _required(item)]
    if len(needed) > 1:
        hint = f"give the others behind colons: {label}{''.join(f':{name}=...' for name in needed[1:])}"
        raise UsageError(f"{label} takes {len(needed)} arguments ({', '.join(needed)}), not one tensor", hint)
    if parameters is None or needed:
        return _elementwise(bound)
    try:
        with own_code():
            made = bound()
    except (Exception, SystemExit) as problem:
        if parameters:  # Such as *args, or a tensor with a default.
            return _elementwise(bound)
        raise UsageError(f"{label} takes no tensor, and calling it failed: {one_line(problem)}", WANTED) from problem
    if isinstance(made, nn.Module):
        return _of_maker(_fresh(bound, made), bound, label)
    if callable(made) and not isinstance(made, Tensor):
        return activation_of(made, {}, label)
    if not parameters:
        raise UsageError(f"{label} takes no tensor and gives {type(made).__name__}", WANTED)
    return _elementwise(bound)


def _elementwise(bound: Callable[..., Any]) -> Activation:
    """A function of one tensor, given a copy where it writes into its input."""
    function = cast(Callable[[Tensor], Tensor], bound)
    with own_code():
        handing = handing_of(function)
    return Activation(
        function=plain(Handed(function, handing) if handing else function),
        inplace=function if handing.in_place else None,
        copied=handing.copied,
    )


def _fresh(factory: Callable[[], Any], made: nn.Module) -> Callable[[], Any]:
    """The factory, or copies where it gives the same module every time."""
    with own_code():
        again = factory()
    return functools.partial(copy.deepcopy, made) if again is made else factory


class _Held(nn.Module):
    """An object that is called like a function, as a module of its own."""

    def __init__(self, held: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.held = held

    def forward(self, x: Tensor) -> Tensor:
        return self.held(x)


def _as_module(made: object, label: str) -> nn.Module:
    if isinstance(made, nn.Module):
        return made
    parts = vars(made).values() if hasattr(made, "__dict__") else ()
    if any(isinstance(item, nn.Module) or (isinstance(item, Tensor) and item.requires_grad) for item in parts):
        raise UsageError(
            f"{label} is no torch.nn.Module, so that its parameters would not be trained", "derive it from nn.Module"
        )
    return _Held(cast(Callable[[Tensor], Tensor], made))


def _check_arguments(thing: Callable[..., Any], arguments: Mapping[str, Any], label: str) -> None:
    """Refuse an argument that it has no parameter for."""
    parameters = _parameters(thing)
    if parameters is None or any(item.kind is item.VAR_KEYWORD for item in parameters):
        return
    names = [item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
    for key in arguments:
        if key not in names:
            known = f"it takes {', '.join(names)}" if names else "it takes none"
            raise UsageError(f"{label} takes no argument {key!r}", did_you_mean(key, names, known))


def _missing(maker: object, label: str) -> str:
    """The hint of a class that was not made: which arguments it still needs."""
    parameters = _parameters(maker) if callable(maker) else None
    needed = [item.name for item in parameters or () if _required(item)]
    given = [part.partition("=")[0] for part in label.split(":")]
    lacking = [name for name in needed if name not in given]
    if not lacking:
        return "arguments follow colons: ./file.py:Name:size=3"
    return f"arguments follow colons: {label}{''.join(f':{name}=...' for name in lacking)}"


def _parameters(thing: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Its parameters; None where Python does not know them, as of torch's own functions."""
    try:
        return list(inspect.signature(thing).parameters.values())
    except (ValueError, TypeError):
        return None


def _required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic
