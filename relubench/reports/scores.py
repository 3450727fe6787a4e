"""The scores of a row as programs have it, whatever its task: those of classification have keys of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relubench.experiments.rows import METRIC_KEYS
from relubench.runs.task import CLASSIFICATION, TASKS

TEST_KEYS = ("test_metric", "test_metric_ci_low", "test_metric_ci_high")
"""The keys of METRIC_KEYS that the test score and its interval have."""

NUMBER_DECIMALS = 4
"""Decimals of a metric whose task this program does not know: a row of somebody else's file."""


def score_of(row: Mapping[str, Any], key: str, prefix: str = "") -> float | None:
    """The value of a key of METRIC_KEYS; `prefix` is what the names of a second score of the row begin with."""
    name = METRIC_KEYS[key] if row.get("task", CLASSIFICATION) == CLASSIFICATION else key
    return row.get(prefix + name)


def better_direction(row: Mapping[str, Any]) -> str | None:
    """'lower' or 'higher', whichever is better; None where the row names a task and does not say which."""
    if row.get("task", CLASSIFICATION) == CLASSIFICATION:
        return "lower"
    is_lower = row.get("lower_is_better")
    return None if is_lower is None else "lower" if is_lower else "higher"


def decimals_of(row: Mapping[str, Any]) -> int:
    """How many decimals of the row's scores are printed."""
    task = TASKS.get(row.get("task", CLASSIFICATION))
    return NUMBER_DECIMALS if task is None else task.decimals
