"""How many of its experts a mixture uses: from the rows that its routers send to each of them.

With the shares s of a block's choices, `experts_used_pct` is exp(-sum s ln s) / E: 100 % where all E are chosen alike,
and K / E where the same K are chosen for every row. `busiest_expert_pct` is the largest share, of one that has
100 / E % if all are chosen alike. Both are means over the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from relubench.models.layers.experts import Router
from relubench.training.probes.base import Probe

if TYPE_CHECKING:
    from relubench.training.member import Member


class ExpertProbe(Probe):
    """Measures the share of experts used, and that of the busiest one."""

    def measure(self, epoch: int, running: Mapping[int, Member]) -> None:
        layers = self.population.layers
        routers = [layer for layer in layers if isinstance(layer, Router)]
        counts = np.zeros((len(routers), len(routers[0].weight.value)))
        for x, _ in self.images.slices():
            h = x
            for layer in layers[: layers.index(routers[-1]) + 1]:
                h = layer.forward(h, training=False)
            counts += [router.counts for router in routers]
        used, busiest = np.mean([used_and_busiest(row) for row in counts], axis=0)
        for member in running.values():
            member.measure("experts_used_pct", epoch, float(used))
            member.measure("busiest_expert_pct", epoch, float(busiest))


def used_and_busiest(counts: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The share of experts used and that of the busiest, in percent, from the rows of each."""
    shares = np.asarray(counts, dtype=float) / np.sum(counts)
    entropy = -sum(share * np.log(share) for share in shares if share)
    return 100 * float(np.exp(entropy)) / len(shares), 100 * float(shares.max())
