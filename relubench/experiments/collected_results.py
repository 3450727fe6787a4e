"""The results that a study has collected: runs of the store, and runs that the disk had no room for. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from relubench.data import PreparedData
from relubench.executors.base import Executor
from relubench.executors.job import Job
from relubench.executors.messages import (
    Alive,
    Done,
    Failed,
    NoiseTested,
    Note,
    Postponed,
    Pretrained,
    Progress,
    RunMessage,
    Started,
    Waiting,
)
from relubench.experiments.events import RETRIED, Event, event, failed_result
from relubench.runs.result import RunResult, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store


@dataclass(frozen=True, slots=True)
class UnstoredRun:
    """A computed run that the disk had no room for."""

    result: RunResult
    timing: Timing
    wrong: np.ndarray | None
    """Which test examples it got wrong, bool [N]."""


@dataclass(slots=True)
class CollectedResults:
    """Results by run id, those of the search for learning rates included."""

    store: Store
    by_id: dict[str, RunResult] = field(default_factory=dict)
    unstored: dict[str, UnstoredRun] = field(default_factory=dict)

    def of(self, specs: Sequence[RunSpec]) -> list[RunResult]:
        """The results of these runs, as far as there are any, with the notes of these specifications in their own."""
        return [
            replace(self.by_id[spec.id], spec={**self.by_id[spec.id].spec, **spec.notes()})
            for spec in specs
            if spec.id in self.by_id
        ]

    def timings(self) -> dict[str, Timing | None]:
        """The timing of each run by its id."""
        return {
            run: self.unstored[run].timing if run in self.unstored else self.store.timing(run) for run in self.by_id
        }

    def wrong(self, result: RunResult) -> np.ndarray | None:
        """Which test examples the run got wrong, bool [N]."""
        if noise := result.spec.get("test_noise"):
            return self.store.noise(result.id, noise)
        if result.id in self.unstored:
            return self.unstored[result.id].wrong
        return self.store.wrong(result.id)

    def has_weights(self, spec: RunSpec) -> bool:
        """Whether the run has ended with a test error and its weights are stored."""
        result = self.by_id.get(spec.id)
        return result is not None and result.test_score is not None and self.store.weights(spec.id) is not None

    def add_failed(self, message: Failed, spec: RunSpec, data: Sequence[PreparedData], tuning: bool) -> Event:
        """Keeps the record of a run that an error stopped, and returns the event of it."""
        test_examples = next(prepared.n_test for prepared in data if prepared.digest == spec.data_digest)
        self.by_id[spec.id] = failed_result(spec, message.message, test_examples)
        return event("failed", spec, tuning, outcome="failed", message=message.message, hint=message.hint)

    def add_finished(self, message: Done, spec: RunSpec, tuning: bool) -> Event:
        """Keeps the result of a run that an executor has finished, and returns the event of it."""
        result = self.by_id[spec.id] = message.result
        if message.not_stored and message.timing is not None:
            self.unstored[result.id] = UnstoredRun(result, message.timing, message.wrong)
        return event(
            "done",
            spec,
            tuning,
            epochs_done=float(result.epochs + (spec.stack.total_epochs if spec.stack else 0)),
            outcome=result.outcome,
            valid_score=result.valid_score,
            message=result.message,
        )


def run_messages(
    executor: Executor, jobs: Sequence[Job], note: Callable[[str], None]
) -> Generator[RunMessage, None, None]:
    """What the executor reports of the runs of these jobs; the lines that it has for the user go to `note`."""
    with closing(executor.run(jobs)) as messages:
        for message in messages:
            if isinstance(message, Note):
                note(message.text)
            else:
                yield message


def progress_event(
    message: Started | Postponed | Waiting | Alive | Progress | Pretrained | NoiseTested, spec: RunSpec, tuning: bool
) -> Event:
    """The event of a message about a run that goes on, or whose layers or noise are done."""
    match message:
        case Progress():
            return event(
                "epoch" if message.epoch_ended else "progress",
                spec,
                tuning,
                epochs_done=message.epochs_done,
                images_per_second=message.images_per_second,
                valid_score=message.valid_score,
                stage=message.stage,
            )
        case Pretrained():
            assert spec.stack is not None
            return event("done", spec, tuning, epochs_done=float(spec.stack.total_epochs), stage="pre-training")
        case Alive():
            return event("alive", spec, tuning)
        case Waiting():
            text = f"another process is training {spec.activation} seed {spec.seed}: waiting for it"
            return event("note", spec, tuning, message=text)
        case Postponed():
            return event("postponed", spec, tuning, message=RETRIED if message.is_retry else "")
        case Started() | NoiseTested():
            return event("started", spec, tuning)
