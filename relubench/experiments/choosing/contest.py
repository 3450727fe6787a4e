"""The contest of one data set and network: rates, then looks at more and more seeds, then the confirmation.

    search rates -> (train seeds -> look -> who is left)* -> the rest, with fresh seeds, on the test set, once

It can stop anywhere: the activations that are left are the answer of that moment, at the stated error rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from relubench.experiments.choosing.plan import SequentialPlan
from relubench.experiments.choosing.rates import chosen, open_search, search_rates
from relubench.experiments.choosing.trainings import Trainings
from relubench.statistics.error_rates import Difference, paired_difference
from relubench.statistics.sequential import Gaps, all_pairs, eliminate

CONFIRMATION_SEEDS = (2, 5)
"""The fewest and the most fresh seeds with which those that are left are trained again."""

Ended = Literal["settled", "looks", "budget"]
"""settled: one is left, or all that are left are within the margin; looks: none is left; budget: spent, or Ctrl-C."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Out:
    """Why an activation is out."""

    reason: Literal["worse", "worse on the test set", "failed"]
    seeds: int
    """After so many."""
    message: str = ""
    by: str = ""
    """The activation that beat it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedPair:
    """A difference of two activations on the validation data, first less second, with its interval at its look."""

    difference: float
    low: float
    high: float
    seeds: int


@dataclass(slots=True)
class Contest:
    """One data set and network; `run` goes as far as the budget does."""

    labels: Sequence[str]
    plan: SequentialPlan
    trainings: Trainings
    rates: dict[str, float] = field(default_factory=dict)
    remaining: list[str] = field(default_factory=list)
    out: dict[str, Out] = field(default_factory=dict)
    seeds: int = 0
    """Seeds of the last look."""
    gaps: Gaps | None = None
    gap_labels: list[str] = field(default_factory=list)
    """The activations of `gaps`, in its order."""
    pairs: dict[tuple[str, str], ComparedPair] = field(default_factory=dict)
    """By the look at which both were compared last."""
    confirmed: tuple[int, ...] = ()
    """The fresh seeds."""
    differences: dict[tuple[str, str], Difference] = field(default_factory=dict)
    """On the test set, of every two that are confirmed."""
    ended: Ended = "budget"

    def run(self) -> None:
        """Go through the contest, until it is settled or the budget is spent."""
        self.remaining = list(self.labels)
        search = open_search(self.trainings.config)
        try:
            search_rates(search, self.trainings, self.labels)
        finally:
            self.rates = dict(chosen(search, self.labels))
        if not search.complete:
            return
        for label in self.labels:
            if label not in self.rates:
                self._drop(label, Out(reason="failed", seeds=0, message="it trained at no learning rate of the grid"))
        for previous, seeds in pairwise((0, *self.plan.looks)):
            if self._is_settled():
                self.ended = "settled"
                break
            if not self._affords(seeds - previous) or not self._train(seeds):
                break
            self._look(seeds)
        else:
            self.ended = "settled" if self._is_settled() else "looks"
        if self.remaining and self.seeds and not self.trainings.interrupted:
            self._confirm()

    def _affords(self, more_seeds: int) -> bool:
        """Whether that many seeds more, and the fewest seeds of a confirmation, can be paid.

        The first look is worth its runs without a confirmation, and of a time it is always tried: what has ended by
        then is stored.
        """
        account, num_left = self.trainings.account, len(self.remaining)
        if self.seeds:
            return account.affords(num_left * (more_seeds + CONFIRMATION_SEEDS[0]))
        return account.budget.runs is None or account.affords(num_left * more_seeds)

    def _train(self, seeds: int) -> bool:
        return self.trainings.train({label: [self.rates[label]] for label in self.remaining}, range(seeds))

    def _look(self, seeds: int) -> None:
        """Compare those that are left; a run without a score takes its activation out."""
        self.seeds = seeds
        for label in list(self.remaining):
            if message := self.trainings.failure(label, self.rates[label], range(seeds)):
                self._drop(label, Out(reason="failed", seeds=seeds, message=message))
        if len(self.remaining) < 2:
            return
        labels = list(self.remaining)
        gaps = self.trainings.gaps({label: self.rates[label] for label in labels}, range(seeds))
        left = eliminate(np.ones(len(labels), dtype=bool), gaps, self.plan.schedule, self.plan.within)
        self.gaps, self.gap_labels = gaps, labels
        self._keep_pairs(labels, gaps)
        for place, label in enumerate(labels):
            if not left[place]:
                winner = labels[int(np.argmax(np.where(left, gaps.mean[place], -np.inf)))]
                self._drop(label, Out(reason="worse", seeds=seeds, by=winner))

    def _keep_pairs(self, labels: Sequence[str], gaps: Gaps) -> None:
        """The intervals of this look hold together with those of all looks and pairs, of as many as are compared."""
        half = gaps.half_width(self.plan.schedule.level(gaps.seeds, all_pairs(len(labels))))
        sign = 1.0 if self.trainings.task.lower_is_better else -1.0
        for i, first in enumerate(labels):
            for j, second in enumerate(labels):
                if i != j:
                    middle = sign * float(gaps.mean[i, j])
                    low, high = middle - float(half[i, j]), middle + float(half[i, j])
                    pair = ComparedPair(difference=middle, low=low, high=high, seeds=gaps.seeds)
                    self.pairs[first, second] = pair

    def scored_seeds(self, label: str) -> list[int]:
        """The seeds with a validation score at the activation's rate: those up to the last look.

        Before the first look, those that every activation has, be they of the search for rates, or its own.
        """
        if self.seeds:
            return [seed for seed in range(self.seeds) if self._has_score(label, seed)]
        seeds = sorted({seed for _, _, seed in self.trainings.results})
        shared = [seed for seed in seeds if all(self._has_score(rival, seed) for rival in self.labels)]
        return shared or [seed for seed in seeds if self._has_score(label, seed)]

    def _has_score(self, label: str, seed: int) -> bool:
        rate = self.rates.get(label)
        run = None if rate is None else self.trainings.result(label, rate, seed)
        return run is not None and run.valid_score is not None

    def _is_settled(self) -> bool:
        """Whether one is left, or none of those that are left is worse than another by more than the margin."""
        if len(self.remaining) < 2:
            return True
        if self.gaps is None or not self.plan.within:
            return False
        places = [self.gap_labels.index(label) for label in self.remaining]
        level = self.plan.schedule.level(self.gaps.seeds, all_pairs(len(places)))
        highest = (self.gaps.mean + self.gaps.half_width(level))[np.ix_(places, places)]
        return bool((highest[~np.eye(len(places), dtype=bool)] <= self.plan.within).all())

    def _confirm(self) -> None:
        """Train those that are left with fresh seeds, and compare them on the test set, once."""
        least, most = CONFIRMATION_SEEDS
        fresh = next((n for n in range(most, least - 1, -1) if self._affords_confirmation(n)), 0)
        seeds = range(self.plan.looks[-1], self.plan.looks[-1] + fresh)
        if not fresh or not self.trainings.train({label: [self.rates[label]] for label in self.remaining}, seeds):
            return
        for label in list(self.remaining):
            if message := self.trainings.failure(label, self.rates[label], seeds):
                self._drop(label, Out(reason="failed", seeds=len(seeds), message=message))
        self.confirmed = tuple(seeds)
        self._compare_on_test()

    def _affords_confirmation(self, num_seeds: int) -> bool:
        return self.trainings.account.affords(num_seeds * len(self.remaining))

    def _compare_on_test(self) -> None:
        masks = {label: self.trainings.masks_of(label, self.rates[label], self.confirmed) for label in self.remaining}
        # `paired_difference` has an error rate of 5 % for all of its comparisons.
        comparisons = round(all_pairs(len(masks)) * 0.05 / self.plan.confirmation_error_rate)
        for first in masks:
            for second in masks:
                if first != second:
                    self.differences[first, second] = paired_difference(masks[first], masks[second], comparisons)
        lower, within = self.trainings.task.lower_is_better, self.plan.within
        beaten_by = {
            label: [
                second
                for second in masks
                if second != label and _is_beyond(self.differences[label, second], lower, within)
            ]
            for label in masks
        }
        for label, winners in beaten_by.items():
            if winners:
                reason = "worse on the test set"
                self._drop(label, Out(reason=reason, seeds=len(self.confirmed), by=winners[0]))

    def _drop(self, label: str, out: Out) -> None:
        self.remaining.remove(label)
        self.out[label] = out


def _is_beyond(difference: Difference, lower_is_better: bool, within: float) -> bool:
    """Whether the first of the two is worse by more than the margin, beyond noise."""
    return difference.low > within if lower_is_better else difference.high < -within
