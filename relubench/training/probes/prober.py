"""Looks at a population after each epoch, off the training path: what its hidden layers do on a fixed set of images.

The images are 2,000 of the training part (of a small one 4 %), the same for every network of a data set. A look changes
nothing that training goes on from: the same losses, to the bit, with and without.

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
from relubench.training.probes.activation_counts import SAMPLE_IMAGES, Counted, Tally, Traced, joined, thinned
from relubench.training.probes.confirmation import look_again
from relubench.training.probes.dead_units import Standing, by_member, judge, stage_places
from relubench.training.probes.gradients import GradientNorms, gradient_norms, update_ratios
from relubench.training.probes.linear_regions import count_pieces, linear_stages
from relubench.training.probes.slopes import SlopeScale, slope_scale, traced

if TYPE_CHECKING:
    from relubench.training.member import Member
    from relubench.training.network import Network

PROBE_IMAGES, PROBE_SHARE, LEAST_IMAGES = 2000, 1 / 25, 100
"""As many training images are looked at, or this share of a smaller set (but these), so that a look stays cheap."""
GRADIENT_IMAGES = 1000
"""Gradients are taken on the first of them, since a backward pass costs twice a forward one."""
SLICE_VALUES = 500_000
"""Pre-activations of the widest layer that are looked at at once: they stay in the cache."""
JOINED_VALUES = 50_000
"""Layers with up to so many outputs are counted together: a small layer's calls take longer than its numbers."""
LINES = 5
"""Lines along which linear pieces are counted, each between two of the probe images."""


