"""Trainings that stop when their differences are settled: looks at more and more seeds, all under one error rate.

The rows of a table are compared with their first one at planned numbers of seeds. At a look every interval has the
level that the plan gives it (repeated confidence intervals, Jennison & Turnbull 1989, JRSS B 51), so that all intervals
of all looks hold together with 95 % probability, and a table may be read at whichever look it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relubench.errors import UsageError
from relubench.experiments.choosing.plan import SequentialPlan, plan_of
from relubench.experiments.choosing.seeds import looks_of, seeds_range
from relubench.experiments.comparison import Comparison
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.named_settings import configuration
from relubench.experiments.plan import Variant
from relubench.experiments.record import StudyRecord, record_of
from relubench.experiments.study import Study
from relubench.reports.formatting import count
from relubench.reports.report import Report, footnotes
from relubench.reports.training.study import study_report
from relubench.statistics.distributions import ALPHA
from relubench.statistics.error_rates import DIFFERENT
from relubench.statistics.sequential import looks_between


@dataclass(slots=True)
class SequentialTraining:
    """A training by looks; `look` is the last one that was completed, 0 before any."""

    config: ExperimentConfig
    plan: SequentialPlan
    open_study: Callable[[Sequence[Variant]], Study]
    study: Study
    look: int = 0
    is_settled: bool = False
    interrupted: bool = False

    @classmethod
    def open(
        cls, config: ExperimentConfig, looks: tuple[int, ...], open_study: Callable[[Sequence[Variant]], Study]
    ) -> SequentialTraining:
        """Everything that can be refused is refused here, and the plan is frozen."""
        study = open_study([Variant(config=_with_seeds(config, looks[0]))])
        if study.parts[0].runs <= looks[0]:
            raise UsageError("looks need two rows to compare, and there is one", "add --act NAME, or give --seeds N")
        plan = plan_of(study, looks, command="train", decides_on="test", compared="with the first", error_rate=ALPHA)
        plan.freeze(study.store.root)
        return cls(config, plan, open_study, study)

    def run(self, watch: Callable[[Study], bool]) -> None:
        """Train look by look until every row is settled, the last look is made, or `watch` says interrupted."""
        for seeds in self.plan.looks:
            study = self.study if seeds == self.plan.looks[0] else self._opened(seeds)
            if watch(study):
                self.interrupted = True
                # Only what belongs to a look is judged; without any, what there is stands at the first one's level.
                self.study = study if not self.look else self._opened(self.look)
                if self.look:
                    _finish(self.study)
                break
            self.study, self.look = study, seeds
            if self._all_settled():
                self.is_settled = True
                break
        self.plan.check(self.study.store.root)

    def report(self, record: StudyRecord) -> Report:
        """The table at the last look, with what the looks mean."""
        about = {"plan": self.plan.to_json(), "look": self.look, "settled": self.is_settled}
        report = study_report(record, comparison=self._comparison, about=about)
        return replace(report, notes=[*report.notes, *footnotes([self._note()])])

    @property
    def _comparison(self) -> Comparison:
        return Comparison(looks=self.plan.schedule, look=self.look or self.plan.looks[0])

    def _opened(self, seeds: int) -> Study:
        return self.open_study([Variant(config=_with_seeds(self.config, seeds))])

    def _all_settled(self) -> bool:
        rows = study_report(record_of(self.study), comparison=self._comparison).rows
        verdicts = [row["difference_verdict"] for row in rows if row.get("difference_verdict") is not None]
        return bool(verdicts) and all(verdict in DIFFERENT for verdict in verdicts)

    def _note(self) -> str:
        if not self.look:
            return "interrupted before the first look: the intervals are those of it, with fewer seeds"
        number, most = self.plan.looks.index(self.look) + 1, len(self.plan.looks)
        state = "every difference is settled" if self.is_settled else "not every difference is settled"
        return (
            f"plan {self.plan.digest}: look {number} of {most}, at {count(self.look, 'seed')}, {state}; the intervals "
            "of all looks hold together, so that this table may be read at any of them"
        )


def train_by_looks(
    act: object,
    named: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    seeds: str,
    open_study: Callable[[Sequence[Variant]], Study],
) -> SequentialTraining:
    """The training of `relubench.train` by looks, carried out; `seeds` as --seeds has them."""
    looks = looks_of(seeds) or looks_between(*seeds_range(seeds))
    config = configuration(act, {**named, "seeds": looks[-1]}, settings)
    training = SequentialTraining.open(config, looks, open_study)
    training.run(_without_a_word)
    return training


def _without_a_word(study: Study) -> bool:
    _finish(study)
    return False


def _with_seeds(config: ExperimentConfig, seeds: int) -> ExperimentConfig:
    return config.model_copy(update={"seeds": tuple(range(seeds))})


def _finish(study: Study) -> None:
    """Take the runs of a study whose runs are all stored."""
    for _ in study.run():
        pass
