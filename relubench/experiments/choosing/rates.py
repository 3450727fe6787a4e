"""The learning rate of each activation, on seeds that decide nothing else, by going from the middle of the grid.

The validation error is taken to have one valley over the logarithm of the rate. The two middle rates are tried first,
and from the better of them the next one outwards as long as the error falls; rates behind a worse one are eliminated
untried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relubench.experiments.choosing.outcomes import SCORED, Outcomes
from relubench.experiments.choosing.trainings import Trainings
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.plan import tuning_seeds
from relubench.models.optimizer_table import OPTIMIZERS


@dataclass(slots=True)
class RateSearch:
    """The rates tried so far, with their mean validation scores, lower being better; inf where it has none."""

    grid: tuple[float, ...]
    seeds: tuple[int, ...] = ()
    """Those of the trials; none where the rate was given."""
    scores: dict[str, dict[float, float]] = field(default_factory=dict)
    complete: bool = False
    """Whether it has ended for every activation: neither interrupted nor out of budget."""

    def to_json(self) -> dict[str, Any]:
        """What the search was; its scores follow from the runs."""
        return {"rates": list(self.grid), "seeds": list(self.seeds), "complete": self.complete}

    @classmethod
    def of_runs(cls, values: Mapping[str, Any], outcomes: Outcomes, labels: Sequence[str]) -> RateSearch:
        """The search that `to_json` wrote, with the scores of these runs."""
        search = cls(tuple(values["rates"]), tuple(values["seeds"]), complete=values["complete"])
        for label in labels if search.seeds else ():
            take_scores(search, outcomes, label, search.grid)
        return search

    def next_rates(self, label: str) -> list[float]:
        """The rates to try next; none where the search has ended."""
        scores, grid = self.scores.get(label, {}), self.grid
        if not scores:
            middle = len(grid) // 2
            return list(grid[max(middle - 1, 0) : middle + 1])
        best = grid.index(self.best(label))
        return [grid[place] for place in (best - 1, best + 1) if 0 <= place < len(grid) and grid[place] not in scores]

    def best(self, label: str) -> float:
        """The best rate so far, the larger of two equal ones."""
        scores = self.scores[label]
        return min(scores, key=lambda rate: (scores[rate], -rate))

    def trained(self, label: str) -> bool:
        """Whether it has a score at any rate."""
        return any(score < float("inf") for score in self.scores.get(label, {}).values())


def open_search(config: ExperimentConfig) -> RateSearch:
    """The search that a configuration asks for; a rate that was given is no search: its `scores` stay empty."""
    train = config.train
    if train.lr != "auto":
        return RateSearch((train.lr,), complete=True)
    return RateSearch(tuple(sorted(train.lr_grid or OPTIMIZERS[train.optimizer].rates)), tuning_seeds(config))


def search_rates(search: RateSearch, trainings: Trainings, labels: Sequence[str]) -> None:
    """Carry the search out, as far as the budget goes."""
    if search.complete:
        return
    while rates_to_try := {label: rates for label in labels if (rates := search.next_rates(label))}:
        num_runs = sum(len(rates) for rates in rates_to_try.values()) * len(search.seeds)
        if not trainings.account.affords(num_runs):
            return
        is_trained = trainings.train(rates_to_try, search.seeds)
        for label, rates in rates_to_try.items():
            take_scores(search, trainings.outcomes, label, rates)
        if not is_trained:
            return
    search.complete = True


def take_scores(search: RateSearch, outcomes: Outcomes, label: str, rates: Sequence[float]) -> None:
    """Take in the scores of those rates whose trials have ended."""
    by_rate = search.scores.setdefault(label, {})
    ended = [rate for rate in rates if outcomes.has_ended(label, rate, search.seeds)]
    by_rate |= {rate: _score(outcomes, label, rate, search.seeds) for rate in ended}


def most_runs(config_rates: Sequence[float], num_seeds: int, activations: int) -> int:
    """The runs that a search can take at most."""
    return len(config_rates) * num_seeds * activations


def chosen(search: RateSearch, labels: Sequence[str]) -> Mapping[str, float]:
    """The rate of each activation that trained at any."""
    if search.complete and not search.scores:
        return dict.fromkeys(labels, search.grid[0])
    return {label: search.best(label) for label in labels if search.trained(label)}


def _score(outcomes: Outcomes, label: str, rate: float, seeds: Sequence[int]) -> float:
    """The mean validation score, lower being better; inf where a seed has none."""
    runs = [outcomes.result(label, rate, seed) for seed in seeds]
    sign = 1.0 if outcomes.task.lower_is_better else -1.0
    scores = [
        sign * run.valid_score
        for run in runs
        if run is not None and run.outcome in SCORED and run.valid_score is not None
    ]
    return sum(scores) / len(scores) if len(scores) == len(seeds) else float("inf")
