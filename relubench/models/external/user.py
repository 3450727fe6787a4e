"""A user's own network, made: a torch.nn.Module class, a function that returns one, or an instance.

A class or function is called with num_classes and in_channels where its signature has parameters of those names, and
with the arguments that follow the name behind colons; whatever else it takes must have a default. An instance is copied
and its initial weights are drawn anew, by each layer's own reset_parameters. Lazy layers take their sizes from one
forward on images of the data set's shape.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from relubench.activations.builder import own_object
from relubench.activations.user import resolve_user_object
from relubench.activations.user_objects import check_arguments, missing_arguments_hint, refuse_iterators, with_floats
from relubench.errors import UsageError
from relubench.models.external.forward_errors import short, why_not

WANTED = "name a torch.nn.Module class, or a function that returns a network; it may take num_classes and in_channels"

COPIED = "a copy of the instance, its initial weights drawn anew by each layer's reset_parameters"


def make_own(name: str, images: Tensor, classes: int, seed: int) -> tuple[nn.Module, str]:
    """The network with initial weights of its own kind for this seed, and what was changed of it, in words.

    `images` [B, ...] are of the data set's shape. Raises UsageError where there is no such network.
    """
    choice = resolve_user_object(name)
    named = own_object(choice, WANTED)
    torch.manual_seed(seed)  # Again: importing the file may have drawn.
    if isinstance(named, nn.Module):
        network, changed = _redrawn(named, choice.label), COPIED
    else:
        network, changed = _called(named, choice.label, dict(choice.parameters), images.shape[1], classes), ""
    if any(is_lazy(parameter) for parameter in [*network.parameters(), *network.buffers()]):
        _settle(network, images, choice.label)
    refuse_iterators(network, choice.label)
    return network, changed


def _called(named: Any, label: str, settings: dict[str, Any], channels: int, classes: int) -> nn.Module:
    if not callable(named):
        raise UsageError(f"{label} is neither a class nor a function, but {type(named).__name__}", WANTED)
    arguments: dict[str, Any] = {
        key: value for key, value in (("num_classes", classes), ("in_channels", channels)) if key in _parameters(named)
    }
    check_arguments(named, settings, label)
    try:
        network = named(**{**arguments, **with_floats(named, settings)})
    except Exception as problem:
        hint = missing_arguments_hint(named, label, arguments)
        raise UsageError(f"{label} cannot be made: {short(problem)}", hint) from problem
    if not isinstance(network, nn.Module):
        raise UsageError(f"{label} gives {type(network).__name__}, not a torch.nn.Module", WANTED)
    return network


def _redrawn(instance: nn.Module, label: str) -> nn.Module:
    """A copy of the network with initial weights drawn anew; UsageError where a parameter cannot be."""
    rule, hint = f"{label} is an instance of {type(instance).__name__}", "name its class, or a function that makes it"
    try:
        network = copy.deepcopy(instance)
    except Exception as problem:
        raise UsageError(f"{rule} that cannot be copied: {short(problem)}", hint) from problem
    redrawn: set[int] = set()
    for path, module in network.named_modules():
        reset: Any = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(reset):
            try:
                reset()
            except Exception as problem:
                raise UsageError(f"{rule}, and {path}.reset_parameters failed: {short(problem)}", hint) from problem
            # torch.nn.MultiheadAttention leaves a part of its weights to the layers inside.
            redrawn |= {id(parameter) for parameter in module.parameters(recurse=False)}
    for name, parameter in network.named_parameters():
        if id(parameter) not in redrawn:
            raise UsageError(f"{rule}, and its {name} cannot be drawn anew: every run needs weights of its own", hint)
    return network


def _settle(network: nn.Module, images: Tensor, label: str) -> None:
    """Let lazy layers take their sizes and their weights, in evaluation: no statistics move."""
    mode = network.training
    try:
        with torch.no_grad():
            network.eval()(images)
    except Exception as problem:
        raise why_not(network, label, images, problem) from problem
    network.train(mode)


def _parameters(named: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(named).parameters)
    except (ValueError, TypeError):
        return []
