"""Which units are on for which class: how much the sets of active units of two images have in common.

A unit is on for an image where its output is not near zero: |h| above 1 % of the layer's root mean square, as the table
counts near zeros. Two images' sets have the Jaccard overlap |A and B| / |A or B|; its mean over pairs of one class, and
over pairs of two classes, is taken on the last hidden layer. Glorot et al. 2011, section 3, name this disentangling.

Shapes: P member, B images, U units. One network has P = 1 here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relubench.training.probes.base import Probe
from relubench.training.probes.dead_units import by_member, stage_places

if TYPE_CHECKING:
    from relubench.training.member import Member

OVERLAP_IMAGES = 500
"""The pairs of so many of the probe images are compared: 125,000."""
NEAR = 0.01
"""An output is near zero up to this part of the layer's root mean square."""


class OverlapProbe(Probe):
    """Measures, of each network, the overlap of active units within classes and between them."""

    def measure(self, epoch: int, running: Mapping[int, Member]) -> None:
        population = self.population
        x, labels = self.images.first(OVERLAP_IMAGES)
        h = x.expand(len(population.members), *x.shape) if population.batched else x
        for layer in population.layers[: stage_places(population.layers)[-1] + 1]:
            h = layer.forward(h, training=False)
        outputs_PBU = by_member(h).flatten(2)
        for place, member in running.items():
            within, between = class_overlaps(outputs_PBU[place], labels)
            member.measure("overlap_within_pct", epoch, 100 * within)
            member.measure("overlap_between_pct", epoch, 100 * between)


def class_overlaps(h_BU: Tensor, labels_B: Tensor) -> tuple[float, float]:
    """The mean Jaccard overlap of pairs of images of one class, and of pairs of two classes; nan without such pairs."""
    on_BU = (h_BU.abs() > NEAR * h_BU.square().mean().sqrt()).to(torch.float32)
    shared = on_BU @ on_BU.T
    sizes = on_BU.sum(1)
    either = sizes[:, None] + sizes[None, :] - shared
    # Two images for which nothing is on have no sets to compare.
    overlap, is_pair = shared / either.clamp_min(1), either > 0
    same = labels_B[:, None] == labels_B[None, :]
    pairs = torch.triu(torch.ones_like(same), diagonal=1) & is_pair
    return float(overlap[pairs & same].mean()), float(overlap[pairs & ~same].mean())
