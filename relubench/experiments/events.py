"""Events of a run, and the record of one that an error stopped. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relubench.runs.result import Outcome, RunResult
from relubench.runs.spec import RunSpec
from relubench.runs.task import CLASSIFICATION, task_called

EventKind = Literal["note", "cached", "started", "postponed", "alive", "progress", "epoch", "done", "failed"]


RETRIED = "it is tried again"
"""The message of a postponed run whose process has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What happens while runs are carried out, for whoever shows it: started, (progress | epoch)*, done.

    A run that another process is training is postponed after it was started, and started again later. Of a run that
    says nothing for long there is an `alive` now and then.
    """

    kind: EventKind
    run: str = ""
    """The run's id; empty for a note, which concerns all."""
    activation: str = ""
    variant: str = ""
    """The label of the study's variant that the run belongs to."""
    pretraining: str = "none"
    seed: int = 0
    lr: float = 0.0
    l1: float = 0.0
    """The strength that was asked for."""
    tuning: bool = False
    """A run of `--lr auto`, which is not reported."""
    epochs_done: float = 0.0
    """Epochs trained so far, the fraction of the current one included."""
    epochs: int = 0
    """Epochs asked for, those of pre-training included."""
    stage: str = ""
    """What of the run is in progress, where that is not its training: the layer that is pre-trained."""
    images_per_second: float | None = None
    examples: str = "images"
    """What these images are called, where they are none."""
    threads: int = 0
    """Threads of a processor that train the run; 0 on another device."""
    task: str = CLASSIFICATION
    """The name of the run's task, which says what its score is."""
    valid_score: float | None = None
    """In the unit of the task's metric, after the last finished epoch."""
    outcome: Outcome | None = None
    """With done and failed."""
    message: str = ""
    """With note and failed, and with done where the outcome is not ok."""
    hint: str = ""


def event(
    kind: EventKind,
    spec: RunSpec,
    tuning: bool,
    *,
    epochs_done: float = 0.0,
    images_per_second: float | None = None,
    valid_score: float | None = None,
    stage: str = "",
    outcome: Outcome | None = None,
    message: str = "",
    hint: str = "",
) -> Event:
    """What happens to this run, with what names it for people."""
    return Event(
        kind=kind,
        run=spec.id,
        activation=spec.activation,
        pretraining=spec.pretraining,
        variant=spec.variant,
        seed=spec.seed,
        lr=spec.lr,
        l1=spec.l1_asked,
        tuning=tuning,
        epochs_done=epochs_done,
        epochs=spec.epochs + (spec.stack.total_epochs if spec.stack else 0),
        stage=stage,
        images_per_second=images_per_second,
        examples=task_called(spec.task).examples_of(spec.input_shape),
        threads=spec.threads if spec.on_processor else 0,
        task=spec.task,
        valid_score=valid_score,
        outcome=outcome,
        message=message,
        hint=hint,
    )


def failed_result(spec: RunSpec, message: str, test_examples: int) -> RunResult:
    """The record of a run that an error stopped; it is reported, and never stored."""
    return RunResult(
        id=spec.id,
        spec=spec.to_json(),
        outcome="failed",
        message=message,
        parameters=spec.parameters,
        path="",
        epochs=0,
        best_epoch=None,
        valid_error_pct=None,
        test_error_pct=None,
        test_examples=test_examples,
        sparsity_pct=None,
    )
