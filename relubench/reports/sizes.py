"""Sizes of folders, for people."""

from __future__ import annotations

import contextlib
from pathlib import Path


def folder_size(folder: Path) -> int:
    """Bytes in the files under `folder`; files that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def readable(size: float) -> str:
    """`11 MB`: powers of 1000, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
