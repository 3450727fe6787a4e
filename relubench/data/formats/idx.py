"""IDX files (MNIST's format): a private, uncompressed, checked copy for torchvision's reader. Torch-free."""

from __future__ import annotations

import gzip
import math
import shutil
import struct
from pathlib import Path

from relubench.data.files.checksums import damage_errors, refuse
from relubench.errors import DataError

UINT8 = 8
"""The format's type code of unsigned bytes."""


def unpack(source: Path, target: Path, shape: tuple[int, ...], url: str) -> None:
    """Copies `source` to `target`, decompressed if it is a .gz, and checks that it is exactly uint8 `shape`.

    torchvision reads uncompressed files only, and its reader accepts trailing bytes. Raises DataError.
    """
    with target.open("wb") as out:
        if source.suffix == ".gz":
            try:
                with gzip.open(source, "rb") as stream:
                    shutil.copyfileobj(stream, out)
            except EOFError:
                refuse(source, "is truncated: its gzip stream goes on after the end", url)
            except damage_errors() as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                refuse(source, f"is damaged: {error}", url)
        else:
            with source.open("rb") as stream:
                shutil.copyfileobj(stream, out)
    _check(source, target, shape, url)


def _check(source: Path, target: Path, shape: tuple[int, ...], url: str) -> None:
    size = target.stat().st_size
    header = 4 + 4 * len(shape)
    if not size:
        refuse(source, "is empty", url)
    with target.open("rb") as stream:
        start = stream.read(header)
    if len(start) < header or start[:4] != bytes((0, 0, UINT8, len(shape))):
        refuse(source, f"is not an IDX file of unsigned bytes with {len(shape)} dimensions", url)
    dims = struct.unpack(f">{len(shape)}I", start[4:])
    if dims != shape:
        raise DataError(
            f"{source} holds {' x '.join(map(str, dims))} where {' x '.join(map(str, shape))} is expected",
            f"is it another data set's file? the original is at {url}",
        )
    expected_size = header + math.prod(shape)
    if size < expected_size:
        refuse(source, f"is truncated: {size} bytes uncompressed, {expected_size} expected", url)
    if size > expected_size:
        refuse(source, f"is altered: {size} bytes uncompressed, {expected_size} expected", url)
