"""What more budget would change: at how many seeds a difference like the observed one would take an activation out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relubench.experiments.choosing.contest import Contest
from relubench.statistics.sequential import Gaps, all_pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class Projection:
    """An activation that is left beside the best, and when it would be out if its difference stayed as it is."""

    activation: str
    seeds: int | None
    """In all; None where no planned look is enough."""


def project(contest: Contest) -> list[Projection]:
    """A projection for each activation that is left but the one with the best validation score."""
    if contest.gaps is None or len(contest.remaining) < 2:
        return []
    places = [contest.gap_labels.index(label) for label in contest.remaining]
    means = contest.gaps.mean[np.ix_(places, places)]
    leader = int(np.argmin(means.sum(axis=1)))
    return [
        Projection(activation=label, seeds=_seeds_to_decide(contest, contest.gaps, places[index], places[leader]))
        for index, label in enumerate(contest.remaining)
        if index != leader
    ]


def _seeds_to_decide(contest: Contest, gaps: Gaps, place: int, leader: int) -> int | None:
    looks, comparisons = contest.plan.schedule, all_pairs(len(contest.remaining))
    for seeds in looks.seeds:
        if seeds <= gaps.seeds:
            continue
        if gaps.of_seeds(seeds).is_worse(looks.level(seeds, comparisons), contest.plan.within)[place, leader]:
            return seeds
    return None
