"""What came of the runs of one data set and network, be they trained now or read from a file. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from relubench.runs.result import RunResult
from relubench.runs.task import Task
from relubench.statistics.example_scores import Scores
from relubench.statistics.sequential import Gaps, gaps_of
from relubench.statistics.variance import Values, paired_spread

SCORED = ("ok", "stalled")
"""Outcomes of runs that have a score."""

Key = tuple[str, float, int]
"""Activation, learning rate and seed of a run."""


@dataclass(slots=True)
class Outcomes:
    """The results of the runs that have ended, failed ones too, and what each made of the test examples."""

    dataset: str
    model: str
    task: Task
    valid_examples: int
    results: dict[Key, RunResult] = field(default_factory=dict)
    masks: dict[Key, Scores] = field(default_factory=dict)

    def add(self, result: RunResult, mask: Scores | None) -> None:
        key = (result.spec["activation"], result.spec["lr"], result.spec["seed"])
        self.results[key] = result
        if result.test_score is not None and mask is not None:
            self.masks[key] = mask

    @property
    def num_runs(self) -> int:
        """Runs that have ended; one that two rows share counts once."""
        return len({result.id for result in self.results.values()})

    def result(self, label: str, rate: float, seed: int) -> RunResult | None:
        return self.results.get((label, rate, seed))

    def has_ended(self, label: str, rate: float, seeds: Sequence[int]) -> bool:
        """Whether there is a result with each of these seeds, of whatever outcome."""
        return all((label, rate, seed) in self.results for seed in seeds)

    def failure(self, label: str, rate: float, seeds: Sequence[int]) -> str:
        """Why an activation has no score with one of these seeds; empty where it has all of them."""
        for seed in seeds:
            result = self.results.get((label, rate, seed))
            if result is None:
                return f"seed {seed} was not trained"
            if result.outcome not in SCORED or result.valid_score is None or (label, rate, seed) not in self.masks:
                return f"{result.outcome} with seed {seed}" + (f": {result.message}" if result.message else "")
        return ""

    def valid_scores(self, label: str, rate: float, seeds: Sequence[int]) -> list[float]:
        """The validation scores of these seeds, as far as there are any."""
        results = [self.result(label, rate, seed) for seed in seeds]
        return [run.valid_score for run in results if run is not None and run.valid_score is not None]

    def test_scores(self, label: str, rate: float, seeds: Sequence[int]) -> list[float]:
        """The test scores of these seeds, as far as there are any."""
        results = [self.result(label, rate, seed) for seed in seeds]
        return [run.test_score for run in results if run is not None and run.test_score is not None]

    def masks_of(self, label: str, rate: float, seeds: Sequence[int]) -> list[Scores]:
        """What the activation's runs made of each test example."""
        return [self.masks[label, rate, seed] for seed in seeds]

    def gaps(self, rates: Mapping[str, float], seeds: Sequence[int]) -> Gaps:
        """The differences of validation scores of every two activations, lower being better, with their variances.

        What the examples add is estimated from the runs' test results, scaled to the number of validation examples: of
        these results only variances are used, which say nothing of who is better.
        """
        sign = 1.0 if self.task.lower_is_better else -1.0
        scores = np.array([self.valid_scores(label, rate, seeds) for label, rate in rates.items()])
        examples, interaction = self._example_variances(rates, seeds)
        return gaps_of(sign * scores, examples, interaction)

    def _example_variances(self, rates: Mapping[str, float], seeds: Sequence[int]) -> tuple[Values, Values]:
        is_bit = self.task.per_example == "wrong"
        unit = 100.0 if is_bit else 1.0
        values = [np.stack(self.masks_of(label, rate, seeds)).astype(np.float64) for label, rate in rates.items()]
        size = len(values)
        examples, interaction = np.zeros((size, size)), np.zeros((size, size))
        for first in range(size):
            for second in range(first):
                spread = paired_spread(values[first] - values[second], bits=is_bit)
                scale = unit**2 * values[first].shape[1] / self.valid_examples
                examples[first, second] = examples[second, first] = scale * spread.examples
                interaction[first, second] = interaction[second, first] = scale * spread.interaction
        return examples, interaction
