"""Probes a population after each epoch, beside the training: what its hidden layers do on a fixed set of images.

The images are 2,000 of the training part (of a small one 4 %), the same for every network of a data set. A probe
changes nothing that training goes on from: the losses are the same, to the bit, with and without.

Shapes: P member, B batch, U units. One network has P = 1 here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from relubench.models.architecture import architecture_of, hidden_units, why_no_regions
from relubench.models.random_streams import stream
from relubench.runs.result import DeadUnits, LayerProbe, RegionPoint
from relubench.training.probes.activation_counts import (
    SAMPLE_IMAGES,
    ActivationCounter,
    ActivationCounts,
    LayerTrace,
    join_layers,
    sample_pre_activations,
)
from relubench.training.probes.confirmation import confirm_dead_units
from relubench.training.probes.dead_units import UnitStatus, by_member, stage_places, unit_statuses
from relubench.training.probes.gradients import GradientNorms, gradient_norms, update_ratios
from relubench.training.probes.linear_regions import count_pieces, linear_stages
from relubench.training.probes.slopes import SlopeScale, output_and_trace, slope_scale

if TYPE_CHECKING:
    from relubench.training.member import Member
    from relubench.training.network import Network

PROBE_IMAGES, PROBE_SHARE, LEAST_IMAGES = 2000, 1 / 25, 100
"""A probe takes so many training images, or this share of a smaller set (but the least), so that it stays cheap."""
GRADIENT_IMAGES = 1000
"""Gradients are taken on the first of them, since a backward pass costs twice a forward one."""
SLICE_VALUES = 500_000
"""Pre-activations of the widest layer that are computed at once: they stay in the cache."""
JOINED_VALUES = 50_000
"""Layers with up to so many outputs are counted together: a small layer's calls take longer than its numbers."""
LINES = 5
"""Lines along which linear pieces are counted, each between two of the probe images."""


