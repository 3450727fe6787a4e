"""Named random streams: every use of chance has a generator of its own, seeded by the member's seed and the role.

A stream depends on nothing else, not on the member's place in a population nor on what was drawn before, so networks
with the same seed see the same batches in the same order and start from the same draws whatever their activation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def stream_seed(seed: int, role: str, *places: int) -> int:
    """The 63-bit seed of the stream `role` at `places` (layer, epoch) of the member with `seed`."""
    text = ":".join(["relubench", str(seed), role, *map(str, places)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, role: str, *places: int, device: str = "cpu") -> torch.Generator:
    """A fresh generator of that stream, on `device`."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, role, *places))


def epoch_order(seed: int, epoch: int, examples: int) -> Tensor:
    """The order [examples] in which the member sees its training images in this epoch (drawn on the processor)."""
    return torch.randperm(examples, generator=stream(seed, "order", epoch))


class MemberNoise:
    """One generator a member and role, for what is drawn at every step (dropout, noisy units, augmentation)."""

    def __init__(self, seeds: Sequence[int], role: str, place: int, device: str) -> None:
        self.generators = [stream(seed, role, place, device=device) for seed in seeds]

    def state(self) -> Tensor:
        """The generators' states [members, bytes]."""
        return torch.stack([one.get_state() for one in self.generators])

    def load(self, state: Tensor) -> None:
        for generator, one in zip(self.generators, state, strict=True):
            generator.set_state(one.clone())
