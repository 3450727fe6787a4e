"""The contest of one data set and network: who is out at which look, and what the confirmation says.

    begin (rates) -> look at more and more seeds -> confirm the rest, with fresh seeds, on the test set, once

It decides from the runs that there are, and trains nothing (`course` does): so a contest that was recorded is decided
again in the same way. Wherever it stops, the activations that are left are the answer, at the stated error rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from relubench.experiments.choosing.outcomes import Outcomes
from relubench.experiments.choosing.plan import SequentialPlan
from relubench.experiments.choosing.rates import RateSearch, chosen
from relubench.statistics.error_rates import Difference, paired_difference
from relubench.statistics.sequential import Gaps, all_pairs, can_change, eliminate

Ended = Literal["settled", "out of reach", "looks", "budget"]
"""settled: one is left, or all that are left are within the margin; out of reach: the last look could tell nobody apart
any more; looks: it was made; budget: spent, or Ctrl-C."""


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
    """One data set and network, as far as it has come."""

    labels: Sequence[str]
    plan: SequentialPlan
    outcomes: Outcomes
    search: RateSearch
    rates: dict[str, float] = field(default_factory=dict)
    remaining: list[str] = field(init=False)
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

    def __post_init__(self) -> None:
        self.remaining = list(self.labels)

    def begin(self) -> None:
        """Take the rates that the search has found; what trained at none of them is out, once it has ended."""
        self.rates = dict(chosen(self.search, self.labels))
        if not self.search.complete:
            return
        for label in self.labels:
            if label not in self.rates:
                self._drop(label, Out(reason="failed", seeds=0, message="it trained at no learning rate of the grid"))
        self.ended = self._ending()

    def look(self, seeds: int) -> None:
        """Compare those that are left; a run without a score takes its activation out."""
        self.seeds = seeds
        for label in list(self.remaining):
            if message := self.outcomes.failure(label, self.rates[label], range(seeds)):
                self._drop(label, Out(reason="failed", seeds=seeds, message=message))
        if len(self.remaining) > 1:
            self._compare()
        self.ended = self._ending()

    def confirm(self, seeds: Sequence[int]) -> None:
        """Compare those that are left on the test set, with seeds that decided nothing before."""
        for label in list(self.remaining):
            if message := self.outcomes.failure(label, self.rates[label], seeds):
                self._drop(label, Out(reason="failed", seeds=len(seeds), message=message))
        self.confirmed = tuple(seeds)
        self._compare_on_test()

    def _compare(self) -> None:
        labels = list(self.remaining)
        gaps = self.outcomes.gaps({label: self.rates[label] for label in labels}, range(self.seeds))
        left = eliminate(np.ones(len(labels), dtype=bool), gaps, self.plan.schedule, self.plan.within)
        self.gaps, self.gap_labels = gaps, labels
        self._keep_pairs(labels, gaps)
        for place, label in enumerate(labels):
            if not left[place]:
                winner = labels[int(np.argmax(np.where(left, gaps.mean[place], -np.inf)))]
                self._drop(label, Out(reason="worse", seeds=self.seeds, by=winner))

    def _keep_pairs(self, labels: Sequence[str], gaps: Gaps) -> None:
        """The intervals of this look hold together with those of all looks and pairs, of as many as are compared."""
        half = gaps.half_width(self.plan.schedule.level(gaps.seeds, all_pairs(len(labels))))
        sign = 1.0 if self.outcomes.task.lower_is_better else -1.0
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
        seeds = sorted({seed for _, _, seed in self.outcomes.results})
        shared = [seed for seed in seeds if all(self._has_score(rival, seed) for rival in self.labels)]
        return shared or [seed for seed in seeds if self._has_score(label, seed)]

    def _has_score(self, label: str, seed: int) -> bool:
        rate = self.rates.get(label)
        run = None if rate is None else self.outcomes.result(label, rate, seed)
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

    def _ending(self) -> Ended:
        """Why nothing more is trained; `budget` where more would be, if it could be paid."""
        if self._is_settled():
            return "settled"
        if self.seeds == self.plan.looks[-1]:
            return "looks"
        if self.gaps is None:
            return "budget"
        is_left = np.array([label in self.remaining for label in self.gap_labels])
        return "budget" if can_change(is_left, self.gaps, self.plan.schedule, self.plan.within) else "out of reach"

    def _compare_on_test(self) -> None:
        masks = {label: self.outcomes.masks_of(label, self.rates[label], self.confirmed) for label in self.remaining}
        # `paired_difference` has an error rate of 5 % for all of its comparisons.
        comparisons = round(all_pairs(len(masks)) * 0.05 / self.plan.confirmation_error_rate)
        for first in masks:
            for second in masks:
                if first != second:
                    self.differences[first, second] = paired_difference(masks[first], masks[second], comparisons)
        lower, within = self.outcomes.task.lower_is_better, self.plan.within
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
