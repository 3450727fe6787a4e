"""The column of a table that is predicted: classes or numbers, as its values or the user decide. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relubench.data.notes import Remarks, format_count, format_names
from relubench.data.tables.column import TableColumn
from relubench.data.targets import TargetTask
from relubench.errors import DataError, UsageError

MOST_CLASSES = 20
"""Whole numbers of at most so many different values are classes, unless the user says otherwise."""
MOST_NAMED = 1_000
"""The most classes that a user may ask for."""
ROWS_A_CLASS = 5
"""Whole numbers with fewer rows than this for each value are numbers."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is predicted of each row: labels int64 [N] with their classes' names, or numbers float64 [N, 1]."""

    y: np.ndarray
    names: tuple[str, ...]
    is_classes: bool


def target_of(table: str, column: TableColumn, task: TargetTask, remarks: Remarks) -> Target:
    """The target of a column without missing values; a note says whether it is classes or a number, and why.

    Raises UsageError where the column cannot be what the user asks for, DataError where it is constant.
    """
    values = column.texts if column.numbers is None else column.numbers
    assert values is not None
    different = np.unique(values)
    if len(different) == 1:
        fault = f"{table} has one value only in its target {column.name!r}: {different[0]}"
        raise DataError(fault, "there is nothing to predict: name another column with --target")
    if task == "regression" and column.numbers is None:
        raise UsageError(
            f"data.task regression: the target {column.name!r} of {table} is text, such as {str(different[0])!r}",
            "regression needs numbers: leave data.task out, or name another column with --target",
        )
    if column.numbers is None:
        return _classes(table, column, values, different, remarks, "text")
    is_whole = not np.any(different % 1)
    few = is_whole and len(different) <= MOST_CLASSES and len(values) >= ROWS_A_CLASS * len(different)
    if task == "classification" or (task == "auto" and few):
        return _classes(table, column, values, different, remarks, "whole numbers" if is_whole else "numbers")
    count = format_count(len(different), "different value")
    kind = f"a number ({count} from {different[0]:g} to {different[-1]:g})"
    change = (
        "" if task == "regression" else ", since it is not a few whole numbers: data.task=classification changes that"
    )
    remarks.note(f"the target {column.name} is {kind}: regression{change}")
    return Target(values[:, None], (column.name,), is_classes=False)


def _classes(
    table: str, column: TableColumn, values: np.ndarray, different: np.ndarray, remarks: Remarks, kind: str
) -> Target:
    if len(different) > MOST_NAMED or 2 * len(different) > len(values):
        raise UsageError(
            f"{table} has {len(different):,} different values in its target {column.name!r} for {len(values):,} rows: "
            "these are no classes",
            "name another column with --target" if kind == "text" else "for numbers: --set data.task=regression",
        )
    names = tuple(f"{value:g}" if kind != "text" else str(value) for value in different)
    change = "" if kind == "text" else "; data.task=regression changes that"
    remarks.note(
        f"the target {column.name} is {kind} of {len(names)} values ({format_names(names)}): classification{change}"
    )
    return Target(np.searchsorted(different, values).astype(np.int64), names, is_classes=True)
