"""The learning-rate search of `--lr auto`: every activation at every rate of the grid, on seeds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relubench.errors import ComputeError
from relubench.experiments.plan import expand, posed_task, tuning_seeds
from relubench.experiments.rows import Tuning
from relubench.experiments.variants import Part
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs.result import RunResult
from relubench.runs.spec import RunSpec
from relubench.runs.task import task_called
from relubench.system.device import Device

Trials = dict[float, list[RunSpec]]
"""Learning rate -> the runs of every activation of a variant on every tuning seed."""


def trials(part: Part, device: Device) -> Trials:
    """The tuning runs of a variant, each on one thread; none where its learning rate is given."""
    train = part.config.train
    if train.lr != "auto":
        return {}
    return {rate: tuning_specs(part, device, rate) for rate in train.lr_grid or OPTIMIZERS[train.optimizer].rates}


def tuning_specs(part: Part, device: Device, lr: float = 1.0) -> list[RunSpec]:
    """Every row of a variant on its tuning seeds, each run on one thread."""
    train = part.config.train
    first = train.model_copy(update={"l1": train.strengths[0], "l1_pairs": False})
    untuned = part.config.model_copy(update={"seeds": tuning_seeds(part.config), "train": first})
    runs = expand(untuned, part.choices, part.prepared, device, [lr] * len(part.rows))
    return [replace(spec, threads=min(spec.threads, 1), variant=part.variant.label) for spec in runs]


def best_rates(part: Part, by_rate: Trials, results: Mapping[str, RunResult]) -> list[Tuning]:
    """The best learning rate of each row of a variant; `results` holds the trials by run id."""
    return [_best_rate(part, choice.label, method, by_rate, results) for choice, method in part.rows]


def _best_rate(part: Part, label: str, method: str, by_rate: Trials, results: Mapping[str, RunResult]) -> Tuning:
    """The rate with the best mean validation score, the larger where two are equal, of the row with that activation
    and that way of pre-training.

    Raises ComputeError if it trained at no rate.
    """
    means: dict[float, float | None] = {}
    for rate, specs in by_rate.items():
        runs = [results.get(spec.id) for spec in specs if (spec.activation, spec.pretraining) == (label, method)]
        errors = [run.valid_score for run in runs if run is not None and run.valid_score is not None]
        # A rate at which one seed of several has no error would be judged by its lucky ones.
        means[rate] = sum(errors) / len(errors) if len(errors) == len(runs) else None
    errors_by_rate = {rate: error for rate, error in means.items() if error is not None}
    if not errors_by_rate:
        raise ComputeError(
            f"--lr auto: {_row_name(label, method)} trained at no learning rate of "
            f"{', '.join(f'{rate:g}' for rate in by_rate)}",
            "name one with --lr, or see the messages above",
        )
    train, task = part.config.train, posed_task(part.config.model, part.prepared)
    sign = 1 if task.lower_is_better else -1
    return Tuning(
        activation=label,
        pretraining=method,
        variant=part.variant.label,
        errors=means,
        seeds=train.lr_seeds,
        epochs=train.epochs,
        lr=min(errors_by_rate, key=lambda rate: (sign * errors_by_rate[rate], -rate)),
        task=task.name,
    )


def describe_tuning(tuning: Tuning) -> list[str]:
    """What is to be said of a search: the rate with all that was tried, and a warning where it lies at an edge."""
    label = _row_name(tuning.activation, tuning.pretraining, tuning.variant)
    task = task_called(tuning.task)
    scores = {rate: "-" if score is None else task.text(score) for rate, score in tuning.errors.items()}
    rates = ", ".join(f"{rate:g}: {score}" for rate, score in scores.items())
    lines = [f"{label}: learning rate {tuning.lr:g} (validation {task.noun} at {rates})"]
    if tuning.edge != "inside":
        lines.append(
            f"warning: {label}: {tuning.lr:g} is the {tuning.edge} rate of the grid, a better one may lie beyond it: "
            "--set train.lr_grid=[...]"
        )
    return lines


def _row_name(label: str, method: str, variant: str = "") -> str:
    """'relu', 'relu (rbm)', 'relu (rbm, L1 0.001)'"""
    extra = ", ".join(part for part in ("" if method == "none" else method, variant) if part)
    return f"{label} ({extra})" if extra else label
