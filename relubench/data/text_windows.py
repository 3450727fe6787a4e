"""A text as context windows: each of its bytes but the last few is predicted from those before it. Torch-free.

A prepared copy holds the bytes of each part, one after the other; how long a window is decides nothing there. Windows
of the validation and test parts follow each other from the first byte on. Those of the training part are as many, but
begin at another offset in every epoch (`training.text`), so that a network meets every cut of the text.
"""

from __future__ import annotations

from dataclasses import replace

from relubench.data.facts import PART_NAMES
from relubench.data.files import digest
from relubench.data.prepared import PreparedData
from relubench.data.source_row import LANGUAGE
from relubench.data.split import check_train_size
from relubench.data.split_arrays import SPLITS
from relubench.errors import DataError, UsageError

CONTEXT = 128
"""Characters of a window unless the user says otherwise."""


def is_text(prepared: PreparedData) -> bool:
    """Whether the data are a text, cut into windows or not yet."""
    return prepared.input_shape == () or prepared.context is not None


def windowed(prepared: PreparedData) -> PreparedData:
    """A text cut into windows of the context that its options say; other data as they are.

    Raises UsageError for a context or a train_size that the text cannot meet, or where the data are no text.
    """
    options = prepared.options
    if prepared.input_shape != ():
        if options.context is not None:
            raise UsageError(f"--context belongs to texts, and {prepared.name} is none", "leave --context out")
        return prepared
    context = options.context or CONTEXT
    sizes = dict(zip(SPLITS, (prepared.n_train, prepared.n_valid, prepared.n_test), strict=True))
    for split, size in sizes.items():
        if size <= context:
            raise DataError(
                f"the {PART_NAMES[split]} part of {prepared.name} has {size:,} characters, which is less than a "
                f"context of {context} and the character after it",
                f"use a longer text, or --context {max(1, size // 4)}" if size > 1 else "use a longer text",
            )
    n_train = training_windows(sizes["train"], context)
    if options.train_size is not None:
        check_train_size(options.train_size, n_train, prepared.name)
        n_train = options.train_size
    view = {"data": prepared.digest, "context": context, "windows": n_train}
    return replace(
        prepared,
        input_shape=(context,),
        context=context,
        n_train=n_train,
        n_valid=windows(sizes["valid"], context),
        n_test=windows(sizes["test"], context),
        digest=digest.of_value(view) if prepared.digest else "",
        copy_digest=prepared.digest,
        task=LANGUAGE,
        source=f"{prepared.source}; windows of {context} characters",
    )


def windows(size: int, context: int) -> int:
    """The windows of a part of so many bytes: the last byte of all is only ever predicted."""
    return (size - 1) // context


def training_windows(size: int, context: int) -> int:
    """The training windows of a part of so many bytes, wherever below `context` the first of them begins."""
    return max(1, (size - context) // context)
