"""What every probe has: the population, and the images that it looks at.

The images are 2,000 of the training part (of a small one 4 %), the same for every network of a data set. A probe
changes nothing that training goes on from: the losses are the same, to the bit, with and without.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from relubench.models.architecture import architecture_of, hidden_units
from relubench.training.probes.activation_counts import SAMPLE_IMAGES

if TYPE_CHECKING:
    from relubench.training.member import Member
    from relubench.training.network import Network

PROBE_IMAGES, PROBE_SHARE, LEAST_IMAGES = 2000, 1 / 25, 100
"""A probe takes so many training images, or this share of a smaller set (but the least), so that it stays cheap."""
SLICE_VALUES = 500_000
"""Pre-activations of the widest layer that are computed at once: they stay in the cache."""


class ProbeImages:
    """The images that the probes of a population look at, by their index in the training part, in slices."""

    def __init__(self, population: Network) -> None:
        spec, self.data = population.spec, population.data
        order = self.data.probe_order()
        num_images = min(PROBE_IMAGES, max(LEAST_IMAGES, int(PROBE_SHARE * len(order))))
        self.index = order[:num_images].to(spec.device)
        widest = max(hidden_units(architecture_of(spec), spec.input_shape))
        least = -(-SAMPLE_IMAGES // self.data.places)
        self.slice = max(least, min(PROBE_IMAGES, SLICE_VALUES // (widest * len(population.members))))
        inputs = math.prod(spec.input_shape)
        small = num_images <= self.slice and num_images * inputs <= SLICE_VALUES
        self.images = self.data.train_batch(self.index) if small else None
        """The images of a probe, where they are so few that they are gathered once only."""

    def slices(self, images: int = PROBE_IMAGES) -> Iterator[tuple[Tensor, Tensor]]:
        """The first of the images and their labels, in slices."""
        if self.images is not None and images >= len(self.index):
            yield self.images
            return
        for part in self.index[:images].split(self.slice):
            yield self.data.train_batch(part)

    def first(self, images: int) -> tuple[Tensor, Tensor]:
        """So many of the images and their labels, at once."""
        return self.data.train_batch(self.index[:images])


class Probe(ABC):
    """Measures the networks of a population after each epoch, and records it with its members."""

    def __init__(self, population: Network, images: ProbeImages) -> None:
        self.population, self.images = population, images

    @abstractmethod
    def measure(self, epoch: int, running: Mapping[int, Member]) -> None:
        """Record what members do after `epoch` (0: before training); `running`: place -> member, those to record."""

    def prepare(self) -> None:
        """Take what has to be known of the networks before anything is loaded into them."""
        return

    def state(self) -> dict[str, Tensor]:
        """What the next measurement is compared with."""
        return {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        return


def finite(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return value if math.isfinite(value) else None
