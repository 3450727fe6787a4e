"""Events of a run, and the record of one that an error stopped. Torch-free."""

from __future__ import annotations

from relubench.runs.result import Event, EventKind, Outcome, RunResult
from relubench.runs.spec import RunSpec


def event(
    kind: EventKind,
    spec: RunSpec,
    tuning: bool,
    *,
    epochs_done: float = 0.0,
    images_per_second: float | None = None,
    valid_error_pct: float | None = None,
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
        valid_error_pct=valid_error_pct,
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
