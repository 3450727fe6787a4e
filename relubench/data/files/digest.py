"""The sha256 of a set of source files, which identifies a data set wherever its files are. Torch-free."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relubench.errors import DataError
from relubench.system.kept_answers import keep_answer, read_answer
from relubench.system.paths import cache_root

ALWAYS_HASHED_BYTES = 64 * 2**20
"""Smaller sets are read every time (a tenth of a second); larger ones if a path, size or time has changed."""

LabelledFile = tuple[str, Path]


def of_value(value: Any) -> str:
    """The sha256 (hex) of a JSON value, keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def of_files(files: Sequence[LabelledFile]) -> str:
    """The sha256 (hex) over every file's label and contents, in order; raises DataError for one that cannot be read."""
    stamps: list[tuple[str, str, int, int]] = []
    try:
        for label, path in files:
            stat = path.stat()
            stamps.append((label, str(path.resolve()), stat.st_size, stat.st_mtime_ns))
        if sum(stamp[2] for stamp in stamps) < ALWAYS_HASHED_BYTES:
            return _hash_files(files)
        stored_path = cache_root() / "digests" / of_value(stamps)
        if (stored := read_answer(stored_path)) is not None:
            return stored["digest"]
        digest = _hash_files(files)
    except OSError as error:
        raise DataError(
            f"{error.filename or 'a source file'} cannot be read: {error.strerror or error}",
            "check that the file is there and that its permissions allow reading it",
        ) from error
    # Where it cannot be stored, the next call hashes again.
    with contextlib.suppress(OSError):
        keep_answer(stored_path, {"digest": digest})
    return digest


def _hash_files(files: Sequence[LabelledFile]) -> str:
    total = hashlib.sha256()
    for label, path in files:
        with path.open("rb") as handle:
            contents = hashlib.file_digest(handle, "sha256").hexdigest()
        # surrogateescape: a file's name may hold bytes that are not UTF-8.
        total.update(f"{len(label)}:{label}={contents}\n".encode(errors="surrogateescape"))
    return total.hexdigest()
