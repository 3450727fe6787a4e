"""Random crops and mirror images of a batch, on the device it lies on, in one gather.

Shape suffixes: P member, B batch, C channel, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch.nn.functional import pad

from relubench.models.random_streams import MemberNoise
from relubench.system import lookup

KINDS: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {"crop": (True, False), "flip": (False, True), "crop+flip": (True, True)}
)
"""Each kind: whether it crops, whether it mirrors."""


def augmented(x: torch.Tensor, kind: str, noise: MemberNoise | None, *, batched: bool) -> torch.Tensor:
    """Each member's images x [(P,) B, C, H, W], augmented from its own stream; x itself where there is no noise."""
    if noise is None:
        return x
    if not batched:
        return augment(x, kind, noise.generators[0])
    return torch.stack([augment(images, kind, own) for images, own in zip(x, noise.generators, strict=True)])


def augment(x_BCHW: torch.Tensor, kind: str, generator: torch.Generator) -> torch.Tensor:
    """A new batch in which each image is shifted ('crop'), mirrored left to right ('flip') or both ('crop+flip').

    A crop takes a random H x W window out of the image with H // 8 zeros (at least 1) around it: 4 for 32 pixels, as
    He et al. 2016 (arXiv:1512.03385, section 4.2) do for CIFAR-10; a mirror image is taken with probability 1/2.
    Randomness comes from `generator` alone, in the same draws for every shape of image. Raises UsageError.
    """
    crops, flips = lookup.find(kind, KINDS, kind="augmentation", see=f"one of {', '.join(KINDS)}")
    n, channels, height, width = x_BCHW.shape
    if not crops:
        return torch.where(_coin_flips(n, x_BCHW.device, generator)[:, None, None, None], x_BCHW.flip(3), x_BCHW)
    margin = max(1, height // 8)
    shift_2B = _random_integers((2, n), 2 * margin + 1, x_BCHW.device, generator)
    column_BW = torch.arange(width, device=x_BCHW.device).expand(n, width)
    if flips:
        mirrored = _coin_flips(n, x_BCHW.device, generator)[:, None]
        column_BW = torch.where(mirrored, width - 1 - column_BW, column_BW)
    column_BW = column_BW + shift_2B[1, :, None]
    row_BH = torch.arange(height, device=x_BCHW.device) + shift_2B[0, :, None]
    # One flat index for each pixel of one channel: cheaper than indexing by four broadcast tensors.
    flat_BP = (row_BH[:, :, None] * (width + 2 * margin) + column_BW[:, None, :]).reshape(n, 1, -1)
    padded_BCQ = pad(x_BCHW, (margin,) * 4).reshape(n, channels, -1)
    return padded_BCQ.gather(2, flat_BP.expand(n, channels, -1)).reshape(x_BCHW.shape)


def _random_integers(
    size: tuple[int, ...], high: int, device: torch.device, generator: torch.Generator
) -> torch.Tensor:
    # Drawn where the generator lives: a CPU generator gives the same images on every device.
    return torch.randint(high, size, generator=generator, device=generator.device).to(device)


def _coin_flips(n: int, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    return _random_integers((n,), 2, device, generator).bool()
