"""Named random streams: every use of chance has a generator of its own, seeded by the member's seed and the role.

A stream depends on nothing else, not on the member's place in a population nor on what was drawn before, so networks
with the same seed see the same batches in the same order and start from the same draws whatever their activation.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from relubench.system.device_kinds import DEVICES, torch_module


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
        return torch.stack([generator.get_state() for generator in self.generators])

    def load(self, state: Tensor) -> None:
        for generator, generator_state in zip(self.generators, state, strict=True):
            generator.set_state(generator_state.clone())


class StandIn:
    """One network's own generators, of the processor and of its device, in the place of torch's global ones.

    For code of other people, which draws from those: what it draws depends on the member's seed alone.
    """

    def __init__(self, seed: int, role: str, *places: int, device: str) -> None:
        self.devices = ["cpu"] if DEVICES[device].is_processor else ["cpu", device]
        self.generators = [
            stream(seed, role, *places, number, device=device) for number, device in enumerate(self.devices)
        ]

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[None]:
        """Whatever draws from torch's global generators inside draws from these."""
        modules = [torch_module(device) for device in self.devices]
        aside = [module.get_rng_state() for module in modules]
        for module, generator in zip(modules, self.generators, strict=True):
            module.set_rng_state(generator.get_state())
        try:
            yield
            for module, generator in zip(modules, self.generators, strict=True):
                generator.set_state(module.get_rng_state())
        finally:
            for module, state in zip(modules, aside, strict=True):
                module.set_rng_state(state)


class ModuleNoise(MemberNoise):
    """Each member's stand-in for torch's global generators while its module of a user's own runs."""

    def __init__(self, seeds: Sequence[int], place: int, device: str) -> None:
        self.members = [StandIn(seed, "module", place, device=device) for seed in seeds]
        self.generators = [generator for stand_in in self.members for generator in stand_in.generators]

    def state(self) -> Tensor:
        return joined_states(self.generators)

    def load(self, state: Tensor) -> None:
        load_joined_states(self.generators, state)


def joined_states(generators: Sequence[torch.Generator]) -> Tensor:
    """The states of generators of different devices, which differ in size, in one row of bytes."""
    return torch.cat([generator.get_state() for generator in generators])


def load_joined_states(generators: Sequence[torch.Generator], state: Tensor) -> None:
    sizes = [len(generator.get_state()) for generator in generators]
    for generator, generator_state in zip(generators, state.split(sizes), strict=True):
        generator.set_state(generator_state.clone())
