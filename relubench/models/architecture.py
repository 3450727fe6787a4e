"""Network shapes and their arithmetic: what a model name means, its parameter count, matching widths. Torch-free.

A gated activation needs `columns` pre-activations for each unit, so at equal width its network is larger. `matched`
finds the widths at which the parameter counts agree, which is how Shazeer 2020 (arXiv 2002.05202) compares them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from relubench.activations.layer_input import Frame
from relubench.activations.table import ACTIVATIONS
from relubench.activations.user import names_user_object, resolve_user_object
from relubench.errors import UsageError
from relubench.models.external.torchvision_names import CLASSIFIERS, PREFIX
from relubench.runs.spec import RunSpec
from relubench.system.lookup import did_you_mean

KERNEL = 5
"""Side of the cnn's convolution kernels, in pixels; stride 1, zero padding that keeps the size."""

MAX_WIDTH, MAX_DEPTH = 65_536, 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Hidden shapes: convolution channels (each followed by 2 x 2 max pooling), then the widths of dense layers."""

    name: str
    channels: tuple[int, ...]
    hidden: tuple[int, ...]

    @property
    def residual(self) -> bool:
        """Whether an identity skip leads around every hidden layer but the first; see `models.layers.residual`."""
        return self.name.startswith("resmlp-")

    @property
    def foreign(self) -> bool:
        """Whether somebody else wrote it: torchvision's, or the user's own. Its shapes are then not known here."""
        return ":" in self.name

    @property
    def takes_images(self) -> bool:
        """Whether it is given images [C, Y, X] as they are; otherwise rows of values."""
        return self.foreign or bool(self.channels)


def architecture_of(spec: RunSpec) -> Architecture:
    """The shape of the network that a run trains."""
    return Architecture(name=spec.model, channels=spec.channels, hidden=spec.hidden)


MODELS: dict[str, str] = {
    "mlp-3x1000": "3 hidden layers of 1000 units: the paper's network for MNIST, CIFAR-10 and NISTP (any DxW works)",
    "mlp-4000-2000": "hidden layers of 4000 and 2000 units: the paper's network for NORB (any list of widths works)",
    "mlp-3x128": "3 hidden layers of 128 units: the default for the embedded digits",
    "resmlp-20x100": "20 hidden layers of 100 units, an identity skip around each but the first (any DxW works)",
    "cnn": "LeNet-like: 5x5 convolutions of 32 and 64 channels, each with 2x2 max pooling, then 256 units "
    "(LeCun et al. 1998, widened)",
}


def default_model(dataset: str) -> str:
    """The model that a data set is trained with unless another is named."""
    if dataset == "digits":
        return "mlp-3x128"
    return "mlp-4000-2000" if dataset.startswith("norb") else "mlp-3x1000"


def parse_model(name: str) -> Architecture:
    """The architecture that `name` stands for; raises UsageError for a name, a width or a depth that cannot be."""
    if name == "cnn":
        return Architecture(name=name, channels=(32, 64), hidden=(256,))
    if repeated := re.fullmatch(r"(?:res)?mlp-(\d{1,18})x(\d{1,18})", name):
        depth, width = int(repeated[1]), int(repeated[2])
        widths = (width,) * min(depth, MAX_DEPTH + 1)
    elif name in CLASSIFIERS:
        return Architecture(name=name, channels=(), hidden=())
    elif names_user_object(name) and not name.startswith(PREFIX):
        return Architecture(name=resolve_user_object(name).label, channels=(), hidden=())
    elif re.fullmatch(r"mlp(-\d{1,18})+", name):
        widths = tuple(int(part) for part in name.split("-")[1:])
    else:
        see = (
            "models are mlp-3x1000, mlp-4000-2000 (any depth and widths), resmlp-20x100, cnn, torchvision:resnet18 and "
            "your own ./file.py:Net: see `relubench list models`"
        )
        names = [*MODELS, *CLASSIFIERS]
        names = [f"{PREFIX}{name}"] if f"{PREFIX}{name}" in CLASSIFIERS else names
        name_for_hint = f"{PREFIX}{name}" if len(names) == 1 else name
        raise UsageError(f"there is no model called {name!r}", did_you_mean(name_for_hint, names, see))
    if not 1 <= len(widths) <= MAX_DEPTH:
        raise UsageError(f"a model has 1 to {MAX_DEPTH} hidden layers, got {name}", "for example --model mlp-3x1000")
    if not all(1 <= width <= MAX_WIDTH for width in widths):
        raise UsageError(f"a layer has 1 to {MAX_WIDTH} units, got {name}", "for example --model mlp-3x1000")
    return Architecture(name=name, channels=(), hidden=widths)


def check_input(arch: Architecture, input_shape: tuple[int, ...], dataset: str) -> None:
    """Raises UsageError if the architecture cannot take images of this shape."""
    if not arch.channels and not arch.name.startswith(PREFIX):
        return
    if len(input_shape) != 3:
        raise UsageError(
            f"--model {arch.name} needs images, but {dataset} has flat rows of {math.prod(input_shape)} values",
            "use an mlp, or give the images as [N, C, H, W]",
        )
    if arch.channels and min(input_shape[1:]) < 2 ** len(arch.channels):
        raise UsageError(
            f"--model {arch.name} halves the image {len(arch.channels)} times, but {dataset} is "
            f"{input_shape[1]} x {input_shape[2]} pixels",
            "use an mlp for images this small",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerShape:
    """One parametered hidden stage: a convolution or a dense layer followed by norm and activation."""

    convolution: bool
    inputs: int
    """Input channels or features."""
    units: int
    """Output channels or features after the activation."""


def layer_shapes(arch: Architecture, input_shape: tuple[int, ...]) -> Iterator[LayerShape]:
    """The hidden stages in order; what the output layer reads is `head_inputs`."""
    if arch.channels:
        inputs = input_shape[0]
        for units in arch.channels:
            yield LayerShape(convolution=True, inputs=inputs, units=units)
            inputs = units
    inputs = _dense_inputs(arch, input_shape)
    for units in arch.hidden:
        yield LayerShape(convolution=False, inputs=inputs, units=units)
        inputs = units


def activation_frames(arch: Architecture, input_shape: tuple[int, ...]) -> list[Frame]:
    """What each hidden layer gives to its activation; none for a network that somebody else wrote."""
    frames: list[Frame] = []
    side = input_shape[-2:]
    for number, shape in enumerate(layer_shapes(arch, input_shape) if not arch.foreign else (), start=1):
        units = "channels" if shape.convolution else "units"
        example = (shape.units, *side) if shape.convolution else (shape.units,)
        frames.append(Frame(example, f"hidden layer {number} ({shape.units} {units})"))
        side = (side[0] // 2, side[1] // 2) if shape.convolution else side
    return frames


def head_inputs(arch: Architecture, input_shape: tuple[int, ...]) -> int:
    """Features that the output layer reads."""
    return arch.hidden[-1] if arch.hidden else _dense_inputs(arch, input_shape)


def hidden_units(arch: Architecture, input_shape: tuple[int, ...]) -> list[int]:
    """Units of each hidden layer after its activation; in a convolution every channel at every pixel is one."""
    side = input_shape[-2:] if arch.channels else (1, 1)
    units: list[int] = []
    for shape in layer_shapes(arch, input_shape):
        if not shape.convolution:
            units.append(shape.units)
            continue
        units.append(shape.units * side[0] * side[1])
        side = (side[0] // 2, side[1] // 2)
    return units


def parameter_count(
    arch: Architecture, input_shape: tuple[int, ...], classes: int, *, inputs_per_unit: int, learned: int, norm: str
) -> int:
    """Trained numbers: weights, biases, norm scales and shifts, and the activation's own learned scalars."""
    total = (head_inputs(arch, input_shape) + 1) * classes
    for shape in layer_shapes(arch, input_shape):
        outputs = shape.units * inputs_per_unit
        fan_in = shape.inputs * (KERNEL**2 if shape.convolution else 1)
        total += (fan_in + 1) * outputs + learned
        total += {"none": 0, "batch": 2, "layer": 2, "rms": 1}[norm] * outputs
    return total


