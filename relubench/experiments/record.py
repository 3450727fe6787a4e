"""What a study has computed so far, as values: every report is made of one, never of the running study. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relubench.experiments.config import ExperimentConfig
from relubench.experiments.rows import Tuning
from relubench.runs.result import RunResult, Timing
from relubench.statistics.example_scores import Scores

if TYPE_CHECKING:
    from relubench.experiments.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """The runs of a study that are finished or failed, with their clocks and their test results."""

    config: ExperimentConfig
    """The first variant's configuration."""
    device: str
    results: list[RunResult]
    table_results: list[RunResult]
    """`results` as a table has them: once for each variant that has the run, and once for each test noise."""
    timings: Mapping[str, Timing | None]
    """By run id."""
    masks: Mapping[tuple[str, float], Scores]
    """(run id, test noise) -> which test examples that run got wrong."""
    tunings: Sequence[Tuning] = ()
    """What `--lr auto` found for each activation."""

    @property
    def finished(self) -> list[RunResult]:
        """The runs that were computed."""
        return [result for result in self.results if result.outcome != "failed"]

    def mask_of(self, result: RunResult) -> Scores | None:
        """Which test examples the run got wrong."""
        return self.masks.get(_key(result))


def record_of(study: Study) -> StudyRecord:
    """The record of a study, finished or as far as it has come."""
    results, table_results = study.results, study.table_results
    masks = {_key(result): study.wrong(result) for result in (*results, *table_results)}
    return StudyRecord(
        config=study.config,
        device=study.device.name,
        results=results,
        table_results=table_results,
        timings=study.timings,
        masks={key: mask for key, mask in masks.items() if mask is not None},
        tunings=study.tuned,
    )


def _key(result: RunResult) -> tuple[str, float]:
    return result.id, float(result.spec.get("test_noise") or 0.0)
