"""The kinds of files that a user's own data may be, and the options that only some of them take. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relubench.errors import UsageError

if TYPE_CHECKING:
    from relubench.data.prepared import DataOptions

TABLES = (".csv", ".parquet")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
TEXTS = (".txt", ".text", ".md", ".rst", ".tex")
FILES = (".npz", *TABLES, *PICTURES, *TEXTS)
"""What the name of a user's own file ends in, in any case."""


def check_no_columns(name: str, options: DataOptions) -> None:
    """Raises UsageError for options about columns, which `name` does not have."""
    if options.target is not None:
        raise UsageError(f"--target {options.target} names a column of a table: {name} is none", "leave it out")
    if options.ignore:
        raise UsageError(f"data.ignore names columns of a table: {name} is none", "leave it out")
