"""Multilayer perceptrons: dense hidden stages one after the other, then a softmax output. Torch-free."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from relubench.models.family import (
    HIDDEN_STAGES,
    Architecture,
    Family,
    NetworkBuilder,
    abilities,
    dense_architecture,
    dense_shapes,
    repeated,
)

if TYPE_CHECKING:
    from relubench.models.layers.base import Layer


def parse(match: re.Match[str]) -> Architecture:
    """The architecture of mlp-DxW or mlp-W-W-W."""
    depth, width, listed = match.groups()
    return dense_architecture(match[0], [int(part) for part in listed.split("-")] if listed else repeated(depth, width))


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The hidden stages and the output layer."""
    return [*itertools.chain.from_iterable(builder.hidden_stages()), builder.output()]


FAMILY = Family(
    name="mlp",
    pattern=r"mlp-(\d{1,18})x(\d{1,18})|mlp-(\d{1,18}(?:-\d{1,18})*)",
    example="mlp-3x1000, mlp-4000-2000",
    models={
        "mlp-3x1000": "3 hidden layers of 1000 units: the paper's network for MNIST, CIFAR-10 and NISTP "
        "(any DxW works)",
        "mlp-4000-2000": "hidden layers of 4000 and 2000 units: the paper's network for NORB "
        "(any list of widths works)",
        "mlp-3x128": "3 hidden layers of 128 units: the default for the embedded digits",
    },
    parse=parse,
    shapes=dense_shapes,
    layers=layers,
    abilities=HIDDEN_STAGES | abilities("kernels", "pretraining", "regions"),
)