class Prober:
    """The looks at one population, and what has to be remembered from one to the next."""

    def __init__(self, population: Network) -> None:
        spec = population.spec
        self.population, self.members = population, len(population.members)
        self.with_gradients = spec.probe in ("gradients", "all")
        self.with_regions = spec.probe in ("regions", "all") and why_no_regions(spec) is None
        order = torch.randperm(population.data.n_train, generator=stream(0, "probe"))
        images = min(PROBE_IMAGES, max(LEAST_IMAGES, int(PROBE_SHARE * len(order))))
        self.index = order[:images].to(spec.device)
        self.places = stage_places(population.layers)
        widest = max(hidden_units(architecture_of(spec), spec.input_shape))
        self.slice = max(SAMPLE_IMAGES, min(PROBE_IMAGES, SLICE_VALUES // (widest * self.members)))
        inputs = math.prod(spec.input_shape)
        small = images <= self.slice and images * inputs <= SLICE_VALUES
        self.kept = population.data.train_batch(self.index) if small else None
        """The images of a look, where gathering them again would take longer than they are large."""
        self.scale: SlopeScale | None = None
        self.dead: list[np.ndarray] = []
        """The dead units of each layer at the last look, bool [P, U]."""
        self.born_dead: list[np.ndarray] = []

    # -- one look ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def look(self, epoch: int) -> None:
        """Record what every member's layers do after `epoch` (0: before training), unless it has stopped before."""
        watched = [one for one in self.population.members if not one.stopped or one.curve[-1].epoch == epoch]
        counted, living = self._count()
        standings = judge(self.population.layers, living, self._scale.columns, self.population.stacked)
        norms, ratios = self._gradients() if self.with_gradients else ([], [])
        for place, member in enumerate(self.population.members):
            if member not in watched:
                continue
            for layer, standing in enumerate(standings):
                record = self._record(epoch, layer, place, counted[layer * self.members + place], standing)
                if norms:
                    record = _with_gradients(record, norms[layer], ratios[layer], place)
                member.probes.append(record)
            if self.with_regions:
                member.regions.append(RegionPoint(epoch=epoch, lines=self._regions(place)))
        self.dead = [one.dead for one in standings]
        self.born_dead = self.born_dead or [one.copy() for one in self.dead]
        if ended := [one for one in watched if _ends(one, epoch)]:
            self._confirm(ended, standings)

    def _record(self, epoch: int, layer: int, place: int, counted: Counted, standing: Standing) -> LayerProbe:
        dead = standing.dead[place]
        before = self.dead[layer][place] if self.dead else dead
        return LayerProbe(
            epoch=epoch,
            layer=layer + 1,
            units=len(dead),
            zeros_pct=counted.zeros_pct,
            near_zeros_pct=counted.near_pct,
            mean=_finite(counted.mean),
            variance=_finite(counted.variance),
            quantiles=[_finite(one) for one in counted.quantiles],
            saturated_pct=counted.saturated_pct,
            dead=int(np.count_nonzero(dead)),
            died=int(np.count_nonzero(dead & ~before)),
            revived=int(np.count_nonzero(before & ~dead)),
            cut_off=int(np.count_nonzero(standing.cut_off[place])),
            idle_columns=int(np.count_nonzero(standing.idle[place])),
        )

    def _count(self) -> tuple[list[Counted], list[np.ndarray]]:
        """What is counted on all of the images, layer by layer and of each the members; which columns had a slope."""
        tallies: list[Tally] = []
        for x, _ in self._slices():
            for number, layers in enumerate(self._together(x)):
                stage = joined(layers)
                if number == len(tallies):
                    tallies.append(Tally(stage))
                tallies[number].add(stage, self._scale)
        counted = [one for tally in tallies for one in tally.counted()]
        live = [tally.live.cpu().numpy() for tally in tallies]
        return counted, [one for rows in live for one in rows.reshape(-1, self.members, rows.shape[1])]

    def _together(self, x: Tensor) -> Iterator[list[Traced]]:
        """The hidden layers on the images x, small ones of one shape together."""
        layers: list[Traced] = []
        for one in self._layers(x):
            # In one slice only: the groups have to be the same in each.
            small = len(self.index) <= self.slice and one.h.numel() <= JOINED_VALUES
            if layers and not (small and one.h.shape == layers[-1].h.shape):
                yield layers
                layers = []
            layers.append(one)
        yield layers

    @property
    def _scale(self) -> SlopeScale:
        assert self.scale is not None
        return self.scale

    def _layers(self, x: Tensor) -> Iterator[Traced]:
        """Every hidden layer on the images x [B, ...], in evaluation mode."""
        population = self.population
        h = self._of_all(x)
        for layer in population.layers[: self.places[-1] + 1]:
            if not layer.hidden:
                h = layer.forward(h, training=False)
                continue
            self.scale = self.scale or slope_scale(layer, h.shape)
            # traced overwrites its z.
            z = thinned(by_member(h))
            h, trace = traced(layer, h)
            output = by_member(h)
            yield Traced(layer, z, output, output if trace is h else by_member(trace))

    def _of_all(self, x: Tensor) -> Tensor:
        """The images as every member sees them: in a stack [P, B, ...]."""
        return x.expand(self.members, *x.shape) if self.population.stacked else x

    def _slices(self, images: int = PROBE_IMAGES) -> Iterator[tuple[Tensor, Tensor]]:
        if self.kept is not None and images >= len(self.index):
            yield self.kept
            return
        for part in self.index[:images].split(self.slice):
            yield self.population.data.train_batch(part)

    def _gradients(self) -> tuple[list[GradientNorms], list[Tensor]]:
        norms = gradient_norms(self.population, self._slices(GRADIENT_IMAGES))
        step = self.population.data.train_batch(self.index[: self.population.spec.batch_size])
        return norms, update_ratios(self.population, *step)

    def _regions(self, place: int) -> list[int]:
        population = self.population
        stages = linear_stages(population.layers, population.spec.activation, place if population.stacked else None)
        x, _ = population.data.train_batch(self.index[: 2 * LINES])
        return [count_pieces(stages, a, b) for a, b in zip(x[0::2], x[1::2], strict=False)]

    # -- the end -----------------------------------------------------------------------------------------------------

    def _confirm(self, ended: Sequence[Member], standings: Sequence[Standing]) -> None:
        """The dead units of members that have ended, each candidate looked at with every training image."""
        population = self.population
        living = [torch.from_numpy(~one.idle).to(self.index.device) for one in standings]
        for x, _ in population.data.slices("train", self.slice):
            if not look_again(population.layers, living, self._of_all(x), self._scale.eps):
                break
        lived = [one.cpu().numpy() for one in living]
        final = judge(population.layers, lived, self._scale.columns, population.stacked)
        for place, member in enumerate(self.population.members):
            if member not in ended:
                continue
            for layer, (seen, true) in enumerate(zip(standings, final, strict=True)):
                member.dead_units.append(
                    DeadUnits(
                        layer=layer + 1,
                        units=true.dead.shape[1],
                        dead=int(np.count_nonzero(true.dead[place])),
                        candidates=int(np.count_nonzero(seen.dead[place])),
                        cut_off=int(np.count_nonzero(true.cut_off[place])),
                        born_dead=int(np.count_nonzero(self.born_dead[layer][place])),
                        eps=self._scale.eps,
                    )
                )

    # -- state -------------------------------------------------------------------------------------------------------

    def measure_scale(self) -> None:
        """Find the scale of slopes before anything is loaded: a module of somebody else's may have another later."""
        x, _ = next(iter(self._slices()))
        next(self._layers(x), None)

    def state(self) -> dict[str, Tensor]:
        """What the next look compares with."""
        kept = {"dead": self.dead, "born": self.born_dead}
        return {f"probe/{name}/{at}": torch.from_numpy(one) for name in kept for at, one in enumerate(kept[name])}

    def load(self, tensors: dict[str, Tensor]) -> None:
        def layers(name: str) -> list[np.ndarray]:
            found = [tensors.get(f"probe/{name}/{place}") for place in range(len(self.places))]
            return [one.cpu().numpy() for one in found if one is not None]

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
