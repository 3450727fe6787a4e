"""What has to be known of somebody else's network before it is trained: found by building it and running it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relubench.activations import Choice, build
from relubench.errors import UsageError
from relubench.foreign.networks import LOOKED_AT, draw_network, example, uses_of
from relubench.network.calls import Use
from relubench.network.foreign import Foreign
from relubench.plan import ForeignNetwork, RunSpec

SAVED_AGAIN = 2
"""Gradients of the largest value that lie in memory at once, on top of what training saves."""
EVALUATED = 4
"""Copies of the largest value that lie in memory at once in an evaluation: a block's input, output, z and h."""


def inspect_network(spec: RunSpec, choice: Choice, smallest_batch: int) -> ForeignNetwork:
    """Facts of the network, with memory as of this activation; raises UsageError where it cannot be trained."""
    network, stem = draw_network(spec)
    uses = uses_of(network, spec)
    _check_draws(network, spec)
    if not stem:
        _check_same(network, draw_network(spec)[0], spec)
    layer = Foreign(network, uses, build(choice), spec.seed, device="cpu", bf16=False)
    own = sum(one.value.numel() for one in layer.parameters if not one.name.startswith("activation-"))
    saved, largest = _saved(layer, spec)
    if smallest_batch == 1:
        _check_single(network, spec)
    return ForeignNetwork(
        exchanged=sum(not use.kept for use in uses),
        functions=_counted([use for use in uses if not use.kept], ""),
        kept=", ".join(
            _counted([use for use in uses if use.kept == reason], f" ({reason})")
            for reason in dict.fromkeys(use.kept for use in uses if use.kept)
        ),
        stem=stem,
        parameters=own,
        training_bytes=(saved + SAVED_AGAIN * largest) // LOOKED_AT,
        evaluation_bytes=EVALUATED * largest // LOOKED_AT,
    )


def _counted(uses: Sequence[Use], suffix: str) -> str:
    return ", ".join(f"{count} {name}{suffix}" for name, count in Counter(use.function for use in uses).items())


def _saved(layer: Foreign, spec: RunSpec) -> tuple[int, int]:
    """Bytes that a training forward on `LOOKED_AT` images keeps for its backward pass, and its largest tensor's."""
    parameters = {one.untyped_storage().data_ptr() for one in layer.leaves}
    found: dict[int, int] = {}

    def pack(one: Tensor) -> Tensor:
        storage = one.untyped_storage()
        if storage.data_ptr() not in parameters:
            found[storage.data_ptr()] = storage.nbytes()
        return one

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
        layer.forward(example(spec, LOOKED_AT), training=True)
    layer.exchange.places.remove()
    return sum(found.values()), max(found.values(), default=0)


def _check_draws(network: nn.Module, spec: RunSpec) -> None:
    """Refuse chance that a checkpoint cannot hold, and chance in evaluation."""
    images = example(spec, LOOKED_AT)
    for training in (True, False):
        network.train(training)
        found = []
        for _ in range(2):
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(0 if training else len(found))
                found.append(network(images))
        if not torch.equal(*found):
            where = "its training forward" if training else "evaluation"
            raise UsageError(
                f"{spec.model} draws chance in {where} that is not torch's"
                if training
                else f"{spec.model} draws chance in {where}",
                "draw with torch, and only while self.training: a resumed run has to end in the same bits",
            )


def _check_same(one: nn.Module, other: nn.Module, spec: RunSpec) -> None:
    """Refuse initial weights that the seed does not determine."""
    pairs: Any = zip(one.named_parameters(), other.named_parameters(), strict=False)
    for (name, first), (_, second) in pairs:
        if not torch.equal(first, second):
            raise UsageError(
                f"{spec.model}: the initial {name} differs from one instance to the next with the same seed",
                "draw initial weights with torch's own generator, not with numpy's or random's",
            )


def _check_single(network: nn.Module, spec: RunSpec) -> None:
    """Refuse a last batch of one image where the network cannot train on one."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            network.train()(example(spec, 1))
    except ValueError as problem:
        raise UsageError(
            f"{spec.model} cannot train on the one image that --batch-size {spec.batch_size} leaves over: {problem}",
            f"try --batch-size {spec.batch_size + 1}",
        ) from problem