def matched(
    arch: Architecture, input_shape: tuple[int, ...], classes: int, *, inputs_per_unit: int, learned: int, norm: str
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

    target = count(arch, 1)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if count(_scaled(arch, middle), inputs_per_unit) < target else (low, middle)
    best = _scaled(arch, low)
    while True:
        nearest = min(_neighbours(best), key=lambda candidate: abs(count(candidate, inputs_per_unit) - target))
        if abs(count(nearest, inputs_per_unit) - target) >= abs(count(best, inputs_per_unit) - target):
            break
        best = nearest
    if abs(count(best, inputs_per_unit) - target) > 0.01 * target:
        raise UsageError(
            f"no widths give a gated {arch.name} within 1 % of {target} parameters",
            "use wider layers, or --match width to compare at equal width",
        )
    return best


def _dense_inputs(arch: Architecture, input_shape: tuple[int, ...]) -> int:
    if not arch.channels:
        return math.prod(input_shape)
    shrink = 2 ** len(arch.channels)
    return arch.channels[-1] * (input_shape[1] // shrink) * (input_shape[2] // shrink)


def _scaled(arch: Architecture, factor: float) -> Architecture:
    def scale(widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(width * factor)) for width in widths)

    return replace(arch, channels=scale(arch.channels), hidden=scale(arch.hidden))


def _neighbours(arch: Architecture) -> Iterator[Architecture]:
    if arch.residual:
        # Widths that step down once: all skips but one stay whole, and that one loses a single unit.
        narrow, depth = min(arch.hidden), len(arch.hidden)
        for width in (narrow - 1, narrow, narrow + 1):
            for wider in range(depth + 1) if width >= 1 else ():
                yield replace(arch, hidden=(width + 1,) * wider + (width,) * (depth - wider))
        return
    for step in (-1, 1):
        for place, width in enumerate(arch.hidden):
            if width + step >= 1:
                yield replace(arch, hidden=(*arch.hidden[:place], width + step, *arch.hidden[place + 1 :]))
        for place, width in enumerate(arch.channels):
            if width + step >= 1:
                yield replace(arch, channels=(*arch.channels[:place], width + step, *arch.channels[place + 1 :]))


def why_no_regions(spec: RunSpec) -> str | None:
    """Why linear regions cannot be counted in this network; None if they can."""
    kind, _, _ = spec.activation.partition(":")
    if kind not in ACTIVATIONS or ACTIVATIONS[kind].kinks is None:
        return f"{spec.activation} is not piecewise linear"
    if spec.channels:
        return f"{spec.model} is no mlp"
    return f"{spec.norm} norm is not piecewise linear" if spec.norm in ("layer", "rms") else None
