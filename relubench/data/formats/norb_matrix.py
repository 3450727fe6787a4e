"""The binary matrix format of the NORB files ("-dat.mat", not Matlab's .mat): its header, and its contents in blocks.

All little-endian: int32 magic number (the element type), int32 ndim, max(3, ndim) int32 dimensions (those beyond ndim
mean nothing), then the elements, the last dimension running fastest. Source: cs.nyu.edu/~ylclab/data/norb-v1.0.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from relubench.data.files.checksums import damage_errors, refuse
from relubench.errors import with_article

MAGIC: dict[int, tuple[str, np.dtype | None]] = {
    0x1E3D4C51: ("float32", np.dtype("<f4")),
    0x1E3D4C52: ("packed", None),
    0x1E3D4C53: ("float64", np.dtype("<f8")),
    0x1E3D4C54: ("int32", np.dtype("<i4")),
    0x1E3D4C55: ("uint8", np.dtype("u1")),
    0x1E3D4C56: ("int16", np.dtype("<i2")),
}
"""Each magic number: the name of its element type, and numpy's type for it."""
MAX_DIMENSIONS = 8
"""A file with more dimensions than this is not a matrix."""
GZIP = ".gz"
BLOCK_ROWS = 2**16
"""Labels read at once: a header that lies about their number costs no memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """One file, with a header that is valid."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    """Bytes of the header."""
    url: str
    """The address of the original, for the hint of an error."""

    def refuse(self, fault: str) -> NoReturn:
        """Raises DataError; the `fault` is a phrase that follows the file's name."""
        refuse(self.path, fault, self.url)

    def to_array(self) -> np.ndarray:
        """All elements, in memory: for labels, not for images."""
        return np.concatenate([np.array(block) for block in self.blocks(BLOCK_ROWS)])

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """The elements in order, at most `rows` of the first dimension at a time; a block lives until the next one.

        A .mat is mapped, a .mat.gz decompressed into one block's memory; its checksum is verified at the end. Raises
        DataError for a file that is longer or shorter than its header says, or damaged.
        """
        if self.path.suffix == GZIP:
            yield from self._decompressed_blocks(rows)
            return
        expected_size, size = self.offset + self._num_bytes(self.shape[0]), self.path.stat().st_size
        if size < expected_size:
            self.refuse(f"is truncated: {size} bytes, and its header announces {expected_size}")
        if size > expected_size:
            self.refuse(f"has {size - expected_size} bytes too many: its header announces {expected_size}")
        for start, stop in self._row_ranges(rows):
            shape = (stop - start, *self.shape[1:])
            # A map for each block: when a block is released, so are its pages.
            yield np.memmap(self.path, self.dtype, "r", self.offset + self._num_bytes(start), shape)

    def _decompressed_blocks(self, rows: int) -> Iterator[np.ndarray]:
        buffer = np.empty((min(rows, self.shape[0]), *self.shape[1:]), self.dtype)
        with _reading(self.path, self.url), gzip.open(self.path, "rb") as stream:
            stream.seek(self.offset)
            for start, stop in self._row_ranges(rows):
                block = buffer[: stop - start]
                num_read = _read_into(stream, block)
                if num_read < block.nbytes:
                    announced = self.offset + self._num_bytes(self.shape[0])
                    size = self.offset + self._num_bytes(start) + num_read
                    self.refuse(f"is truncated: {size} bytes uncompressed, and its header announces {announced}")
                yield block
            # Reading at the end is also what verifies the stream's own checksum.
            if stream.read(1):
                self.refuse("has bytes too many after the last element that its header announces")

    def _row_ranges(self, rows: int) -> Iterator[tuple[int, int]]:
        for start in range(0, self.shape[0], rows):
            yield start, min(start + rows, self.shape[0])

    def _num_bytes(self, rows: int) -> int:
        return rows * math.prod(self.shape[1:]) * self.dtype.itemsize


def read_header(path: Path, url: str) -> Matrix:
    """The matrix in `path` (.mat or .mat.gz), as its header describes it; raises DataError for anything else."""
    with _reading(path, url), _opened(path) as stream:
        start = stream.read(8)
        if len(start) < 8:
            refuse(path, f"is truncated: {len(start)} bytes, too few for a header" if start else "is empty", url)
        magic, ndim = struct.unpack("<II", start)
        dtype = _element_type(path, magic, url)
        if not 1 <= ndim <= MAX_DIMENSIONS:
            refuse(path, f"has {ndim} dimensions in its header where 1 to {MAX_DIMENSIONS} are expected", url)
        n_dims = max(3, ndim)
        packed = stream.read(4 * n_dims)
        if len(packed) < 4 * n_dims:
            refuse(path, f"is truncated: {8 + len(packed)} bytes, too few for a header of {8 + 4 * n_dims}", url)
    shape = struct.unpack(f"<{n_dims}i", packed)[:ndim]
    if min(shape) < 1:
        refuse(path, f"has the dimensions {format_shape(shape)} in its header", url)
    return Matrix(path=path, dtype=dtype, shape=shape, offset=8 + 4 * n_dims, url=url)


def format_shape(shape: tuple[int, ...]) -> str:
    """A shape as text: 24300 x 2 x 96 x 96."""
    return " x ".join(map(str, shape))


def _element_type(path: Path, magic: int, url: str) -> np.dtype:
    name, dtype = MAGIC.get(magic, ("", None))
    if dtype is not None:
        return dtype
    if name:
        refuse(path, f"holds {with_article(name)} matrix (magic number 0x{magic:08X}), which NORB does not use", url)
    swapped = int.from_bytes(magic.to_bytes(4, "little"), "big")
    if swapped in MAGIC:
        refuse(
            path, f"is big-endian (magic number 0x{swapped:08X} back to front): the originals are little-endian", url
        )
    refuse(path, f"is no binary matrix: its magic number 0x{magic:08X} is none of 0x1E3D4C51 to 0x1E3D4C56", url)


def _opened(path: Path) -> IO[bytes]:
    # GzipFile is a binary stream in all but its declared type.
    return gzip.open(path, "rb") if path.suffix == GZIP else path.open("rb")  # type: ignore[return-value]


@contextlib.contextmanager
def _reading(path: Path, url: str) -> Iterator[None]:
    """Turns what a damaged gzip stream raises inside the block into a DataError."""
    try:
        yield
    except EOFError:
        refuse(path, f"is truncated: {path.stat().st_size} bytes, and its gzip stream goes on", url)
    except damage_errors() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refuse(path, f"is damaged: {error}", url)


def _read_into(stream: IO[bytes] | gzip.GzipFile, block: np.ndarray) -> int:
    """Reads into `block` until it is full or the stream ends; returns the number of bytes read."""
    view, num_read = memoryview(block).cast("B"), 0  # type: ignore[arg-type]
    while num_read < len(view):
        count = stream.readinto(view[num_read:])  # type: ignore[union-attr]
        if not count:
            break
        num_read += count
    return num_read
