"""A user's own data: which reader a file or folder has, by its name. Torch-free."""

from __future__ import annotations

from pathlib import Path

from relubench.data.prepared import DataOptions
from relubench.data.request import Request
from relubench.data.sources import folder, npz, picture, table, text
from relubench.data.text_files import is_text_path
from relubench.data.user_files import PICTURES, TABLES, check_no_columns
from relubench.errors import UsageError


def request_of(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the user's data at `path`; raises UsageError for options that they do not take."""
    suffix = path.suffix.lower()
    if not path.is_dir() and suffix in TABLES:
        return table.request(name, path, options)
    check_no_columns(name, options)
    if is_text_path(path):
        if options.task != "auto":
            raise UsageError(f"data.task {options.task}: the next character of a text is predicted", "leave it out")
        return text.request(name, path, options)
    if path.is_dir() or suffix in PICTURES:
        if options.task != "auto":
            kind = "folders of images hold classes" if path.is_dir() else "a picture's colours are fitted"
            raise UsageError(f"data.task {options.task}: {kind}", "leave it out")
        return folder.request(name, path, options) if path.is_dir() else picture.request(name, path, options)
    return npz.request(name, path, options)
