"""Warnings of libraries and of users' code, as notes for the user."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from relubench.system.user_code.records import is_users_file

Note = Callable[[str], None]

LONGEST_WARNING = 300
"""Characters that are shown of a library's warning."""


@contextlib.contextmanager
def warnings_as_notes(label: str, note: Note) -> Iterator[None]:
    """What is warned of inside is said once; the workers, which do the same again, are silent.

    A warning raised in a user's file is that file's: several activations may lie in it, and others import it.
    """
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        for line in dict.fromkeys(
            f"{_whose(warning, label)}: {warning.category.__name__}: {warning.message}" for warning in caught
        ):
            note(" ".join(line.split())[: len(label) + LONGEST_WARNING])


def _whose(warning: warnings.WarningMessage, label: str) -> str:
    """The place in a user's own code where a warning was raised; else `label`, for whose sake a library was called."""
    return f"{Path(warning.filename).name}, line {warning.lineno}" if is_users_file(warning.filename) else label
