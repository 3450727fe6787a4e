"""What the program knows of a kind of network before it builds one: the row of a model family. Torch-free.

Parameters, memory, multiplications and the narrowing for gated activations are all computed from `Family.shapes`, so a
family states its hidden layers once; see docs/adding-a-model-family-or-task.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from relubench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from relubench.activations.choice import ActivationChoice
    from relubench.models.layers.base import Layer
    from relubench.models.optimizers import Parameter
    from relubench.models.random_streams import MemberNoise
    from relubench.runs.spec import RunSpec

MAX_WIDTH, MAX_DEPTH = 65_536, 200

EXTERNAL_EVALUATION_IMAGES = 128
"""Images in a batch of an evaluation, at most, for a network that somebody else wrote: its layers keep far
more values than an mlp's."""

Ability = Literal[
    "attention",
    "batched",
    "dropout",
    "external",
    "gated",
    "images",
    "initialisation",
    "kernels",
    "l1",
    "normalisation",
    "pretraining",
    "probes",
    "regions",
    "sign flip",
    "text",
    "user code",
]
"""What a family can do or is. `attention`: it has as many heads as --heads says. `batched`: several networks are
trained side by side on a GPU. `external`: somebody else wrote the network, so that it is built once to learn its size
and its activations. `gated`: activations with several inputs a unit. `images`: it is given images [C, Y, X] as they
are, not rows of values. `initialisation`: --init decides about its weights. `kernels`: it consists of the hidden stages
and the output layer alone, all dense, for which there are generated kernels. `l1`: hidden activations are layers of
their own, with penalties and countable zeros. `pretraining`: its hidden stages can be pre-trained one by one.
`regions`: it is piecewise linear where its activation is. `text`: it is given windows of characters [T], and has
outputs for each of them. `user code`: the user's own program text makes it, and may change. The others: the option of
that name."""


ActIn = Literal["both", "encoder", "decoder"]

KEPT_ACTIVATION = "relu"
"""What the half of an autoencoder has that does not have the activation that is compared."""


def abilities(*names: Ability) -> frozenset[Ability]:
    """The set of these abilities."""
    return frozenset(names)


