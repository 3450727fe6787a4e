"""The inputs of a network from the columns of a table: numbers standardised, categories one-hot. Torch-free.

Means, spreads and categories are those of the training part alone: nothing of the other parts reaches the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np

from relubench.data.notes import Remarks, format_count, format_names
from relubench.data.split_arrays import Split
from relubench.data.tables.column import TableColumn
from relubench.data.tables.file import MOST_COLUMNS
from relubench.errors import DataError

MOST_CATEGORIES = 1_000
"""A column of text with more different values in training is refused: it names rows more than it groups them."""
FEW = 20
"""Up to so many different values are always categories."""
MISSING_NAME = "(missing)"

Indices = Mapping[Split, np.ndarray]


def inputs(name: str, columns: Sequence[TableColumn], parts: Indices, remarks: Remarks) -> dict[Split, np.ndarray]:
    """The inputs of each part, float32 [N, F]; raises DataError for a column that is none, and where none remains."""
    blocks: dict[Split, list[np.ndarray]] = {split: [] for split in parts}
    constant: list[str] = []
    width = 0
    for column in columns:
        encode = _numbers if column.numbers is not None else _categories
        encoded = encode(name, column, parts, remarks)
        if not (encoded["train"].shape[1]):
            constant.append(column.name)
        width += encoded["train"].shape[1]
        if width > MOST_COLUMNS:
            fault = f"makes more than {MOST_COLUMNS:,} inputs, the last of them from {column.name!r}"
            _refuse(name, fault, f"leave columns of many categories out: --set data.ignore=[{column.name}]")
        for split, block in encoded.items():
            blocks[split].append(block)
    if constant:
        remarks.note(f"left out, because training has one value only: {format_names(constant)}")
    if not width:
        _refuse(name, "has no column that varies beside its target", "give columns that the target is predicted from")
    _note_missing(columns, remarks)
    return {split: np.concatenate(part_blocks, axis=1).astype(np.float32) for split, part_blocks in blocks.items()}


def _note_missing(columns: Sequence[TableColumn], remarks: Remarks) -> None:
    counts = {column.name: int(column.missing.sum()) for column in columns}
    incomplete = [f"{name} ({count:,})" for name, count in counts.items() if count]
    if incomplete:
        remarks.note(
            f"missing values: {format_names(incomplete)}; a number is replaced by the training mean with an input that "
            "says so, a category is one of its own"
        )


def _numbers(name: str, column: TableColumn, parts: Indices, remarks: Remarks) -> dict[Split, np.ndarray]:
    """The numbers standardised, [N, 1], with a second column where some are missing: whether this one is.

    [N, 0] where training has one value only.
    """
    assert column.numbers is not None
    train = column.numbers[parts["train"]]
    present = train[~np.isnan(train)]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = (float(present.mean()), float(present.std())) if present.size else (0.0, 0.0)
    if not (np.isfinite(mean) and np.isfinite(spread)):
        _refuse(name, f"has numbers in {column.name!r} that are too large to be standardised", "rescale them first")
    varies, has_gaps = spread > 1e-12 * abs(mean), present.size < train.size
    encoded: dict[Split, np.ndarray] = {}
    for split, indices in parts.items():
        values = column.numbers[indices]
        gaps = np.isnan(values)
        standardised = np.where(gaps, 0.0, (values - mean) / (spread if varies else 1.0))
        blocks = [standardised] * varies + [gaps.astype(np.float64)] * (has_gaps and bool(present.size))
        encoded[split] = np.stack(blocks, axis=1) if blocks else np.empty((len(values), 0))
    return encoded


def _categories(name: str, column: TableColumn, parts: Indices, remarks: Remarks) -> dict[Split, np.ndarray]:
    """A one-hot row of the training part's categories, [N, K]; DataError for a category that it does not have."""
    assert column.texts is not None
    texts = np.where(column.missing, MISSING_NAME, column.texts)
    train = texts[parts["train"]]
    categories = np.unique(train)
    if len(categories) > MOST_CATEGORIES or (len(categories) > FEW and 2 * len(categories) > len(train)):
        fault = (
            f"has {format_count(len(categories), 'different text')} in {column.name!r} for {len(train):,} training rows"
        )
        hint = f"such a column names its rows: leave it out, --set data.ignore=[{column.name}]"
        _refuse(name, fault, hint)
    held_out = texts[np.concatenate([parts["valid"], parts["test"]])]
    unseen_rows = held_out[~np.isin(held_out, categories)]
    if unseen_rows.size:
        # An input of zeros would stand for it, and the error measure rows of which nothing could be learned.
        fault = (
            f"has {format_count(len(unseen_rows), 'validation or test row')} with a category in {column.name!r} that "
            f"no training row has: {format_names([*np.unique(unseen_rows)])}"
        )
        hint = f"group rare categories under one name, or leave the column out: --set data.ignore=[{column.name}]"
        _refuse(name, fault, hint)
    encoded: dict[Split, np.ndarray] = {split: _one_hot(texts[indices], categories) for split, indices in parts.items()}
    return encoded if len(categories) > 1 else {split: block[:, :0] for split, block in encoded.items()}


def _one_hot(texts: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """A one where a row's text [N] is that of the sorted categories [K], float32 [N, K]."""
    rows = np.zeros((len(texts), len(categories)), np.float32)
    rows[np.arange(len(texts)), np.searchsorted(categories, texts)] = 1
    return rows


def _refuse(name: str, fault: str, hint: str) -> NoReturn:
    raise DataError(f"{name} {fault}", hint)
