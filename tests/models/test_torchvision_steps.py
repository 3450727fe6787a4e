"""Every classifier of torchvision takes steps with activations that keep their input, their output, or both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from relubench.activations import select
from relubench.errors import UsageError
from relubench.models.external.networks import as_layer, draw_network, example, uses_of
from relubench.models.external.torchvision_names import CLASSIFIERS, PREFIX
from relubench.models.external.trial import laid_out
from relubench.models.optimizers import build_optimizer
from specs import runs

ACTS = ("gelu", "tanh", "x*tanh(x)")
"""Their gradients need the input, the output, and both."""

FAST = ("mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5")
NAMES: list[Any] = [
    name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
    for name in sorted(one.removeprefix(PREFIX) for one in CLASSIFIERS)
]
LARGEST = 300_000_000
"""Parameters of the networks that this test has the memory for."""


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_with_every_kind_of_activation(name: str) -> None:
    from torchvision.models import get_model_weights

    if max(one.meta["num_params"] for one in get_model_weights(name)) > LARGEST:
        pytest.skip("needs more memory than a test may take")
    _, (plain,) = runs("relu", model={"name": "cnn"}, train={"batch_size": 2})
    spec = replace(plain, model=f"{PREFIX}{name}", channels=(), hidden=(), init="own", classes=10, lr=0.001)
    for side in (32, 96, 224):
        try:
            spec = replace(spec, input_shape=(3, side, side))
            network, _ = draw_network(spec)
            break
        except UsageError:
            continue
    else:
        pytest.fail(f"{name} takes no images of up to 224 pixels")
    uses = uses_of(network, spec)
    x = laid_out(example(spec, 2), spec)
    for act in ACTS:
        layer = as_layer(network, uses, spec, select([act])[0])
        update = build_optimizer(layer.parameters, name="sgd", rates=[0.001], momentum=0.0, decay=0.0, batched=False)
        scores = x
        for _ in range(2):
            with torch.no_grad():
                update.set_factor(1.0)
                scores = layer.forward(x, training=True)
                layer.backward(torch.softmax(scores, dim=-1) / 2, update, first=True)
                update.finish()
        assert bool(torch.isfinite(scores).all()), act
        layer.exchange.places.remove()
