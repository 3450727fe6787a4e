"""What the hidden layers of a population give out: zeros, moments, saturated outputs and dead units, by layer.

Shapes: P member, B batch, U units. One network has P = 1 here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from relubench.runs.result import DeadUnits, LayerProbe
from relubench.training.probes.activation_counts import (
    ActivationCounter,
    ActivationCounts,
    LayerTrace,
    join_layers,
    sample_pre_activations,
)
from relubench.training.probes.base import Probe, ProbeImages, finite
from relubench.training.probes.confirmation import confirm_dead_units
from relubench.training.probes.dead_units import UnitStatus, by_member, stage_places, unit_statuses
from relubench.training.probes.slopes import SlopeScale, output_and_trace, slope_scale

if TYPE_CHECKING:
    from relubench.training.member import Member
    from relubench.training.network import Network

JOINED_VALUES = 50_000
"""Layers with up to so many outputs are counted together: a small layer's calls take longer than its numbers."""


class ActivationProbe(Probe):
    """Counts what the hidden layers give out, and remembers which units were dead."""

    def __init__(self, population: Network, images: ProbeImages) -> None:
        super().__init__(population, images)
        self.members = len(population.members)
        self.places = stage_places(population.layers)
        self.scales: dict[int, SlopeScale] = {}
        """Of each activation of a mix; of others one."""
        self.dead: list[np.ndarray] = []
        """The dead units of each layer at the last probe, bool [P, U]."""
        self.born_dead: list[np.ndarray] = []

    def measure(self, epoch: int, running: Mapping[int, Member]) -> None:
        counts, with_slope = self._count()
        statuses = unit_statuses(self.population.layers, with_slope, self._columns, self.population.batched)
        for place, member in running.items():
            for layer, status in enumerate(statuses):
                counted = counts[layer * self.members + place]
                member.probes.append(self._record(epoch, layer, place, counted, status))
        self.dead = [status.dead for status in statuses]
        self.born_dead = self.born_dead or [units.copy() for units in self.dead]
        if ended := {place: member for place, member in running.items() if _ends(member, epoch)}:
            self._confirm(ended, statuses)

    def _record(self, epoch: int, layer: int, place: int, counts: ActivationCounts, status: UnitStatus) -> LayerProbe:
        dead = status.dead[place]
        before = self.dead[layer][place] if self.dead else dead
        return LayerProbe(
            epoch=epoch,
            layer=layer + 1,
            units=len(dead),
            zeros_pct=counts.zeros_pct,
            near_zeros_pct=counts.near_pct,
            mean=finite(counts.mean),
            variance=finite(counts.variance),
            quantiles=[finite(quantile) for quantile in counts.quantiles],
            saturated_pct=counts.saturated_pct,
            dead=int(np.count_nonzero(dead)),
            died=int(np.count_nonzero(dead & ~before)),
            revived=int(np.count_nonzero(before & ~dead)),
            cut_off=int(np.count_nonzero(status.cut_off[place])),
            idle_columns=int(np.count_nonzero(status.idle[place])),
        )

    def _count(self) -> tuple[list[ActivationCounts], list[np.ndarray]]:
        """The counts on all of the images, by layer and then by member; and, by layer, the columns that had a slope."""
        counters: list[ActivationCounter] = []
        for x, _ in self.images.slices():
            for number, layers in enumerate(self._groups_of_layers(x)):
                batch = join_layers(layers)
                if number == len(counters):
                    counters.append(ActivationCounter(batch))
                counters[number].add(batch, self.scales[layers[0].layer.kind])
        counts = [row for counter in counters for row in counter.counts()]
        with_slope = [counter.with_slope.cpu().numpy() for counter in counters]
        return counts, [layer for rows in with_slope for layer in rows.reshape(-1, self.members, rows.shape[1])]

    def _groups_of_layers(self, x: Tensor) -> Iterator[list[LayerTrace]]:
        """The hidden layers on the images x in groups that are counted together: small ones of one shape."""
        layers: list[LayerTrace] = []
        for layer in self._layers(x):
            # In one slice only: the groups have to be the same in each.
            small = len(self.images.index) <= self.images.slice and layer.h.numel() <= JOINED_VALUES
            alike = layers and layer.h.shape == layers[-1].h.shape and layer.layer.kind == layers[-1].layer.kind
            if layers and not (small and alike):
                yield layers
                layers = []
            layers.append(layer)
        yield layers

    @property
    def _columns(self) -> int:
        """Pre-activations of each unit."""
        return self.scales[0].inputs_per_unit

    def _layers(self, x: Tensor) -> Iterator[LayerTrace]:
        """Every hidden layer on the images x [B, ...], in evaluation mode."""
        population = self.population
        h = self._of_all(x)
        for layer in population.layers[: self.places[-1] + 1]:
            if not layer.hidden:
                h = layer.forward(h, training=False)
                continue
            if layer.kind not in self.scales:
                self.scales[layer.kind] = slope_scale(layer, h.shape)
            # output_and_trace overwrites its z.
            z = sample_pre_activations(by_member(h))
            h, trace = output_and_trace(layer, h)
            output = by_member(h)
            yield LayerTrace(layer, z, output, output if trace is h else by_member(trace))

    def _of_all(self, x: Tensor) -> Tensor:
        """The images with P in front where members are batched."""
        return x.expand(self.members, *x.shape) if self.population.batched else x

    def _confirm(self, ended: Mapping[int, Member], statuses: Sequence[UnitStatus]) -> None:
        """Record the dead units of members that have ended, each candidate confirmed on every training image."""
        population = self.population
        with_slope = [torch.from_numpy(~status.idle).to(self.images.index.device) for status in statuses]
        eps = [self.scales[population.layers[place].kind].eps for place in self.places]
        for x, _ in population.data.slices("train", self.images.slice):
            if not confirm_dead_units(population.layers, with_slope, self._of_all(x), eps):
                break
        confirmed = [columns.cpu().numpy() for columns in with_slope]
        final = unit_statuses(population.layers, confirmed, self._columns, population.batched)
        for place, member in ended.items():
            for layer, (probed, confirmed_status) in enumerate(zip(statuses, final, strict=True)):
                member.dead_units.append(
                    DeadUnits(
                        layer=layer + 1,
                        units=confirmed_status.dead.shape[1],
                        dead=int(np.count_nonzero(confirmed_status.dead[place])),
                        candidates=int(np.count_nonzero(probed.dead[place])),
                        cut_off=int(np.count_nonzero(confirmed_status.cut_off[place])),
                        born_dead=int(np.count_nonzero(self.born_dead[layer][place])),
                        eps=eps[layer],
                    )
                )

    def prepare(self) -> None:
        """Find the scales of slopes before anything is loaded: a user module may have another later."""
        x, _ = next(iter(self.images.slices()))
        num_kinds = len({self.population.layers[place].kind for place in self.places})
        for _ in self._layers(x):
            if len(self.scales) == num_kinds:
                break

    def state(self) -> dict[str, Tensor]:
        """What the next probe is compared with."""
        states = {"dead": self.dead, "born": self.born_dead}
        return {
            f"probe/{name}/{place}": torch.from_numpy(units)
            for name, layers in states.items()
            for place, units in enumerate(layers)
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state()`."""

        def layers(name: str) -> list[np.ndarray]:
            units = [tensors.get(f"probe/{name}/{place}") for place in range(len(self.places))]
            return [layer.cpu().numpy() for layer in units if layer is not None]

        self.dead, self.born_dead = layers("dead"), layers("born")


def _ends(member: Member, epoch: int) -> bool:
    """Whether the member has trained to its end, and to a finite one."""
    return member.stopped == "patience" or (not member.stopped and epoch == member.spec.epochs)
