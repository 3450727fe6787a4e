"""The trainings of a contest: what each activation did with each seed, through studies that share one store."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from relubench.activations import ActivationChoice
from relubench.experiments.choosing.budget import Account
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.events import Event
from relubench.experiments.plan import Variant
from relubench.experiments.study import Study
from relubench.runs.result import RunResult, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.task import Task, task_called
from relubench.statistics.example_scores import Scores
from relubench.statistics.sequential import Gaps, gaps_of
from relubench.statistics.variance import Values, paired_spread

Watch = Callable[[Study, Generator[Event]], bool]
"""Goes through the events of a study; returns whether it was interrupted."""

SCORED = ("ok", "stalled")
"""Outcomes of runs that have a score."""

Key = tuple[str, float, int]
"""Activation, learning rate and seed of a run."""


@dataclass(slots=True)
class Trainings:
    """The runs of one data set and network, trained when they are asked for, and their results."""

    config: ExperimentConfig
    open_study: Callable[[Sequence[Variant]], Study]
    watch: Watch
    account: Account
    choices: Mapping[str, ActivationChoice] = field(default_factory=dict)
    """By label."""
    results: dict[Key, RunResult] = field(default_factory=dict)
    specs: dict[Key, RunSpec] = field(default_factory=dict)
    masks: dict[Key, Scores] = field(default_factory=dict)
    timings: dict[str, Timing | None] = field(default_factory=dict)
    interrupted: bool = False
    study: Study | None = None
    """The last one, with its data and its device."""

    @property
    def task(self) -> Task:
        return task_called(self.prepared_study.parts[0].prepared.task)

    @property
    def prepared_study(self) -> Study:
        assert self.study is not None, "no study was opened yet"
        return self.study

    def train(self, rates: Mapping[str, Sequence[float]], seeds: Sequence[int]) -> bool:
        """Train each activation at its rates with these seeds; returns whether all of them have ended.

        Runs of the store are taken from there. False: the time is up, or the user interrupted.
        """
        if self.account.is_spent:
            return False
        variants = [
            Variant(config=self._config(label, rate, seeds)) for label, own_rates in rates.items() for rate in own_rates
        ]
        study = self.study = self.open_study(variants)
        stored = {spec.id for _, spec in study.requested if study.store.has(spec.id)}
        start = time.monotonic()
        self.interrupted = True
        try:
            self.interrupted = self.watch(study, self.account.until_spent(study.run(), study.note))
        finally:
            # What has ended counts, whatever stopped the rest.
            runs = {spec.id for spec in study.specs}
            ended = {result.id for result in study.results}
            timings = [timing for run in ended - stored if (timing := study.timings.get(run)) is not None]
            self.account.spend(ended, [timing.seconds for timing in timings], time.monotonic() - start)
            self._collect(study)
        return not self.interrupted and runs <= ended

    def result(self, label: str, rate: float, seed: int) -> RunResult | None:
        return self.results.get((label, rate, seed))

    def first_specs(self, rates: Mapping[str, float]) -> list[RunSpec]:
        """The specification of any run of each activation at its rate, where there is one."""
        first: dict[str, RunSpec] = {}
        for (label, rate, _), spec in self.specs.items():
            if rates.get(label) == rate:
                first.setdefault(label, spec)
        return [first[label] for label in rates if label in first]

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

    def gaps(self, rates: Mapping[str, float], seeds: Sequence[int]) -> Gaps:
        """The differences of validation scores of every two activations, lower being better, with their variances.

        What the examples add is estimated from the runs' test results, scaled to the number of validation examples: of
        these results only variances are used, which say nothing of who is better.
        """
        sign = 1.0 if self.task.lower_is_better else -1.0
        scores = np.array(
            [[sign * self._valid_score((label, rate, seed)) for seed in seeds] for label, rate in rates.items()]
        )
        examples, interaction = self._example_variances(rates, seeds)
        return gaps_of(scores, examples, interaction)

    def masks_of(self, label: str, rate: float, seeds: Sequence[int]) -> list[Scores]:
        """What the activation's runs made of each test example."""
        return [self.masks[label, rate, seed] for seed in seeds]

    def _valid_score(self, key: Key) -> float:
        score = self.results[key].valid_score
        assert score is not None
        return score

    def _example_variances(self, rates: Mapping[str, float], seeds: Sequence[int]) -> tuple[Values, Values]:
        task, prepared = self.task, self.prepared_study.parts[0].prepared
        is_bit = task.per_example == "wrong"
        unit = 100.0 if is_bit else 1.0
        values = [np.stack(self.masks_of(label, rate, seeds)).astype(np.float64) for label, rate in rates.items()]
        size = len(values)
        examples, interaction = np.zeros((size, size)), np.zeros((size, size))
        for first in range(size):
            for second in range(first):
                spread = paired_spread(values[first] - values[second], bits=is_bit)
                scale = unit**2 * values[first].shape[1] / prepared.n_valid
                examples[first, second] = examples[second, first] = scale * spread.examples
                interaction[first, second] = interaction[second, first] = scale * spread.interaction
        return examples, interaction

    def _config(self, label: str, rate: float, seeds: Sequence[int]) -> ExperimentConfig:
        train = self.config.train.model_copy(update={"lr": rate, "lr_grid": None, "lr_seeds": 1})
        return self.config.model_copy(update={"act": (label,), "train": train, "seeds": tuple(seeds)})

    def _collect(self, study: Study) -> None:
        self.specs |= {(spec.activation, spec.lr, spec.seed): spec for spec in study.specs}
        for result in study.results:
            key = (result.spec["activation"], result.spec["lr"], result.spec["seed"])
            self.results[key] = result
            if result.test_score is not None and (mask := study.wrong(result)) is not None:
                self.masks[key] = mask
        self.timings |= study.timings
