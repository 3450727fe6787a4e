"""Fixed splits: the images that validate, and the subset for a smaller train_size. Torch-free."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import numpy as np

from relubench.data.files import digest
from relubench.data.prepared import PreparedData
from relubench.data.source_row import SourceRow
from relubench.data.split_arrays import Labelled, SplitArrays, named
from relubench.data.stratified_order import stratified_order
from relubench.errors import DataError, UsageError

VALID_FRACTION = 6
"""One in six of a user's own training examples validates, as in MNIST."""
VALID_AT_MOST = 10_000
"""The most examples of a user's own that validate."""


def hold_out(y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(train, holdout): `stratified_order` draws n of [N] labels; indices of all others and of these, ascending."""
    order = stratified_order(y)
    return np.sort(order[n:]), np.sort(order[:n])


def validation_size(n: int) -> int:
    """The number of validation examples for n training examples of a user's own data."""
    return min(n // VALID_FRACTION, VALID_AT_MOST)


def last_of_train(row: SourceRow, train: Labelled, test: Labelled, note: str = "") -> SplitArrays:
    """`row`'s parts: the last n_valid of the training images (uint8 [N, C, H, W]) validate.

    Raises DataError if the numbers, the shape or the labels are not the table's: then these are other data.
    """
    for part, (x, y), expected in (("training", train, row.n_train + row.n_valid), ("test", test, row.n_test)):
        if len(x) != expected or len(y) != expected:
            _refuse(row, f"{len(x)} {part} images and {len(y)} labels where {expected} are expected")
        if x.dtype != np.uint8 or x.shape[1:] != row.input_shape:
            _refuse(row, f"{part} images {x.dtype} {x.shape[1:]} where uint8 {row.input_shape} is expected")
        if y.min() < 0 or y.max() >= row.classes:
            _refuse(row, f"{part} labels from {y.min()} to {y.max()} where 0 to {row.classes - 1} are expected")
    (x, y), n = train, row.n_train
    return SplitArrays(
        **named((x[:n], y[:n]), (x[n:], y[n:]), test),
        classes=row.classes,
        scale=1 / 255,
        note="; ".join(filter(None, (row.split, note))),
    )


def first_of_test(row: SourceRow, train: Labelled, test: Labelled, note: str = "") -> SplitArrays:
    """`row`'s parts, checked likewise: all training images train, the first n_valid of the test images validate."""
    n = row.n_valid
    official = dataclasses.replace(row, n_valid=0, n_test=n + row.n_test)
    parts = last_of_train(official, train, test, note)
    x, y = parts.x_test, parts.y_test
    return dataclasses.replace(parts, x_valid=x[:n], y_valid=y[:n], x_test=x[n:], y_test=y[n:])


def divide(row: SourceRow, train: Labelled, test: Labelled) -> SplitArrays:
    """`row`'s parts out of the official ones, the validation images taken from where the row says."""
    rule = first_of_test if row.valid_from == "test" else last_of_train
    return rule(row, train, test)


def _refuse(row: SourceRow, contents: str) -> NoReturn:
    raise DataError(f"the files of {row.name} hold {contents}", f"get the originals from {row.url}")


def check_train_size(train_size: int, available: int, name: str) -> None:
    """Raises UsageError if more training images are asked for than there are."""
    if train_size > available:
        raise UsageError(
            f"train_size {train_size} is more than the {available} training images of {name}",
            f"at most {available}; leave train_size out to use them all",
        )


def check_labels(labels: int, available: int, name: str) -> None:
    """Raises UsageError if more labels are asked for than there are training images."""
    if labels > available:
        raise UsageError(
            f"labels {labels} is more than the {available} training images of {name}",
            f"at most {available}; leave labels out to use them all",
        )


def limit_train(parts: SplitArrays, train_size: int | None, name: str) -> SplitArrays:
    """`parts` with only the first `train_size` training examples in `stratified_order`; None keeps all."""
    if train_size is None:
        return parts
    available = len(parts.y_train)
    check_train_size(train_size, available, name)
    indices = np.sort(stratified_order(parts.y_train)[:train_size])
    return dataclasses.replace(
        parts,
        x_train=parts.x_train[indices],
        y_train=parts.y_train[indices],
        note=f"{parts.note}; only {train_size} of {available} training images",
    )


def limit_labels(prepared: PreparedData) -> PreparedData:
    """`prepared` with as many labels of training images as its options leave, on the same files."""
    labels = prepared.options.labels
    if labels is None:
        return prepared
    check_labels(labels, prepared.n_train, prepared.name)
    if labels == prepared.n_train:
        return prepared
    share = f"labels of only {labels:,} of {prepared.n_train:,} training images, drawn class by class"
    return dataclasses.replace(
        prepared,
        labels=labels,
        n_train=labels,
        n_images=prepared.n_train,
        images_digest=prepared.digest,
        digest=digest.of_value({"data": prepared.digest, "labels": labels}),
        source=f"{prepared.source}; {share}",
    )
