"""Residual perceptrons: an mlp with an identity skip around each hidden stage but the first. Torch-free.

See `models.layers.residual` for what is added to what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

from relubench.models.family import (
    HIDDEN_STAGES,
    Architecture,
    Family,
    LayerShape,
    NetworkBuilder,
    abilities,
    dense_architecture,
    dense_shapes,
    repeated,
)

if TYPE_CHECKING:
    from relubench.models.layers.base import Layer


def parse(match: re.Match[str]) -> Architecture:
    """The architecture of resmlp-DxW."""
    return dense_architecture(match[0], repeated(match[1], match[2]))


def shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """An mlp's stages; training keeps the sum with the skip, and its gradient."""
    return [replace(shape, saved=2 * shape.units) for shape in dense_shapes(arch, input_shape)]


def neighbours(arch: Architecture) -> Iterator[Architecture]:
    """Widths that step down once: all skips but one stay whole, and that one loses a single unit."""
    narrow, depth = min(arch.hidden), len(arch.hidden)
    for width in (narrow - 1, narrow, narrow + 1):
        for wider in range(depth + 1) if width >= 1 else ():
            yield replace(arch, hidden=(width + 1,) * wider + (width,) * (depth - wider))


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The hidden stages, a skip around each but the first, and the output layer."""
    from relubench.models.layers.residual import Fork, Join

    first, *skipped = builder.hidden_stages()
    layers = list(first)
    for stage in skipped:
        fork = Fork()
        layers += [fork, *stage, Join(fork, 1.0 / sqrt(len(skipped)))]
    return [*layers, builder.output()]


FAMILY = Family(
    name="resmlp",
    pattern=r"resmlp-(\d{1,18})x(\d{1,18})",
    example="resmlp-20x100 (any depth and widths)",
    models={
        "resmlp-20x100": "20 hidden layers of 100 units, an identity skip around each but the first (any DxW works)"
    },
    parse=parse,
    shapes=shapes,
    layers=layers,
    abilities=HIDDEN_STAGES | abilities("kernels"),
    neighbours=neighbours,
)
