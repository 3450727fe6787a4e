"""The convolutional network: 5x5 convolutions with 2x2 max pooling, then dense hidden stages. Torch-free."""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING

from relubench.errors import UsageError
from relubench.models.family import (
    HIDDEN_STAGES,
    Architecture,
    Family,
    LayerShape,
    NetworkBuilder,
    abilities,
    needs_images,
)

if TYPE_CHECKING:
    from relubench.models.layers.base import Layer

KERNEL = 5
"""Side of the convolution kernels, in pixels; stride 1, zero padding that keeps the size."""


def parse(match: re.Match[str]) -> Architecture:
    """The architecture of cnn: there is one."""
    return Architecture(name=match[0], channels=(32, 64), hidden=(256,))


def shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """The convolutions, each on half the rows and columns of the one before, then the dense stages."""
    stages: list[LayerShape] = []
    inputs, (rows, columns) = input_shape[0], input_shape[-2:]
    for units in arch.channels:
        stages.append(LayerShape(inputs=inputs, units=units, kernel=KERNEL, image=(rows, columns)))
        inputs, rows, columns = units, rows // 2, columns // 2
    inputs = stages[-1].outputs if stages else math.prod(input_shape)
    for units in arch.hidden:
        stages.append(LayerShape(inputs=inputs, units=units))
        inputs = units
    return stages


def check_input(arch: Architecture, input_shape: tuple[int, ...], dataset: str) -> None:
    """Raises UsageError for rows, and for images that cannot be halved so often."""
    needs_images(arch, input_shape, dataset)
    if min(input_shape[1:]) < 2 ** len(arch.channels):
        raise UsageError(
            f"--model {arch.name} halves the image {len(arch.channels)} times, but {dataset} is "
            f"{input_shape[1]} x {input_shape[2]} pixels",
            "use an mlp for images this small",
        )


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The convolutional stages, their last images as rows, the dense stages and the output layer."""
    from relubench.models.layers.convolution import Flatten

    stages, convolutions = builder.hidden_stages(), len(builder.spec.channels)
    images = itertools.chain.from_iterable(stages[:convolutions])
    rows = itertools.chain.from_iterable(stages[convolutions:])
    return [*images, Flatten(), *rows, builder.output()]


FAMILY = Family(
    name="cnn",
    pattern="cnn",
    example="cnn",
    models={
        "cnn": "LeNet-like: 5x5 convolutions of 32 and 64 channels, each with 2x2 max pooling, then 256 units "
        "(LeCun et al. 1998, widened)"
    },
    parse=parse,
    shapes=shapes,
    layers=layers,
    abilities=HIDDEN_STAGES | abilities("images"),
    check_input=check_input,
)
