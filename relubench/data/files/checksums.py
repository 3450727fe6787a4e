"""The check that a source file is the published one, and the error that says what is wrong with it. Torch-free."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NoReturn

from relubench.errors import DataError

BLOCK = 2**20


def damage_errors() -> tuple[type[Exception], ...]:
    """The exceptions of Python's own readers for a damaged compressed file; the readers are slow to import."""
    import lzma
    import tarfile
    import zipfile
    import zlib

    return (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)


def check_md5(path: Path, expected: str, url: str) -> None:
    """Raises DataError, naming `path` and what is wrong, unless its md5 is the published one."""
    size = path.stat().st_size
    if not size:
        refuse(path, "is empty", url)
    with path.open("rb") as handle:
        # Not for security: md5 is what the publishers give.
        actual = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if actual == expected:
        return
    refuse(path, _damage(path, size) or f"is altered: its md5 is {actual}, the published file's is {expected}", url)


def refuse(path: Path, fault: str, url: str) -> NoReturn:
    """Raises DataError: the file `path`, the `fault` as a phrase that follows its name, and what to do."""
    raise DataError(f"{path} {fault}", f"delete it, and it is downloaded again; or put the original from {url} there")


def _damage(path: Path, size: int) -> str:
    """The fault that a compressed stream's end mark and checksum show; empty if there is none, or no compression."""
    import bz2
    import gzip

    opener = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix)
    if opener is None:
        return ""
    try:
        with opener(path, "rb") as stream:
            while stream.read(BLOCK):
                pass
    except EOFError:
        return f"is truncated: {size} bytes, and its {path.suffix} stream goes on"
    except damage_errors() as error:
        return f"is damaged: {error}"
    return ""
