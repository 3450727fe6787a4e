"""Decoder-only Transformers: L blocks of causal attention and a feed-forward network of 4 D units. Torch-free.

A block adds to a stream of D features at each character: first what its attention gives (rotary positions, Su et al.
2021, arXiv 2104.09864), then what its feed-forward network gives, whose hidden units have the activation. Either reads
the stream behind a norm of its own (pre-norm), and the output layer behind one more. A gated activation (Shazeer 2020,
arXiv 2002.05202) narrows the feed-forward networks to equal parameters, as everywhere.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

from relubench.errors import UsageError
from relubench.models.family import (
    HIDDEN_STAGES,
    MAX_DEPTH,
    Architecture,
    Family,
    LayerShape,
    NetworkBuilder,
    abilities,
)
from relubench.models.norm_table import NORMS
from relubench.system.lookup import load_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from relubench.models.layers.base import Layer

MAX_WIDTH = 16_384
FFN = 4
"""Hidden units of a feed-forward network for each feature of the stream."""
HEAD_WIDTH = 32
"""Features of a head, about, unless --heads says otherwise."""
EMBEDDING_SCALE = 0.1
"""Standard deviation of the embedding's initial weights."""
CHARACTERS = 256
"""Inputs that there are: the bytes."""


def parse(match: re.Match[str]) -> Architecture:
    """The architecture of transformer-LxD; raises UsageError for a depth or a width that cannot be."""
    depth, width = int(match[1]), int(match[2])
    if not (1 <= depth <= MAX_DEPTH and 2 <= width <= MAX_WIDTH and width % 2 == 0):
        raise UsageError(
            f"a Transformer has 1 to {MAX_DEPTH} blocks of an even number of features up to {MAX_WIDTH}, "
            f"got {match[0]}",
            "for example --model transformer-4x128",
        )
    return Architecture(name=match[0], hidden=(FFN * width,) * depth, heads=default_heads(width))


def default_heads(width: int) -> int:
    """The largest number of heads that divides the features into heads of HEAD_WIDTH or more, of an even width."""
    fitting = (heads for heads in range(max(1, width // HEAD_WIDTH), 0, -1) if width % heads == 0)
    return next(heads for heads in fitting if width // heads % 2 == 0)


def check_heads(arch: Architecture, heads: int) -> None:
    """Raises UsageError unless the heads divide the features evenly; rotary positions turn pairs of features."""
    width = stream_width(arch)
    if width % heads or width // heads % 2:
        possible = [str(count) for count in range(1, width + 1) if width % count == 0 and width // count % 2 == 0]
        raise UsageError(
            f"--heads {heads} does not divide the {width} features of {arch.name} into heads of an even width",
            f"possible are {', '.join(possible)}",
        )


def stream_width(arch: Architecture) -> int:
    """The features of the stream, which the name says: the feed-forward networks are narrowed for gated activations."""
    return int(arch.name.rpartition("x")[2])


def shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """A stage for each block, whose hidden units are those of its feed-forward network."""
    (context,) = input_shape
    first, *later_blocks = block_shapes(arch, context)
    return [replace(first, parameters=first.parameters + CHARACTERS * stream_width(arch)), *later_blocks]


def block_shapes(arch: Architecture, rows: int) -> list[LayerShape]:
    """The stages of the blocks, for examples that are so many rows of the stream; the last norm is the last one's."""
    width, depth = stream_width(arch), len(arch.hidden)
    return [
        LayerShape(
            inputs=width,
            units=units,
            image=(rows, 1),
            parameters=4 * width**2 + 4 * width + (units + 1) * width,
            # A query meets every key, also of those after it: attention is computed in blocks.
            multiplications=rows * (4 * width**2 + units * width + 2 * rows * width),
            saved=rows * SAVED * width,
            projected=width,
            normalised=(3 if number == depth else 2) * width,
        )
        for number, units in enumerate(arch.hidden, start=1)
    ]


SAVED = 22
"""Values that training keeps for each feature of the stream at each character of a block, beside what a stage always
counts: of two norms 4, queries, keys and values with their gradients 6, outputs and gradients of two more dense layers
and the attention 6, two sums 2; and 4 for storage that is freed and taken again."""


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The embedding, the blocks, the last norm and the output layer."""
    from relubench.models.layers.transformer import Attention, Embedding, Rotation

    spec = builder.spec
    width, (context,) = builder.shapes[-1].projected, spec.input_shape
    rotation = Rotation(width // spec.heads, context)
    embedding = Embedding(builder.parameter("embedding", _embedding(width)))
    return [
        embedding,
        *blocks(builder, lambda: Attention(spec.heads, context, rotation, causal=True)),
        builder.output(),
    ]


def blocks(builder: NetworkBuilder, attention: Callable[[], Layer]) -> list[Layer]:
    """The blocks on rows of the stream, each with an attention of its own, and the last norm."""
    from relubench.models.layers.residual import Fork
    from relubench.models.layers.transformer import StreamSum

    width = builder.shapes[-1].projected
    # What 2 L blocks add to the stream is scaled so that it does not grow with the depth (Radford et al. 2019).
    onto_stream = 1.0 / sqrt(2 * len(builder.shapes))
    layers: list[Layer] = []
    for shape in builder.shapes:
        first, second = Fork(), Fork()
        norms = [_norm(builder, name, width) for name in ("attention", "ffn")]
        projection = builder.linear(shape.units, width, rule="auto", gain=onto_stream, name="down")
        layers += [
            *(first, *norms[0]),
            builder.linear(width, 3 * width, rule="lecun", name="qkv"),
            attention(),
            builder.linear(width, width, rule="auto", gain=onto_stream, name="out"),
            StreamSum(first),
            *(second, *norms[1]),
            *builder.stage(shape, normalised=False),
            *(projection, StreamSum(second)),
        ]
    return [*layers, *_norm(builder, "last", width)]


def _embedding(width: int) -> Callable[[int], Tensor]:
    """Draws the rows of the characters for a seed, N(0, EMBEDDING_SCALE^2)."""
    import torch

    from relubench.models.random_streams import stream

    def weights(seed: int) -> Tensor:
        return torch.empty(CHARACTERS, width).normal_(generator=stream(seed, "embedding-init")).mul_(EMBEDDING_SCALE)

    return weights


def _norm(builder: NetworkBuilder, name: str, width: int) -> list[Layer]:
    """The norm in front of a layer, with its own parameters; none where the run has none."""
    import torch

    row = NORMS[builder.spec.norm]
    if not row.stream_target:
        return []
    parameters = [
        builder.parameter(f"{name}-{parameter}", lambda _, value=value: torch.full((width,), value))
        for parameter, value in row.parameters
    ]
    return [load_target(row.stream_target)(parameters)]


FAMILY = Family(
    name="transformer",
    pattern=r"transformer-(\d{1,9})x(\d{1,9})",
    example="transformer-4x128 (any depth and width, for texts)",
    models={
        "transformer-2x64": "2 blocks of 64 features: the default for texts (any depth and width works)",
        "transformer-4x128": "4 blocks of 128 features, with 512 hidden units in each feed-forward network",
    },
    parse=parse,
    shapes=shapes,
    layers=layers,
    abilities=HIDDEN_STAGES - abilities("batched") | abilities("attention", "text"),
    check_heads=check_heads,
    protocol="transformer",
)
