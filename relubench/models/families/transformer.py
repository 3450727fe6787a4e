"""Decoder-only Transformers: L blocks of causal attention and a feed-forward network of 4 D units. Torch-free.

A block adds to a stream of D features at each character: first what its attention gives (rotary positions, Su et al.
2021, arXiv 2104.09864), then what its feed-forward network gives, whose hidden units have the activation. Either reads
the stream behind a norm of its own (pre-norm), and the output layer behind one more. A gated activation (Shazeer 2020,
arXiv 2002.05202) narrows the feed-forward networks to equal parameters, as everywhere.

`-moe-8x2` at the end of the name, or `--ffn moe-8x2`: in each block stand eight feed-forward networks of 4 D / 2 units,
each a hidden stage of its own, and two of them work on each character. So there are four times the parameters, at as
many multiplications as without (and those of the router).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
from relubench.models.mixture import PLAIN, SUFFIX, checked_mixture, mixture_of
from relubench.models.norm_table import NORMS
from relubench.system.lookup import load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    mixture = checked_mixture(match[0], int(match[3]), int(match[4]), FFN * width) if match[3] else PLAIN
    hidden = (FFN * width // mixture.chosen,) * (depth * mixture.experts)
    return Architecture(name=match[0], hidden=hidden, heads=default_heads(width))


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
    return int(arch.name.partition("-moe-")[0].rpartition("x")[2])


def neighbours(arch: Architecture) -> Iterator[Architecture]:
    """The architectures with one unit more or less in a block's first expert, or in each of them."""
    experts = mixture_of(arch.name).experts
    for step in (-1, 1):
        for begin in range(0, len(arch.hidden), experts):
            for end in sorted({begin + 1, begin + experts}):
                changed = tuple(max(1, units + step) for units in arch.hidden[begin:end])
                yield replace(arch, hidden=(*arch.hidden[:begin], *changed, *arch.hidden[end:]))


def shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """A stage for each block, whose hidden units are those of its feed-forward network."""
    (context,) = input_shape
    first, *later_blocks = block_shapes(arch, context)
    return [replace(first, parameters=first.parameters + CHARACTERS * stream_width(arch)), *later_blocks]


def block_shapes(arch: Architecture, rows: int) -> list[LayerShape]:
    """The stages of the blocks, for examples that are so many rows of the stream; the last norm is the last block's."""
    width, mixture = stream_width(arch), mixture_of(arch.name)
    own_rows, last_block = mixture.rows(rows), len(arch.hidden) - mixture.experts
    router = width * mixture.experts if mixture is not PLAIN else 0
    shapes = []
    for number, units in enumerate(arch.hidden):
        expert = LayerShape(
            inputs=width,
            units=units,
            image=(own_rows, 1),
            parameters=(units + 1) * width,
            multiplications=own_rows * units * width,
            saved=own_rows * SAVED_BY_EXPERT * width,
            projected=width,
            normalised=0,
        )
        if number % mixture.experts:
            shapes.append(expert)
            continue
        with_attention = replace(
            expert,
            parameters=expert.parameters + 4 * width**2 + 4 * width + router,
            # A query meets every key, also of those after it: attention is computed in blocks.
            multiplications=expert.multiplications + rows * (4 * width**2 + 2 * rows * width + router),
            saved=rows * SAVED * width,
            normalised=(3 if number == last_block else 2) * width,
        )
        shapes.append(with_attention)
    return shapes


SAVED = 22
"""Values that training keeps for each feature of the stream at each character of a block, beside what a stage always
counts: of two norms 4, queries, keys and values with their gradients 6, outputs and gradients of two more dense layers
and the attention 6, two sums 2; and 4 for storage that is freed and taken again."""
SAVED_BY_EXPERT = 6
"""The same of another expert, at each of its own rows: outputs, weighted outputs and gradients of its last layer 4, and
2 for storage that is freed and taken again."""


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

    width, experts = builder.shapes[-1].projected, mixture_of(builder.spec.model).experts
    # What 2 L blocks add to the stream is scaled so that it does not grow with the depth (Radford et al. 2019).
    onto_stream = 1.0 / sqrt(2 * len(builder.shapes) / experts)
    layers: list[Layer] = []
    for begin in range(0, len(builder.shapes), experts):
        first, second = Fork(), Fork()
        norms = [_norm(builder, name, width) for name in ("attention", "ffn")]
        layers += [
            *(first, *norms[0]),
            builder.linear(width, 3 * width, rule="lecun", name="qkv"),
            attention(),
            builder.linear(width, width, rule="auto", gain=onto_stream, name="out"),
            StreamSum(first),
            *(second, *norms[1]),
            *_feed_forward(builder, builder.shapes[begin : begin + experts], onto_stream),
            StreamSum(second),
        ]
    return [*layers, *_norm(builder, "last", width)]


def _feed_forward(builder: NetworkBuilder, shapes: Sequence[LayerShape], onto_stream: float) -> list[Layer]:
    """The feed-forward network of a block, or its experts behind their router."""
    if len(shapes) == 1:
        return _expert(builder, shapes[0], onto_stream)
    from relubench.models.layers.experts import Put, Router, Take

    spec, width = builder.spec, shapes[0].inputs
    weight = builder.parameter("router-weight", _router_weights(len(shapes), width, builder.place), decays=True)
    router = Router(weight, mixture_of(spec.model).chosen, spec.balance)
    layers: list[Layer] = [router]
    for number, shape in enumerate(shapes):
        layers += [Take(router, number), *_expert(builder, shape, onto_stream), Put(router, number)]
    return layers


def _expert(builder: NetworkBuilder, shape: LayerShape, onto_stream: float) -> list[Layer]:
    """One feed-forward network."""
    projection = builder.linear(shape.units, shape.projected, rule="auto", gain=onto_stream, name="down")
    return [*builder.stage(shape, normalised=False), projection]


def _router_weights(experts: int, width: int, place: int) -> Callable[[int], Tensor]:
    """Draws a router's rows for a seed, N(0, 1/D): probabilities differ from the first step on."""
    import torch

    from relubench.models.random_streams import stream

    def weights(seed: int) -> Tensor:
        generator = stream(seed, "router-init", place)
        return torch.empty(experts, width).normal_(generator=generator).mul_(width**-0.5)

    return weights


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
    pattern=r"transformer-(\d{1,9})x(\d{1,9})" + SUFFIX,
    example="transformer-4x128 (any depth and width, for texts)",
    models={
        "transformer-2x64": "2 blocks of 64 features: the default for texts (any depth and width works)",
        "transformer-4x128": "4 blocks of 128 features, with 512 hidden units in each feed-forward network",
    },
    parse=parse,
    shapes=shapes,
    layers=layers,
    abilities=HIDDEN_STAGES - abilities("batched") | abilities("attention", "text"),
    neighbours=neighbours,
    check_heads=check_heads,
    protocol="transformer",
)
