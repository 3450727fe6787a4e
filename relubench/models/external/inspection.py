"""What has to be known of somebody else's network before it is trained: found by training it for a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from relubench.activations import ActivationChoice, build
from relubench.errors import UsageError
from relubench.models.external.activation_trial import failing_in
from relubench.models.external.calls import CallSite
from relubench.models.external.layer import ExternalNetwork, Form
from relubench.models.external.module_state import capture, restore
from relubench.models.external.networks import LOOKED_AT, draw_network, example, make_gated, uses_of
from relubench.models.external.oddities import oddities
from relubench.models.external.outputs import class_scores
from relubench.models.external.torchvision_names import of_torchvision
from relubench.models.external.trial import layout_of, merged_paths, needs_pairs
from relubench.runs.spec import ExternalModel, RunSpec

SAVED_AGAIN = 2
"""Gradients of the largest value that lie in memory at once, on top of what training saves."""
EVALUATED = 4
"""Copies of the largest value that lie in memory at once in an evaluation: a block's input, output, z and h."""


def inspect_network(spec: RunSpec, choice: ActivationChoice) -> ExternalModel:
    """Facts of the network, with memory as of this activation; raises UsageError where it cannot be trained."""
    own = not of_torchvision(spec.model)
    network, changed = draw_network(spec)
    uses_of(network, spec)  # What is refused is refused in terms of two images.
    facts = _facts(network, changed, spec)
    spec = replace(spec, foreign=facts)
    uses = uses_of(network, spec)
    _check_draws(network, spec)
    if own:
        _check_same(network, draw_network(spec)[0], spec)
    odd = oddities(network, spec) if own else []
    with failing_in(spec, choice):
        narrowed = make_gated(draw_network(spec)[0], uses, spec, choice) if choice.inputs_per_unit > 1 else ""
        layout = layout_of(spec, choice)
    if narrowed:
        make_gated(network, uses, spec, choice)
    form = Form(spec.classes, merged=facts.merged)
    layer = ExternalNetwork(network, uses, build(choice), spec.seed, device="cpu", bf16=False, form=form)
    parameters = sum(
        parameter.value.numel() for parameter in layer.parameters if not parameter.name.startswith("activation-")
    )
    with failing_in(spec, choice):
        saved, largest = _saved(layer, spec)
    return replace(
        facts,
        exchanged=sum(not use.kept for use in uses),
        functions=_counted([use for use in uses if not use.kept], ""),
        kept=", ".join(
            _counted([use for use in uses if use.kept == reason], f" ({reason})")
            for reason in dict.fromkeys(use.kept for use in uses if use.kept)
        ),
        parameters=parameters,
        training_bytes=(saved + SAVED_AGAIN * largest) // LOOKED_AT,
        evaluation_bytes=EVALUATED * largest // LOOKED_AT,
        layout=layout,
        places=tuple(use.name for use in uses if not use.kept),
        remarks=tuple(odd),
        narrowed=narrowed,
    )


def _facts(network: nn.Module, changed: str, spec: RunSpec) -> ExternalModel:
    """What decides about how the others are found."""
    pairs = needs_pairs(network, spec)
    if pairs and spec.batch_size == 1:
        raise UsageError(
            f"{spec.model} cannot train on batches of one image, as networks with batch normalisation cannot",
            "use --batch-size 2 or more",
        )
    return ExternalModel(
        exchanged=0,
        functions="",
        kept="",
        stem=changed,
        parameters=0,
        training_bytes=0,
        evaluation_bytes=0,
        pairs=pairs,
        merged=merged_paths(network, spec),
    )


def _counted(uses: Sequence[CallSite], suffix: str) -> str:
    spoken = Counter(
        f"x*{use.function}(x)" if use.product else f"{use.function} written out" if use.chains else use.function
        for use in uses
    )
    return ", ".join(f"{count} {name}{suffix}" for name, count in spoken.items())


def _saved(layer: ExternalNetwork, spec: RunSpec) -> tuple[int, int]:
    """Bytes that a training forward on `LOOKED_AT` images keeps for its backward pass, and its largest tensor's."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in layer.leaves}
    saved_bytes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved_bytes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer.forward(example(spec, LOOKED_AT), training=True)
    layer.exchange.places.remove()
    return sum(saved_bytes.values()), max(saved_bytes.values(), default=0)


def _check_draws(network: nn.Module, spec: RunSpec) -> None:
    """Refuse chance that a checkpoint cannot hold, and chance in evaluation."""
    images, state = example(spec, LOOKED_AT), capture(network)
    for training in (True, False):
        network.train(training)
        scores = []
        for _ in range(2):
            # What a training forward moves, such as running statistics, is no chance.
            restore(network, state)
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(0 if training else len(scores))
                scores.append(class_scores(network(images), LOOKED_AT, spec.classes))
        if None not in scores and not torch.equal(*scores):
            where = "its training forward" if training else "evaluation"
            raise UsageError(
                f"{spec.model} draws chance in {where} that is not torch's"
                if training
                else f"{spec.model} draws chance in {where}",
                "draw with torch, and only while self.training: a resumed run has to end in the same bits",
            )


def _check_same(first_network: nn.Module, second_network: nn.Module, spec: RunSpec) -> None:
    """Refuse initial weights that the seed does not determine."""
    pairs: Any = zip(first_network.named_parameters(), second_network.named_parameters(), strict=False)
    for (name, first), (_, second) in pairs:
        if first is second:
            raise UsageError(
                f"{spec.model} gives the same {name} twice: every run needs weights of its own",
                "make the network inside the function",
            )
        if not torch.equal(first, second):
            raise UsageError(
                f"{spec.model}: the initial {name} differs from one instance to the next with the same seed",
                "draw initial weights with torch's own generator, not with numpy's or random's",
            )
