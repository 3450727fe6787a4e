"""Vision Transformers: the blocks of `families.transformer` on patches of an image, without a mask. Torch-free.

As in Beyer, Zhai & Kolesnikov 2022 (Better plain ViT baselines for ImageNet-1k, arXiv 2205.01580): fixed positions of
sines and cosines, no class token, and the output layer reads the mean over all patches. A patch is the largest square
that leaves PATCHES of them or more along either side of the image; of a small image, half as many as it has pixels.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from relubench.errors import UsageError
from relubench.models.families.transformer import block_shapes, blocks, check_heads, neighbours, parse, stream_width
from relubench.models.family import (
    HIDDEN_STAGES,
    Architecture,
    Family,
    LayerShape,
    NetworkBuilder,
    abilities,
    needs_images,
)
from relubench.models.mixture import SUFFIX

if TYPE_CHECKING:
    from relubench.models.layers.base import Layer

PATCHES = 7
"""Patches along a side of an image, at least."""
LEAST_WIDTH = 4
"""A position is coded by a sine and a cosine for lines, and the same for columns."""


def parse_vit(match: re.Match[str]) -> Architecture:
    """The architecture of vit-LxD; raises UsageError for a depth or a width that cannot be."""
    arch = parse(match)
    if stream_width(arch) < LEAST_WIDTH:
        raise UsageError(f"{arch.name} has less than {LEAST_WIDTH} features", "for example --model vit-4x64")
    return arch


def patch_side(input_shape: tuple[int, ...]) -> int:
    """The side of a patch in pixels."""
    lines, columns = input_shape[-2:]
    least = min(PATCHES, max(1, min(lines, columns) // 2))
    fitting = (side for side in range(min(lines, columns), 0, -1) if lines % side == columns % side == 0)
    return next(side for side in fitting if min(lines, columns) // side >= least)


def shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """A stage for each block; the first has the linear layer that reads the patches."""
    side, width = patch_side(input_shape), stream_width(arch)
    rows = (input_shape[-2] // side) * (input_shape[-1] // side)
    values = input_shape[0] * side**2
    first, *later_blocks = block_shapes(arch, rows)
    reading = {
        "parameters": first.parameters + (values + 1) * width,
        "multiplications": first.multiplications + rows * values * width,
        "saved": first.saved + rows * (values + 2 * width),
    }
    return [replace(first, **reading), *later_blocks]


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The patches as rows of the stream, the blocks, the mean over an image's rows, and the output layer."""
    from relubench.models.layers.patches import MeanOverRows, Patches, Positions
    from relubench.models.layers.transformer import Attention

    spec, side = builder.spec, patch_side(builder.spec.input_shape)
    lines, columns = spec.input_shape[-2] // side, spec.input_shape[-1] // side
    width, rows = builder.shapes[-1].projected, lines * columns
    return [
        Patches(side),
        builder.linear(spec.input_shape[0] * side**2, width, rule="lecun", name="patches"),
        Positions(lines, columns, width),
        *blocks(builder, lambda: Attention(spec.heads, rows, None, causal=False)),
        MeanOverRows(rows),
        builder.output(),
    ]


FAMILY = Family(
    name="vit",
    pattern=r"vit-(\d{1,9})x(\d{1,9})" + SUFFIX,
    example="vit-4x64 (the same for images)",
    models={"vit-4x64": "4 blocks of 64 features on patches of an image (any depth and width works)"},
    parse=parse_vit,
    shapes=shapes,
    layers=layers,
    abilities=HIDDEN_STAGES - abilities("batched") | abilities("attention", "images"),
    neighbours=neighbours,
    check_heads=check_heads,
    protocol="transformer",
    check_input=needs_images,
)
