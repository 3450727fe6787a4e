"""What the table and the names say of a data set before it is prepared. Torch-free."""

from __future__ import annotations

from pathlib import Path

from relubench.data.preparation import check_counts, is_user_data, row_with, user_data_path
from relubench.data.prepared import DataOptions, PreparedData
from relubench.data.source_row import LANGUAGE, SourceRow
from relubench.data.table import TABLE
from relubench.data.text_files import is_text_path
from relubench.data.text_windows import windowed
from relubench.errors import DataError


def outline(name: str, options: DataOptions) -> PreparedData | None:
    """The outline of a set from the table, without a digest or a folder; None for what is to be prepared instead:
    data of a user's own, and a text that lies in a package, whose size the package decides.

    Raises UsageError for an unknown name and for options that do not fit.
    """
    if is_user_data(name):
        return None
    row = row_with(name, options)
    check_counts(row, options)
    if row.task == LANGUAGE:
        return None if row.package else windowed(_outline_of_text(row, options))
    num_images = options.train_size or row.n_train
    return PreparedData(
        name=row.name,
        digest="",
        folder=Path(),
        input_shape=row.input_shape,
        classes=row.classes,
        n_train=options.labels or num_images,
        n_valid=row.n_valid,
        n_test=row.n_test,
        scale=1.0,
        shift=0.0,
        source=row.citation,
        task=row.task,
        labels=options.labels if options.labels != num_images else None,
        n_images=num_images if options.labels not in (None, num_images) else None,
        images_digest="" if options.labels not in (None, num_images) else None,
    )


def _outline_of_text(row: SourceRow, options: DataOptions) -> PreparedData:
    """The outline of a text of the table, in bytes."""
    return PreparedData(
        name=row.name,
        digest="",
        folder=Path(),
        input_shape=(),
        classes=row.classes,
        n_train=row.n_train,
        n_valid=row.n_valid,
        n_test=row.n_test,
        scale=1.0,
        shift=0.0,
        source=row.citation,
        options=options,
        task=row.task,
    )


def task_of_data(name: str) -> str:
    """The name of the task that the data set `name` poses, as far as its name and the files' names say.

    That of classification where there is no such data set.
    """
    if name in TABLE:
        return TABLE[name].task
    try:
        is_text = is_user_data(name) and is_text_path(user_data_path(name))
    except (DataError, OSError):
        return "classification"
    return LANGUAGE if is_text else "classification"
