"""Answers kept in the cache folder, each with its own SHA-256: one that is damaged is no answer, and is found anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relubench.system import integrity
from relubench.system.files import read_plain, write_atomically


def read_answer(path: Path) -> dict[str, Any] | None:
    """The values that `keep_answer` was given; None where there are none, or not as they were written."""
    try:
        return integrity.read_json(read_plain(path), path.name)
    except (OSError, ValueError, RecursionError):
        return None


def keep_answer(path: Path, values: dict[str, Any]) -> None:
    """Keep the values; raises OSError where they cannot be written."""
    write_atomically(path, integrity.sealed_json(values, path.name))
