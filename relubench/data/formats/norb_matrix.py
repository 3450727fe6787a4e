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

from relubench.data.files.checksums import DAMAGED, refuse
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
"""More than this is no matrix but another file."""
GZIP = ".gz"
BLOCK_ROWS = 2**16
"""Labels read at once: a header that lies about their number costs no memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """One file whose header was read and found sound."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    """Bytes of the header."""
    url: str
    """Where the original is: for the hint of an error."""

    def refuse(self, what: str) -> NoReturn:
        """Raises DataError saying that the file `what`."""
        refuse(self.path, what, self.url)

    def whole(self) -> np.ndarray:
        """All elements, in memory: for labels, not for images."""
        return np.concatenate([np.array(block) for block in self.blocks(BLOCK_ROWS)])

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """The elements in order, at most `rows` of the first dimension at a time; a block lives until the next one.

        A .mat is mapped, a .mat.gz decompressed into one block's memory; its checksum is verified at the end. Raises
        DataError for a file that is longer or shorter than its header says, or damaged.
        """
        if self.path.suffix == GZIP:
            yield from self._unpacked(rows)
            return
        wanted, size = self.offset + self._bytes(self.shape[0]), self.path.stat().st_size
        if size < wanted:
            self.refuse(f"is truncated: {size} bytes, and its header announces {wanted}")
        if size > wanted:
            self.refuse(f"has {size - wanted} bytes too many: its header announces {wanted}")
        for start, stop in self._spans(rows):
            shape = (stop - start, *self.shape[1:])
            # A map of its own for each block: the pages of one that is gone count for nobody's memory.
            yield np.memmap(self.path, self.dtype, "r", self.offset + self._bytes(start), shape)

    def _unpacked(self, rows: int) -> Iterator[np.ndarray]:
        buffer = np.empty((min(rows, self.shape[0]), *self.shape[1:]), self.dtype)
        with _reading(self.path, self.url), gzip.open(self.path, "rb") as stream:
            stream.seek(self.offset)
            for start, stop in self._spans(rows):
                block = buffer[: stop - start]
                got = _fill(stream, block)
                if got < block.nbytes:
                    announced = self.offset + self._bytes(self.shape[0])
                    there = self.offset + self._bytes(start) + got
                    self.refuse(f"is truncated: {there} bytes uncompressed, and its header announces {announced}")
                yield block
            # Reading at the end is also what verifies the stream's own checksum.
            if stream.read(1):
                self.refuse("has bytes too many after the last element that its header announces")

    def _spans(self, rows: int) -> Iterator[tuple[int, int]]:
        for start in range(0, self.shape[0], rows):
            yield start, min(start + rows, self.shape[0])

    def _bytes(self, rows: int) -> int:
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
        refuse(path, f"has the dimensions {spoken(shape)} in its header", url)
    return Matrix(path=path, dtype=dtype, shape=shape, offset=8 + 4 * n_dims, url=url)


def write_header(stream: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Writes the header of a matrix of this type and shape; its elements are to follow."""
    magic = next(number for number, (_, known) in MAGIC.items() if known == dtype)
    padded = (*shape, *(1,) * (3 - len(shape)))
    stream.write(struct.pack(f"<II{len(padded)}i", magic, len(shape), *padded))


def spoken(shape: tuple[int, ...]) -> str:
    """A shape in words: 24300 x 2 x 96 x 96."""
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
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refuse(path, f"is damaged: {error}", url)


def _fill(stream: IO[bytes] | gzip.GzipFile, block: np.ndarray) -> int:
    """Reads into all of `block`; returns the bytes that there were."""
    view, got = memoryview(block).cast("B"), 0  # type: ignore[arg-type]
    while got < len(view):
        count = stream.readinto(view[got:])  # type: ignore[union-attr]
        if not count:
            break
        got += count
    return got
