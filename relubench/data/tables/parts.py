"""From the columns of a table to the parts of a data set. Torch-free.

Of a table's rows one in five tests and one in five validates, by the fixed shuffle of `stratified_order`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relubench.data.notes import Remarks, format_count
from relubench.data.numbers import TASK as REGRESSION
from relubench.data.numbers import standardised
from relubench.data.split import hold_out
from relubench.data.split_arrays import Split, SplitArrays
from relubench.data.tables.column import TableColumn
from relubench.data.tables.features import inputs
from relubench.data.tables.target import Target, target_of
from relubench.data.targets import TargetTask
from relubench.errors import DataError, UsageError
from relubench.system.lookup import did_you_mean

HOLD_OUT = 5
"""One in so many rows tests, and one in so many validates."""
RULE = f"a fixed shuffle (by class where there are classes): one in {HOLD_OUT} rows tests, one in {HOLD_OUT} validates"
FEWEST_ROWS = 4 * HOLD_OUT
"""Fewer rows make no data set."""


def split_table(
    name: str,
    columns: Sequence[TableColumn],
    target: str,
    *,
    ignore: Sequence[str] = (),
    task: TargetTask = "auto",
    remarks: Remarks | None = None,
) -> SplitArrays:
    """The parts of a table: x float32 [N, F], y int64 [N] or, standardised, float32 [N, 1].

    Raises UsageError for a target that is absent or cannot be predicted as asked, DataError for columns that are none.
    """
    remarks = remarks or Remarks()
    by_name = {column.name: column for column in columns}
    _check_names(name, [*by_name], target, ignore)
    _check_target(name, by_name[target])
    goal = target_of(name, by_name[target], task, remarks)
    parts = _split(goal.y)
    features = [column for key, column in by_name.items() if key != target and key not in ignore]
    x = inputs(name, features, parts, remarks)
    y, rule = _targets(name, goal, parts)
    return SplitArrays(
        x_train=x["train"],
        y_train=y["train"],
        x_valid=x["valid"],
        y_valid=y["valid"],
        x_test=x["test"],
        y_test=y["test"],
        classes=len(goal.names),
        scale=1.0,
        note="; ".join(filter(None, (RULE, rule))),
        names=goal.names,
        remarks=remarks,
        task="" if goal.is_classes else REGRESSION,
        noun="row",
    )


def _check_names(name: str, names: Sequence[str], target: str, ignore: Sequence[str]) -> None:
    """Raises UsageError, with near names, for columns that the table does not have."""
    for option, key in (("--target", target), *(("data.ignore", ignored) for ignored in ignore)):
        if key not in names:
            hint = did_you_mean(key, names, f"the columns are {_listed(names)}")
            raise UsageError(f"{option}: {name} has no column {key!r}", hint)
    if target in ignore:
        raise UsageError(f"data.ignore leaves out the target {target!r}", "leave it out of data.ignore")


def _check_target(name: str, target: TableColumn) -> None:
    """Raises DataError for rows without a value of the target, and for too few rows."""
    if gaps := int(target.missing.sum()):
        raise DataError(
            f"{name} has {format_count(gaps, 'row')} without a value of its target {target.name!r}, the first is row "
            f"{int(target.missing.argmax()) + 1:,}",
            "delete these rows, or fill in their targets: a row without one can neither train nor test",
        )
    if len(target.missing) < FEWEST_ROWS:
        raise DataError(f"{name} has {format_count(len(target.missing), 'row')}", f"give {FEWEST_ROWS} or more")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"


def _split(y: np.ndarray) -> dict[Split, np.ndarray]:
    """The rows of each part, ascending."""
    share = len(y) // HOLD_OUT
    remaining, test = hold_out(y, share)
    train, valid = (remaining[indices] for indices in hold_out(y[remaining], share))
    return {"train": train, "valid": valid, "test": test}


def _targets(name: str, goal: Target, parts: dict[Split, np.ndarray]) -> tuple[dict[Split, np.ndarray], str]:
    """The targets of each part, and how they were scaled. The draw leaves every class a training row, however rare."""
    y: dict[Split, np.ndarray] = {split: goal.y[indices] for split, indices in parts.items()}
    return (y, "") if goal.is_classes else standardised(name, y)
