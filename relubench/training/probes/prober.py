"""Probes a population after each epoch, beside the training: the probes that its specification asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relubench.system.lookup import load_target
from relubench.training.probes.base import Probe, ProbeImages
from relubench.training.probes.table import probes_of

if TYPE_CHECKING:
    from relubench.training.network import Network


class Prober:
    """The probes of one population, and what has to be remembered from one epoch to the next."""

    def __init__(self, population: Network) -> None:
        self.population, self.images = population, ProbeImages(population)
        rows = probes_of(population.spec.probe).values()
        self.probes: list[Probe] = [
            load_target(row.target)(population, self.images) for row in rows if row.why_not(population.spec) is None
        ]

    @torch.no_grad()
    def probe(self, epoch: int) -> None:
        """Record what every member's layers do after `epoch` (0: before training), unless it has stopped before."""
        running = {
            place: member
            for place, member in enumerate(self.population.members)
            if not member.stopped or member.curve[-1].epoch == epoch
        }
        for probe in self.probes:
            probe.measure(epoch, running)

    def prepare(self) -> None:
        """Take what has to be known of the networks before anything is loaded into them."""
        for probe in self.probes:
            probe.prepare()

    def state(self) -> dict[str, Tensor]:
        """What the next measurements are compared with."""
        return {name: tensor for probe in self.probes for name, tensor in probe.state().items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        for probe in self.probes:
            probe.load(tensors)
