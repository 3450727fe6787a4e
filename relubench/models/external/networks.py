"""From a model's name to a network: `torchvision:NAME`, or a user's own `place:Name`, from the member's own stream.

The network maps images [B, C, Y, X] (or rows [B, F]) to class scores [B, K]; of several outputs the class scores are
taken. See `own` for what a user may name.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from relubench.activations import ActivationChoice, build
from relubench.errors import UsageError
from relubench.models.external import stems
from relubench.models.external.calls import CallSite
from relubench.models.external.forward_errors import check_inputs, why_not
from relubench.models.external.gated_blocks import matched_units, resized, widen
from relubench.models.external.layer import ExternalNetwork, Form
from relubench.models.external.linear_blocks import LinearBlock, linear_blocks
from relubench.models.external.outputs import class_scores
from relubench.models.external.survey import survey
from relubench.models.external.torchvision_names import PREFIX, of_torchvision
from relubench.models.external.user import make_own
from relubench.models.random_streams import stream
from relubench.runs.spec import RunSpec

LOOKED_AT = 2
"""Images that a network is looked at with."""


def external_layer(spec: RunSpec, choice: ActivationChoice) -> ExternalNetwork:
    """The network of `spec` with the chosen activation, on its device, as one layer."""
    network, _ = draw_network(spec)
    return as_layer(network, uses_of(network, spec), spec, choice)


def as_layer(network: nn.Module, uses: list[CallSite], spec: RunSpec, choice: ActivationChoice) -> ExternalNetwork:
    """The network as its runs have it: its device, its layout, its precision; a gated activation changes its widths."""
    if choice.inputs_per_unit > 1:
        make_gated(network, uses, spec, choice)
    contiguous = spec.layout == "contiguous"
    layout = torch.channels_last if spec.on_processor and not contiguous else torch.preserve_format
    network = cast(Any, network).to(device=spec.device, memory_format=layout)
    form = Form(
        classes=spec.classes,
        contiguous=contiguous,
        pairs=spec.foreign is not None and spec.foreign.pairs,
        merged=spec.foreign.merged if spec.foreign is not None else (),
    )
    bf16 = spec.precision == "bf16"
    return ExternalNetwork(network, uses, build(choice), spec.seed, device=spec.device, bf16=bf16, form=form)


def make_gated(network: nn.Module, uses: Sequence[CallSite], spec: RunSpec, choice: ActivationChoice) -> str:
    """Changes the widths of the network's linear layers for a gated activation; gives what was changed, in words.

    Raises UsageError where a place does not stand between two linear layers of its own.
    """
    merged = spec.foreign.merged if spec.foreign is not None else ()
    blocks: list[LinearBlock] = []
    for block in linear_blocks(network, uses, example(spec, LOOKED_AT), merged, spec.classes):
        if not isinstance(block, LinearBlock):
            use, reason = block
            raise UsageError(
                f"{choice.label} is gated and needs a linear layer before and behind it; {spec.model}, {use}: {reason}",
                f"leave {choice.label} out, or keep that place as it is: --keep-act {use.name}",
            )
        blocks.append(block)
    units = matched_units(network, blocks, choice.inputs_per_unit, spec.match)
    widen(network, resized(blocks, units, choice.inputs_per_unit), lambda number: draw_network(spec, number)[0])
    widths = dict.fromkeys((block.units, count) for block, count in zip(blocks, units, strict=True))
    return ", ".join(f"{before} units become {after}" for before, after in widths)


def draw_network(spec: RunSpec, number: int = 0) -> tuple[nn.Module, str]:
    """The network with initial weights of its own kind from the member's stream; what was changed of it, in words.

    `number`: which of several instances it is, each with a stream of its own.
    """
    with torch.random.fork_rng(devices=[]):
        seed = stream(spec.seed, "init-network", *([number] if number else [])).initial_seed()
        torch.manual_seed(seed)
        if of_torchvision(spec.model):
            return _torchvision(spec.model.removeprefix(PREFIX), spec.input_shape, spec.classes)
        return make_own(spec.model, example(spec, LOOKED_AT), spec.classes, seed)


def uses_of(network: nn.Module, spec: RunSpec) -> list[CallSite]:
    """Where the network calls activations; raises UsageError where it cannot be trained on these images."""
    images = example(spec, LOOKED_AT)
    check_inputs(network, spec.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            uses = survey(
                network,
                images,
                spec.model,
                keep=spec.keep_act or (),
                merged=spec.foreign.merged if spec.foreign is not None else (),
                classes=spec.classes,
            )
            with torch.no_grad():
                y = network.eval()(images)
        except Exception as problem:
            raise why_not(network, spec.model, images, problem) from problem
    scores = class_scores(y, len(images), spec.classes)
    if scores is None or scores.shape != (len(images), spec.classes):
        description = f"shape {tuple(scores.shape)}" if scores is not None else type(y).__name__
        raise UsageError(
            f"{spec.model} gives {description} for {len(images)} images of {spec.classes} classes",
            f"return class scores [B, {spec.classes}]; a parameter num_classes is given the number of classes",
        )
    return uses


def example(spec: RunSpec, images: int) -> Tensor:
    """Images of the data set's shape, drawn: [B, ...]."""
    return torch.rand(images, *spec.input_shape, generator=torch.Generator().manual_seed(0))


def _torchvision(name: str, input_shape: tuple[int, ...], classes: int) -> tuple[nn.Module, str]:
    from torchvision.models import get_model

    plain = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return stems.build(
        name, functools.partial(get_model, name, weights=None, num_classes=classes, **plain), input_shape
    )
