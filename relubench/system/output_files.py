"""Files that a person names for a result: checked before any work, written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

from relubench.errors import ComputeError, UsageError
from relubench.system.files import check_writable, write_file


def check_file(option: str, path: Path) -> None:
    """Raises UsageError if `path` cannot be written: its folder has to be there already."""
    try:
        check_writable(path)
    except IsADirectoryError:
        raise UsageError(f"{option} {path} is a folder", "give the name of a file in it") from None
    except FileNotFoundError as error:
        folder = path.resolve().parent if path.is_symlink() else path.parent
        raise UsageError(
            f"{option} {path}: there is no folder {folder}", f"make it first: mkdir -p {folder}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return  # Room may be made meanwhile, and the result goes to stdout otherwise.
        reason = error.strerror or str(error)
        raise UsageError(
            f"{option} {path} cannot be written: {reason[:1].lower()}{reason[1:]}",
            "change the permissions, or choose another place",
        ) from error


def save_file(option: str, path: Path, content: bytes) -> None:
    """Write a file that a flag names; raises ComputeError where that fails after all."""
    try:
        write_file(path, content)
    except OSError as error:
        raise ComputeError(
            f"{option} {path} was not written: {error.strerror or error}", "name another file"
        ) from error
