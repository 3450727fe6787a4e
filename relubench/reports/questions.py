"""What each command asks, in one sentence: a page begins with it."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.reports.formatting import count, join_names
from relubench.reports.report import Row
from relubench.runs.task import task_of


def place(rows: Sequence[Row]) -> str:
    """'mlp-3x1000 on mnist', as far as the rows agree on it."""
    models, datasets = ({str(row.get(key)) for row in rows} for key in ("model", "dataset"))
    model = models.pop() if len(models) == 1 else "these networks"
    return f"{model} on {datasets.pop()}" if len(datasets) == 1 else model


def training_question(rows: Sequence[Row]) -> str:
    """Which activation is the best, if any is."""
    if not rows:
        return ""
    names = list(dict.fromkeys(str(row["activation"]) for row in rows))
    task = task_of(rows[0])
    if len(names) == 1:
        return f"Which test {task.noun} does {names[0]} reach with {place(rows)}?"
    return f"Does the activation ({join_names(names, 6)}) change the test {task.noun} of {place(rows)}?"


def pretraining_question(rows: Sequence[Row]) -> str:
    """Whether pre-training pays."""
    return f"Does unsupervised pre-training lower the test error of {place(rows)}, and at what cost?" if rows else ""


def sparsity_question(rows: Sequence[Row]) -> str:
    """How sparse a network may be."""
    return f"How sparse may {place(rows)} be before its test error rises?" if rows else ""


def choice_question(rows: Sequence[Row], budget: str) -> str:
    """Which activation to take."""
    if not rows:
        return ""
    names = list(dict.fromkeys(str(row["activation"]) for row in rows))
    return f"Which activation ({join_names(names, 6)}) should {place(rows)} have, within {budget}?"


def ranking_question(rows: Sequence[Row], num_sets: int) -> str:
    """Which activation is the best over several data sets and networks."""
    names = [str(row["activation"]) for row in rows]
    return f"Which of {join_names(names, 6)} is the best over {count(num_sets, 'data set')} with their networks?"