class Prober:
    """The probes of one population, and what has to be remembered from one to the next."""

    def __init__(self, population: Network) -> None:
        spec = population.spec
        self.population, self.members = population, len(population.members)
        self.with_gradients = spec.probe in ("gradients", "all")
        self.with_regions = spec.probe in ("regions", "all") and why_no_regions(spec) is None
        order = torch.randperm(population.data.n_train, generator=stream(0, "probe"))
        num_images = min(PROBE_IMAGES, max(LEAST_IMAGES, int(PROBE_SHARE * len(order))))
        self.index = order[:num_images].to(spec.device)
        self.places = stage_places(population.layers)
        widest = max(hidden_units(architecture_of(spec), spec.input_shape))
        self.slice = max(SAMPLE_IMAGES, min(PROBE_IMAGES, SLICE_VALUES // (widest * self.members)))
        inputs = math.prod(spec.input_shape)
        small = num_images <= self.slice and num_images * inputs <= SLICE_VALUES
        self.images = population.data.train_batch(self.index) if small else None
        """The images of a probe, where they are so few that they are gathered once only."""
        self.scale: SlopeScale | None = None
        self.dead: list[np.ndarray] = []
        """The dead units of each layer at the last probe, bool [P, U]."""
        self.born_dead: list[np.ndarray] = []

    # -- one probe ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def probe(self, epoch: int) -> None:
        """Record what every member's layers do after `epoch` (0: before training), unless it has stopped before."""
        running = [
            member for member in self.population.members if not member.stopped or member.curve[-1].epoch == epoch
        ]
        counts, with_slope = self._count()
        statuses = unit_statuses(
            self.population.layers, with_slope, self._scale.inputs_per_unit, self.population.batched
        )
        norms, ratios = self._gradients() if self.with_gradients else ([], [])
        for place, member in enumerate(self.population.members):
            if member not in running:
                continue
            for layer, status in enumerate(statuses):
                record = self._record(epoch, layer, place, counts[layer * self.members + place], status)
                if norms:
                    record = _with_gradients(record, norms[layer], ratios[layer], place)
                member.probes.append(record)
            if self.with_regions:
                member.regions.append(RegionPoint(epoch=epoch, lines=self._regions(place)))
        self.dead = [status.dead for status in statuses]
        self.born_dead = self.born_dead or [units.copy() for units in self.dead]
        if ended_members := [member for member in running if _ends(member, epoch)]:
            self._confirm(ended_members, statuses)

    def _record(self, epoch: int, layer: int, place: int, counts: ActivationCounts, status: UnitStatus) -> LayerProbe:
        dead = status.dead[place]
        before = self.dead[layer][place] if self.dead else dead
        return LayerProbe(
            epoch=epoch,
            layer=layer + 1,
            units=len(dead),
            zeros_pct=counts.zeros_pct,
            near_zeros_pct=counts.near_pct,
            mean=_finite(counts.mean),
            variance=_finite(counts.variance),
            quantiles=[_finite(quantile) for quantile in counts.quantiles],
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
        for x, _ in self._slices():
            for number, layers in enumerate(self._groups_of_layers(x)):
                batch = join_layers(layers)
                if number == len(counters):
                    counters.append(ActivationCounter(batch))
                counters[number].add(batch, self._scale)
        counts = [row for counter in counters for row in counter.counts()]
        with_slope = [counter.with_slope.cpu().numpy() for counter in counters]
        return counts, [layer for rows in with_slope for layer in rows.reshape(-1, self.members, rows.shape[1])]

    def _groups_of_layers(self, x: Tensor) -> Iterator[list[LayerTrace]]:
        """The hidden layers on the images x in groups that are counted together: small ones of one shape."""
        layers: list[LayerTrace] = []
        for layer in self._layers(x):
            # In one slice only: the groups have to be the same in each.
            small = len(self.index) <= self.slice and layer.h.numel() <= JOINED_VALUES
            if layers and not (small and layer.h.shape == layers[-1].h.shape):
                yield layers
                layers = []
            layers.append(layer)
        yield layers

    @property
    def _scale(self) -> SlopeScale:
        assert self.scale is not None
        return self.scale

    def _layers(self, x: Tensor) -> Iterator[LayerTrace]:
        """Every hidden layer on the images x [B, ...], in evaluation mode."""
        population = self.population
        h = self._of_all(x)
        for layer in population.layers[: self.places[-1] + 1]:
            if not layer.hidden:
                h = layer.forward(h, training=False)
                continue
            self.scale = self.scale or slope_scale(layer, h.shape)
            # output_and_trace overwrites its z.
            z = sample_pre_activations(by_member(h))
            h, trace = output_and_trace(layer, h)
            output = by_member(h)
            yield LayerTrace(layer, z, output, output if trace is h else by_member(trace))

    def _of_all(self, x: Tensor) -> Tensor:
        """The images with P in front where members are batched."""
        return x.expand(self.members, *x.shape) if self.population.batched else x

    def _slices(self, images: int = PROBE_IMAGES) -> Iterator[tuple[Tensor, Tensor]]:
        if self.images is not None and images >= len(self.index):
            yield self.images
            return
        for part in self.index[:images].split(self.slice):
            yield self.population.data.train_batch(part)

    def _gradients(self) -> tuple[list[GradientNorms], list[Tensor]]:
        norms = gradient_norms(self.population, self._slices(GRADIENT_IMAGES))
        step = self.population.data.train_batch(self.index[: self.population.spec.batch_size])
        return norms, update_ratios(self.population, *step)

    def _regions(self, place: int) -> list[int]:
        population = self.population
        stages = linear_stages(population.layers, population.spec.activation, place if population.batched else None)
        x, _ = population.data.train_batch(self.index[: 2 * LINES])
        return [count_pieces(stages, a, b) for a, b in zip(x[0::2], x[1::2], strict=False)]

    # -- the end -----------------------------------------------------------------------------------------------------

    def _confirm(self, ended_members: Sequence[Member], statuses: Sequence[UnitStatus]) -> None:
        """Record the dead units of members that have ended, each candidate confirmed on every training image."""
        population = self.population
        with_slope = [torch.from_numpy(~status.idle).to(self.index.device) for status in statuses]
        for x, _ in population.data.slices("train", self.slice):
            if not confirm_dead_units(population.layers, with_slope, self._of_all(x), self._scale.eps):
                break
        confirmed = [columns.cpu().numpy() for columns in with_slope]
        final = unit_statuses(population.layers, confirmed, self._scale.inputs_per_unit, population.batched)
        for place, member in enumerate(self.population.members):
            if member not in ended_members:
                continue
            for layer, (probed, confirmed_status) in enumerate(zip(statuses, final, strict=True)):
                member.dead_units.append(
                    DeadUnits(
                        layer=layer + 1,
                        units=confirmed_status.dead.shape[1],
                        dead=int(np.count_nonzero(confirmed_status.dead[place])),
                        candidates=int(np.count_nonzero(probed.dead[place])),
                        cut_off=int(np.count_nonzero(confirmed_status.cut_off[place])),
                        born_dead=int(np.count_nonzero(self.born_dead[layer][place])),
                        eps=self._scale.eps,
                    )
                )

    # -- state -------------------------------------------------------------------------------------------------------

    def measure_scale(self) -> None:
        """Find the scale of slopes before anything is loaded: a user module may have another later."""
        x, _ = next(iter(self._slices()))
        next(self._layers(x), None)

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


def _with_gradients(record: LayerProbe, norms: GradientNorms, ratios: Tensor, place: int) -> LayerProbe:
    return replace(
        record,
        weight_gradient=_finite(float(norms.weight[place])),
        activation_gradient=_finite(float(norms.activation[place])),
        update_ratio=_finite(float(ratios[place])),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
