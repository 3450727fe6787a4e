"""The trainings of a contest: what each activation did with each seed, through studies that share one store."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from relubench.activations import ActivationChoice
from relubench.executors.local import LocalExecutor
from relubench.experiments.choosing.budget import Account
from relubench.experiments.choosing.outcomes import Key, Outcomes
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.events import Event
from relubench.experiments.plan import Variant
from relubench.experiments.study import Study
from relubench.runs.result import Timing
from relubench.runs.spec import RunSpec

Watch = Callable[[Study, Generator[Event]], bool]
"""Goes through the events of a study; returns whether it was interrupted."""


@dataclass(slots=True)
class Trainings:
    """The runs of one data set and network, trained when they are asked for."""

    config: ExperimentConfig
    open_study: Callable[[Sequence[Variant]], Study]
    watch: Watch
    account: Account
    outcomes: Outcomes
    choices: Mapping[str, ActivationChoice] = field(default_factory=dict)
    """By label."""
    specs: dict[Key, RunSpec] = field(default_factory=dict)
    timings: dict[str, Timing | None] = field(default_factory=dict)
    interrupted: bool = False
    study: Study | None = None
    """The last one, with its data and its device."""

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
        if isinstance(study.executor, LocalExecutor):
            study.executor.stop_seconds = min(study.executor.stop_seconds, self.account.stop_seconds)
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

    def first_specs(self, rates: Mapping[str, float]) -> list[RunSpec]:
        """The specification of any run of each activation at its rate, where there is one."""
        first: dict[str, RunSpec] = {}
        for (label, rate, _), spec in self.specs.items():
            if rates.get(label) == rate:
                first.setdefault(label, spec)
        return [first[label] for label in rates if label in first]

    def _config(self, label: str, rate: float, seeds: Sequence[int]) -> ExperimentConfig:
        train = self.config.train.model_copy(update={"lr": rate, "lr_grid": None, "lr_seeds": 1})
        return self.config.model_copy(update={"act": (label,), "train": train, "seeds": tuple(seeds)})

    def _collect(self, study: Study) -> None:
        self.specs |= {(spec.activation, spec.lr, spec.seed): spec for spec in study.specs}
        for result in study.results:
            self.outcomes.add(result, study.wrong(result))
        self.timings |= study.timings
