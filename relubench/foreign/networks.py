"""From a model's name to a network: `torchvision:NAME`, or a user's own `place:Name`, from the member's own stream.

A user's own is a torch.nn.Module class, or a function that returns one. It is called with num_classes and in_channels
where its signature has parameters of those names, and with the arguments that follow the name behind colons; whatever
else it takes must have a default. The network maps images [B, C, Y, X] (or rows [B, F]) to class scores [B, K].
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from relubench.activations import Choice, build
from relubench.activations.builder import own_object
from relubench.activations.own import choose_own
from relubench.architecture import Architecture
from relubench.classifiers import PREFIX
from relubench.errors import UsageError
from relubench.foreign import stems
from relubench.network.calls import Use
from relubench.network.survey import survey
from relubench.network.foreign import Foreign
from relubench.network.streams import stream
from relubench.plan import RunSpec

WANTED = "name a torch.nn.Module class, or a function that returns a network; it may take num_classes and in_channels"

LOOKED_AT = 2
"""Images that a network is looked at with."""


def foreign_layer(spec: RunSpec, choice: Choice) -> Foreign:
    """The network of `spec` with the chosen activation, on its device, as one layer."""
    network, _ = draw_network(spec)
    uses = uses_of(network, spec)
    layout = torch.channels_last if spec.device == "cpu" else torch.preserve_format
    network = cast(Any, network).to(device=spec.device, memory_format=layout)
    return Foreign(network, uses, build(choice), spec.seed, device=spec.device, bf16=spec.precision == "bf16")


def draw_network(spec: RunSpec) -> tuple[nn.Module, str]:
    """The network with initial weights of its own kind from the member's stream; what was changed of it, in words."""
    arch = spec.architecture
    with torch.random.fork_rng(devices=[]):
        seed = stream(spec.seed, "init-network").initial_seed()
        torch.manual_seed(seed)
        if arch.name.startswith(PREFIX):
            return _torchvision(arch, spec.input_shape, spec.classes)
        return _own(arch, spec.input_shape, spec.classes, seed), ""


def uses_of(network: nn.Module, spec: RunSpec) -> list[Use]:
    """Where the network calls activations; raises UsageError where it cannot be trained on these images."""
    images = example(spec, LOOKED_AT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            uses = survey(network, images, spec.model)
            with torch.no_grad():
                scores = network.eval()(images)
        except UsageError:
            raise
        except Exception as problem:
            raise UsageError(
                f"{spec.model} failed on images of shape {tuple(images.shape)}: {type(problem).__name__}: {problem}",
                "a network takes float32 images [B, C, Y, X] of the data set's size, or rows [B, F]",
            ) from problem
    if not isinstance(scores, Tensor) or scores.shape != (len(images), spec.classes):
        given = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise UsageError(
            f"{spec.model} gives {given} for {len(images)} images of {spec.classes} classes",
            f"return class scores [B, {spec.classes}]; a parameter num_classes is given the number of classes",
        )
    return uses


def example(spec: RunSpec, images: int) -> Tensor:
    """Images of the data set's shape, drawn: [B, ...]."""
    return torch.rand(images, *spec.input_shape, generator=torch.Generator().manual_seed(0))


def _torchvision(arch: Architecture, input_shape: tuple[int, ...], classes: int) -> tuple[nn.Module, str]:
    from torchvision.models import get_model

    name = arch.name.removeprefix(PREFIX)
    plain = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return stems.build(
        name, functools.partial(get_model, name, weights=None, num_classes=classes, **plain), input_shape
    )


def _own(arch: Architecture, input_shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    choice = choose_own(arch.name)
    found = own_object(choice, WANTED)
    if isinstance(found, nn.Module):
        raise UsageError(
            f"{choice.label} is an instance of {type(found).__name__}",
            "name its class: every run needs weights of its own",
        )
    if not callable(found):
        raise UsageError(f"{choice.label} is neither a class nor a function, but {type(found).__name__}", WANTED)
    arguments: dict[str, Any] = {
        key: value
        for key, value in (("num_classes", classes), ("in_channels", input_shape[0]))
        if key in _parameters(found)
    }
    torch.manual_seed(seed)  # Again: importing the file may have drawn.
    try:
        network = found(**{**arguments, **dict(choice.parameters)})
    except Exception as problem:
        raise UsageError(
            f"{choice.label} cannot be made: {type(problem).__name__}: {problem}",
            "arguments follow colons: ./file.py:Net:depth=3; the others need defaults",
        ) from problem
    if not isinstance(network, nn.Module):
        raise UsageError(f"{choice.label} gives {type(network).__name__}, not a torch.nn.Module", WANTED)
    return network


def _parameters(found: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(found).parameters)
    except (ValueError, TypeError):
        return []
