"""Autoencoders: an encoder of dense hidden stages, a linear code, and a decoder that mirrors the encoder. Torch-free.

`autoencoder-2x400` has two hidden layers of 400 units in the encoder and as many in the decoder; the code is linear, as
in Hinton & Salakhutdinov 2006 (Science 313). `families.vae` has the same halves around another code.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from relubench.models.family import (
    HIDDEN_STAGES,
    Architecture,
    Family,
    LayerShape,
    NetworkBuilder,
    dense_architecture,
    dense_shapes,
    one_unit_apart,
    repeated,
    scaled_widths,
)
from relubench.runs.task_names import RECONSTRUCTION_MSE

if TYPE_CHECKING:
    from relubench.models.layers.base import Layer

SIZES = r"(?:(\d{1,18})x(\d{1,18})|(\d{1,18}(?:-\d{1,18})*))"
"""What follows the family's name: the widths of the encoder."""


def parse(match: re.Match[str]) -> Architecture:
    """The architecture of autoencoder-DxW or autoencoder-W-W: the encoder's widths, then those of the decoder."""
    depth, width, listed = match.groups()
    widths = tuple(int(part) for part in listed.split("-")) if listed else repeated(depth, width)
    return dense_architecture(match[0], (*widths, *reversed(widths)))


def halves(arch: Architecture) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The widths of the encoder, and those of the decoder."""
    half = len(arch.hidden) // 2
    return arch.hidden[:half], arch.hidden[half:]


def shapes_around(arch: Architecture, input_shape: tuple[int, ...], codes: int, saved: int) -> list[LayerShape]:
    """The encoder's stages, then the decoder's; the dense layer of so many `codes` counts to the decoder's first one.

    `saved`: what training keeps of an example between the halves, beside the code that the decoder reads.
    """
    encoder, decoder = halves(arch)
    below = dense_shapes(replace(arch, hidden=encoder), input_shape)
    first, *above = dense_shapes(replace(arch, hidden=decoder), (arch.latent,))
    first = replace(first, parameters=(encoder[-1] + 1) * codes, multiplications=encoder[-1] * codes, saved=saved)
    return [
        *(replace(shape, compared=arch.act_in != "decoder") for shape in below),
        *(replace(shape, compared=arch.act_in != "encoder") for shape in (first, *above)),
    ]


def shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """The stages around the code, of which training keeps the gradient too."""
    return shapes_around(arch, input_shape, codes=arch.latent, saved=arch.latent)


def kept_widths(arch: Architecture) -> tuple[int, ...]:
    """The widths that narrowing leaves alone: those of the half without the activation that is compared."""
    encoder, decoder = halves(arch)
    return {"both": (), "encoder": decoder, "decoder": encoder}[arch.act_in]


def neighbours(arch: Architecture) -> Iterator[Architecture]:
    """One unit more or less in a layer that has the activation which is compared."""
    return (neighbour for neighbour in one_unit_apart(arch) if kept_widths(neighbour) == kept_widths(arch))


def scaled(arch: Architecture, factor: float) -> Architecture:
    """The architecture with the widths scaled of what has the activation which is compared."""
    encoder, decoder = halves(arch)
    encoder = encoder if arch.act_in == "decoder" else scaled_widths(encoder, factor)
    decoder = decoder if arch.act_in == "encoder" else scaled_widths(decoder, factor)
    return replace(arch, hidden=(*encoder, *decoder))


def layers_around(builder: NetworkBuilder, codes: int, between: list[Layer]) -> list[Layer]:
    """The encoder's stages, a dense layer of so many `codes`, what is `between`, the decoder's stages, the outputs."""
    half = len(builder.shapes) // 2
    encoder = [builder.stage(shape) for shape in builder.shapes[:half]]
    code = builder.linear(builder.shapes[half - 1].outputs, codes, rule=builder.head_rule, name="code")
    decoder = [builder.stage(shape) for shape in builder.shapes[half:]]
    stages = itertools.chain.from_iterable
    return [*stages(encoder), code, *between, *stages(decoder), builder.output()]


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The encoder, the linear code, the decoder and the outputs."""
    return layers_around(builder, builder.spec.latent, [])


FAMILY = Family(
    name="autoencoder",
    pattern=rf"autoencoder-{SIZES}",
    example="autoencoder-2x400 (encoder; the decoder mirrors it)",
    models={
        "autoencoder-2x400": "an encoder of 2 hidden layers of 400 units, a linear code (--latent), and a decoder "
        "alike; squared error (any DxW or list of widths works)"
    },
    parse=parse,
    shapes=shapes,
    layers=layers,
    abilities=HIDDEN_STAGES,
    neighbours=neighbours,
    scaled=scaled,
    task=RECONSTRUCTION_MSE,
    latent=30,
    protocol="modern",
)
