"""Network shapes and their arithmetic: what a model name means, its parameter count, matching widths. Torch-free.

All of it follows from the hidden stages that the model's family states (`relubench.models.families`).

A gated activation needs `columns` pre-activations for each unit, so at equal width its network is larger. `matched`
finds the widths at which the parameter counts agree, which is how Shazeer 2020 (arXiv 2002.05202) compares them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from relubench.activations.layer_input import Frame
from relubench.data.user_files import PICTURES, TABLES
from relubench.errors import UsageError
from relubench.models.families import family_of, parse_model
from relubench.models.family import Architecture, LayerShape
from relubench.models.mixture import PLAIN, mixture_of
from relubench.models.norm_table import NORMS
from relubench.runs.spec import RunSpec
from relubench.runs.task_names import LANGUAGE

__all__ = ["Architecture", "LayerShape", "parse_model"]

Learned = Callable[[int, int], int]
"""The numbers that the activation of a hidden layer learns, from the layer's place and its units."""

SMALL_SETS = ("digits", "breast-cancer", "wine", "diabetes", "california")
"""Data sets of the table whose own model is a small one, like that of a user's table."""


def architecture_of(spec: RunSpec) -> Architecture:
    """The shape of the network that a run trains."""
    return Architecture(
        name=spec.model,
        channels=spec.channels,
        hidden=spec.hidden,
        latent=spec.latent,
        act_in=spec.act_in,
        heads=spec.heads,
    )


def with_heads(arch: Architecture, heads: int | None) -> Architecture:
    """The architecture with so many heads, None: as it is; raises UsageError where it cannot have them."""
    if heads is None:
        return arch
    check = family_of(arch.name).check_heads
    if check is None:
        raise UsageError(f"--heads {heads} means nothing to {arch.name}: it has no attention", "leave --heads out")
    check(arch, heads)
    return replace(arch, heads=heads)


def with_ffn(arch: Architecture, ffn: str) -> Architecture:
    """The architecture with these feed-forward networks, plain: as it is; UsageError where it cannot have them."""
    if ffn == "plain":
        return arch
    if not family_of(arch.name).can("attention"):
        raise UsageError(
            f"--ffn {ffn} means nothing to {arch.name}: it has no feed-forward networks",
            "use a Transformer, for example --model transformer-2x64",
        )
    if mixture_of(arch.name) is not PLAIN:
        raise UsageError(f"--ffn {ffn}: the name {arch.name} says already what its experts are", "leave --ffn out")
    return parse_model(f"{arch.name}-{ffn}")


def default_model(dataset: str) -> str:
    """The model that a data set is trained with unless another is named."""
    # Late: a help needs no numpy.
    from relubench.data.table_outline import task_of_data

    if task_of_data(dataset) == LANGUAGE:
        return "transformer-2x64"
    if dataset in SMALL_SETS or dataset.lower().endswith(TABLES):
        return "mlp-3x128"
    if dataset.startswith("image:") or dataset.lower().endswith(PICTURES):
        return "mlp-5x256"
    return "mlp-4000-2000" if dataset.startswith("norb") else "mlp-3x1000"


def check_input(arch: Architecture, input_shape: tuple[int, ...], dataset: str) -> None:
    """Raises UsageError if the architecture cannot take images of this shape."""
    family_of(arch.name).check_input(arch, input_shape, dataset)


def layer_shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """The hidden stages in order; what the output layer reads is `head_inputs`."""
    return family_of(arch.name).shapes(arch, input_shape)


def activation_frames(arch: Architecture, input_shape: tuple[int, ...]) -> list[Frame]:
    """What each hidden layer gives to the activation that is compared; none where the layers are not known."""
    frames: list[Frame] = []
    for number, shape in enumerate(layer_shapes(arch, input_shape), start=1):
        if not shape.compared:
            continue
        units = "channels" if shape.convolution else "units"
        example = (shape.units, *shape.image) if shape.convolution else (shape.units,)
        frames.append(Frame(example, f"hidden layer {number} ({shape.units} {units})"))
    return frames


def head_inputs(arch: Architecture, input_shape: tuple[int, ...]) -> int:
    """Features that the output layer reads."""
    shapes = layer_shapes(arch, input_shape)
    return shapes[-1].outputs if shapes else math.prod(input_shape)


def output_places(arch: Architecture, input_shape: tuple[int, ...]) -> int:
    """Places of an example at which the output layer gives outputs: one, or each character of a window."""
    return input_shape[0] if family_of(arch.name).can("text") else 1


def hidden_units(arch: Architecture, input_shape: tuple[int, ...]) -> list[int]:
    """Units of each hidden layer with the activation that is compared; in a convolution every channel at every pixel
    is one."""
    return [shape.units * shape.pixels for shape in layer_shapes(arch, input_shape) if shape.compared]


def parameter_count(
    arch: Architecture, input_shape: tuple[int, ...], classes: int, *, inputs_per_unit: int, learned: Learned, norm: str
) -> int:
    """Trained numbers: weights, biases, norm scales and shifts, and the activation's own; `learned` gives those of a
    compared hidden layer, of its place among them and its units."""
    total = (head_inputs(arch, input_shape) + 1) * classes
    num_compared = 0
    for shape in layer_shapes(arch, input_shape):
        outputs = shape.units * (inputs_per_unit if shape.compared else 1)
        total += (shape.fan_in + 1) * outputs + shape.parameters
        if shape.compared:
            total += learned(num_compared, shape.units)
            num_compared += 1
        total += len(NORMS[norm].parameters) * (outputs if shape.normalised is None else shape.normalised)
    return total


def multiplications(spec: RunSpec, inputs_per_unit: int) -> int:
    """Multiplications of one example's forward pass with the weights; 0 for a network whose layers are not known."""
    shapes = layer_shapes(architecture_of(spec), spec.input_shape)
    if not shapes:
        return 0
    stages = sum(
        shape.pixels * shape.fan_in * shape.units * (inputs_per_unit if shape.compared else 1) + shape.multiplications
        for shape in shapes
    )
    return stages + shapes[-1].outputs * spec.classes * output_places(architecture_of(spec), spec.input_shape)


def matched(
    arch: Architecture, input_shape: tuple[int, ...], classes: int, *, inputs_per_unit: int, learned: Learned, norm: str
) -> Architecture:
    """The architecture, narrowed so that with `columns` it has as many parameters as the plain one, within 1 %.

    All hidden widths shrink by one factor; then single layers move by one unit while that brings the counts closer.
    Raises UsageError where no widths come within 1 % (networks of a few units).
    """
    if inputs_per_unit == 1:
        return arch

    def count(candidate: Architecture, inputs_per_unit: int) -> int:
        return parameter_count(
            candidate, input_shape, classes, inputs_per_unit=inputs_per_unit, learned=learned, norm=norm
        )

    family = family_of(arch.name)
    target = count(arch, 1)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if count(family.scaled(arch, middle), inputs_per_unit) < target else (low, middle)
    best = family.scaled(arch, low)
    while True:
        nearest = min(family.neighbours(best), key=lambda candidate: abs(count(candidate, inputs_per_unit) - target))
        if abs(count(nearest, inputs_per_unit) - target) >= abs(count(best, inputs_per_unit) - target):
            break
        best = nearest
    if abs(count(best, inputs_per_unit) - target) > 0.01 * target:
        raise UsageError(
            f"no widths give a gated {arch.name} within 1 % of {target} parameters",
            "use wider layers, or --match width to compare at equal width",
        )
    return best