HIDDEN_STAGES = abilities("batched", "dropout", "gated", "initialisation", "l1", "normalisation", "probes", "sign flip")
"""What every network can do whose hidden layers are made by `builder.stage`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Hidden shapes: convolution channels (each followed by 2 x 2 max pooling), then the widths of dense layers."""

    name: str
    channels: tuple[int, ...] = ()
    hidden: tuple[int, ...] = ()
    latent: int = 0
    """Units of the code between an encoder and a decoder."""
    act_in: ActIn = "both"
    """Which half of an autoencoder has the activation that is compared."""
    heads: int = 0
    """Of each attention; 0 where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerShape:
    """One hidden stage: weights and biases, dense or a convolution with pooling; then norm and activation."""

    inputs: int
    """Input channels or features."""
    units: int
    """Output channels or features after the activation."""
    kernel: int = 0
    """Side of a convolution's kernels in pixels; 0: a dense layer."""
    image: tuple[int, int] = (1, 1)
    """Rows and columns of the image that a convolution works on."""
    parameters: int = 0
    """Trained numbers that the stage has beside its weights, biases, norm and activation."""
    multiplications: int = 0
    """Multiplications of an example's forward pass beside those with its weights."""
    saved: int = 0
    """Values of an example that training keeps beside the stage's input, its z and h and their gradients."""
    compared: bool = True
    """Whether it has the activation that is compared; else it has KEPT_ACTIVATION."""
    projected: int = 0
    """Features that the next stage reads, where a linear layer behind the activation gives others than its units."""
    normalised: int | None = None
    """Features that the stage's normalisations act on, over all of them; None: its pre-activations."""

    @property
    def convolution(self) -> bool:
        return self.kernel > 0

    @property
    def pixels(self) -> int:
        """Places at which the same weights are used."""
        return self.image[0] * self.image[1]

    @property
    def fan_in(self) -> int:
        """Values that each pre-activation is a sum over."""
        return self.inputs * (self.kernel**2 if self.convolution else 1)

    @property
    def outputs(self) -> int:
        """Values that the next dense layer reads."""
        if self.convolution:
            return self.units * (self.image[0] // 2) * (self.image[1] // 2)
        return self.projected or self.units


def any_input(arch: Architecture, input_shape: tuple[int, ...], dataset: str) -> None:
    """Accepts images and rows of every shape."""


def needs_images(arch: Architecture, input_shape: tuple[int, ...], dataset: str) -> None:
    """Raises UsageError for examples that are no images."""
    if len(input_shape) != 3:
        raise UsageError(
            f"--model {arch.name} needs images, but {dataset} has flat rows of {math.prod(input_shape)} values",
            "use an mlp, or give the images as [N, C, H, W]",
        )


def one_unit_apart(arch: Architecture) -> Iterator[Architecture]:
    """The architectures with one unit or channel more or less in a single layer."""
    for step in (-1, 1):
        for place, width in enumerate(arch.hidden):
            if width + step >= 1:
                yield replace(arch, hidden=(*arch.hidden[:place], width + step, *arch.hidden[place + 1 :]))
        for place, width in enumerate(arch.channels):
            if width + step >= 1:
                yield replace(arch, channels=(*arch.channels[:place], width + step, *arch.channels[place + 1 :]))


def scaled(arch: Architecture, factor: float) -> Architecture:
    """The architecture with all of its widths scaled by a factor."""
    return replace(arch, channels=scaled_widths(arch.channels, factor), hidden=scaled_widths(arch.hidden, factor))


def scaled_widths(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    """The widths times a factor, at least 1."""
    return tuple(max(1, round(width * factor)) for width in widths)


def no_digest(name: str) -> None:
    """None: the version of the program says all."""


class NetworkBuilder(Protocol):
    """What a family makes its layers with: see `relubench.models.builder.Builder`."""

    spec: RunSpec
    choice: ActivationChoice
    seeds: list[int]
    place: int
    """Hidden stages so far."""

    @property
    def shapes(self) -> Sequence[LayerShape]:
        """The hidden stages of the network."""
        ...

    def hidden_stages(self) -> list[list[Layer]]:
        """The layers of every hidden stage, bottom up."""
        ...

    def stage(self, shape: LayerShape, *, normalised: bool = True) -> list[Layer]:
        """The layers of one hidden stage: weights, norm unless it stands elsewhere, activation, sign flip, dropout,
        pooling."""
        ...

    def linear(self, fan_in: int, outputs: int, *, rule: str, gain: float = 1.0, name: str = "") -> Layer:
        """A dense layer at the current place; a second one there has a `name`, and so its own numbers."""
        ...

    @property
    def head_rule(self) -> str:
        """The rule of initial weights of a dense layer that no activation follows."""
        ...

    def noise(self, role: str) -> MemberNoise:
        """The members' random streams of that role at the current place."""
        ...

    def parameter(self, name: str, value: Callable[[int], Tensor], *, decays: bool = False) -> Parameter:
        """A trained tensor at the current place; `value` gives that of a seed."""
        ...

    def output(self) -> Layer:
        """The output layer, which reads the last stage."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One kind of network; `relubench.models.families.FAMILIES` has a row for each."""

    name: str
    pattern: str
    """A regular expression for all names of its models, after --model and in stored runs."""
    example: str
    """Names as help and errors show them: 'resmlp-20x100 (any depth and widths)'."""
    models: Mapping[str, str]
    """The names that `relubench list models` shows, each with a description."""
    parse: Callable[[re.Match[str]], Architecture | None]
    """The architecture of a name that `pattern` matches; None where there is no such model, UsageError for a size
    that cannot be."""
    shapes: Callable[[Architecture, tuple[int, ...]], list[LayerShape]]
    """The hidden stages in order, for examples of an input shape; none where they are not known."""
    layers: Callable[[NetworkBuilder], list[Layer]]
    """All layers from the input to the logits; this alone may import torch."""
    abilities: frozenset[Ability]
    neighbours: Callable[[Architecture], Iterator[Architecture]] = one_unit_apart
    """Architectures a small step away, among which the one with equal parameters is sought for a gated activation."""
    scaled: Callable[[Architecture, float], Architecture] = scaled
    """The architecture narrowed by a factor, where that search begins."""
    check_heads: Callable[[Architecture, int], None] | None = None
    """Raises UsageError where a network cannot have so many heads; None where it has no attention."""
    protocol: str = "paper"
    """The protocol of its training, unless the user says otherwise."""
    check_input: Callable[[Architecture, tuple[int, ...], str], None] = any_input
    """Raises UsageError where a network cannot take examples of this shape, of the named data set."""
    digest: Callable[[str], str | None] = no_digest
    """What tells apart versions of a network that is not the package's own; a part of the run's id."""
    task: str = ""
    """The task of its networks whatever the data set poses; empty: the data set's."""
    latent: int = 0
    """Units of the code unless the user sets them; 0: its networks have none."""
    protocol: str = "paper"
    """The training defaults that hold unless the user names a protocol."""

    def can(self, ability: Ability) -> bool:
        """Whether the family has this ability."""
        return ability in self.abilities


def dense_architecture(name: str, widths: Sequence[int]) -> Architecture:
    """An architecture of dense hidden layers; raises UsageError for a width or a depth that cannot be."""
    if not 1 <= len(widths) <= MAX_DEPTH:
        raise UsageError(f"a model has 1 to {MAX_DEPTH} hidden layers, got {name}", "for example --model mlp-3x1000")
    if not all(1 <= width <= MAX_WIDTH for width in widths):
        raise UsageError(f"a layer has 1 to {MAX_WIDTH} units, got {name}", "for example --model mlp-3x1000")
    return Architecture(name=name, hidden=tuple(widths))


def repeated(depth: str, width: str) -> tuple[int, ...]:
    """The widths that `DxW` in a name stands for; of depths that cannot be, no more than it takes to refuse them."""
    return (int(width),) * min(int(depth), MAX_DEPTH + 1)


def dense_shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """Dense hidden stages one after the other, the first of which reads the whole example."""
    inputs = (math.prod(input_shape), *arch.hidden)
    return [LayerShape(inputs=below, units=units) for below, units in zip(inputs, arch.hidden, strict=False)]
