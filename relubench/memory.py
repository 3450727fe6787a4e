"""How much memory a network takes while it trains, predicted from its shape: what sizes a stack of them. Torch-free."""

from __future__ import annotations

import math

from relubench.architecture import layer_shapes, parameter_count
from relubench.plan import RunSpec

FLOAT_BYTES = 4

CHUNK_IMAGES = 1024
"""Training images gathered at once; a chunk holds as many whole batches as fit, at least one."""

CODE_BYTES = 512_000_000
"""What the layers below make of the training images is kept while a layer is pre-trained, if it takes no more."""

EVALUATION_VALUES = 4_000_000
"""Input values gathered at once for an evaluation, in a stack over all its members."""

EVALUATION_IMAGES = 2000
"""Images in a batch of an evaluation, at most."""

BASE_BYTES = 450_000_000
"""A process that has imported torch."""


def member_bytes(spec: RunSpec, columns: int, learned: int) -> int:
    """Bytes that one network adds to a process: parameters, optimizer state, best weights, activations, a chunk.

    What the libraries take for themselves at first use, some 15 MB on a processor, is not in it.
    """
    arch = spec.architecture
    parameters = parameter_count(arch, spec.input_shape, spec.classes, columns=columns, learned=learned, norm=spec.norm)
    copies = 2 + {"sgd": int(spec.momentum > 0), "adam": 3, "adamw": 3}[spec.optimizer]
    inputs = math.prod(spec.input_shape)
    values = inputs + sum(_stage_values(spec, columns)) + 3 * spec.classes
    chunk = max(CHUNK_IMAGES, spec.batch_size)
    codes = CODE_BYTES if spec.stack is not None and spec.stack.layers > 1 else 0
    return FLOAT_BYTES * (copies * parameters + values * spec.batch_size + 2 * chunk * inputs) + codes


def evaluation_bytes(spec: RunSpec, columns: int, examples: int = EVALUATION_IMAGES) -> int:
    """Bytes that an evaluation takes on top, whatever the number of members: a stage's input, z and h of one batch."""
    inputs = math.prod(spec.input_shape)
    images = max(1, min(EVALUATION_IMAGES, EVALUATION_VALUES // inputs, examples))
    side = spec.input_shape[-2:] if spec.channels else (1, 1)
    widest = inputs
    for shape in layer_shapes(spec.architecture, spec.input_shape):
        pixels = side[0] * side[1] if shape.convolution else 1
        widest = max(widest, pixels * (shape.inputs + shape.units * (columns + 1)))
        side = (side[0] // 2, side[1] // 2) if shape.convolution else side
    return FLOAT_BYTES * images * widest


def stack_members(spec: RunSpec, columns: int, learned: int, memory: int) -> int:
    """How many networks fit into `memory` bytes of a device as one stack; at least one."""
    free = 0.8 * memory - evaluation_bytes(spec, columns)
    return max(1, int(free // member_bytes(spec, columns, learned)))


def _stage_values(spec: RunSpec, columns: int) -> list[int]:
    """Of each hidden stage, the float values of one image that training keeps: z, h and their gradients."""
    side = spec.input_shape[-2:] if spec.channels else (1, 1)
    kept: list[int] = []
    for shape in layer_shapes(spec.architecture, spec.input_shape):
        pixels = side[0] * side[1] if shape.convolution else 1
        inputs = shape.inputs * pixels
        kept.append(shape.units * pixels * (2 * columns + 2) + inputs)
        if shape.convolution:
            side = (side[0] // 2, side[1] // 2)
    return kept
