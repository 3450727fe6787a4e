"""A safe reader of .npz files: bounded memory, no unpickling, and every fault is a DataError.

A .npz is a zip archive of .npy members. numpy's own reader believes a member's header before it has read anything else;
here the announced size is compared with the archive's, and with the memory of the machine, before there is an array.
"""

from __future__ import annotations

import contextlib
import io
import math
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from relubench.data.memory import check_room
from relubench.data.notes import refuse
from relubench.errors import DataError

SUFFIX = ".npy"
CHUNK = 2**18
"""Bytes of a member that are read at once."""
DIRECTORY_BYTES = 2**20
"""The largest table of contents, and the most that is read in one piece: that of ten thousand arrays."""
HEADER_BYTES = 10_000
"""The longest header of a member, numpy's own bound."""
METHODS = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}
"""Compression methods that numpy does not write: both may need gigabytes of memory to be unpacked."""
ZIP_MAGIC = b"PK\x03\x04"
"""The first bytes of an archive that holds anything."""
ENCRYPTED = 0x1
"""The bit of a member's flags."""
SAVE_AGAIN = "save it again with numpy.savez, and copy it whole"


@dataclass(frozen=True, slots=True)
class Header:
    """A member's header: shape, type and order in memory of its array, and the size of the header itself in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    size: int

    @property
    def nbytes(self) -> int:
        """The bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Archive:
    """An open .npz file: its arrays, by name."""

    path: Path
    zip: zipfile.ZipFile

    @property
    def names(self) -> list[str]:
        """The arrays' names, sorted, each as often as it occurs."""
        return sorted(name.removesuffix(SUFFIX) for name in self.zip.namelist())

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays called `names`, once all of them are known to fit into memory; raises DataError."""
        with _as_data_error(self.path):
            counts = Counter(self.names)
            members = {name: self._member(name, counts[name]) for name in names}
        headers: dict[str, Header] = {}
        for name, member in members.items():
            with _as_data_error(self.path, name):
                headers[name] = self._header(name, member)
        check_room(f"{self.path}", sum(header.nbytes for header in headers.values()))
        arrays: dict[str, np.ndarray] = {}
        for name, member in members.items():
            with _as_data_error(self.path, name):
                arrays[name] = self._array(member, headers[name])
        return arrays

    def _member(self, name: str, count: int) -> zipfile.ZipInfo:
        if count != 1:
            refuse(self.path, f"holds {name} {count} times", "keep one array of each name")
        member = self.zip.getinfo(name + SUFFIX if name + SUFFIX in self.zip.namelist() else name)
        if member.flag_bits & ENCRYPTED:
            refuse(self.path, f"is encrypted (at {name})", "save it again with numpy.savez, without a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            method = METHODS.get(member.compress_type, str(member.compress_type))
            fault = f"holds {name} compressed by the method {method}, which numpy does not write"
            refuse(self.path, fault, "save it again with numpy.savez or numpy.savez_compressed")
        return member

    def _header(self, name: str, member: zipfile.ZipInfo) -> Header:
        with self.zip.open(member) as stream:
            header = _read_header(stream)
        if header.dtype.hasobject:
            fault = f"holds Python objects in {name}"
            refuse(self.path, fault, f"save labels as {name}.astype(str), images of one shape as numpy.stack({name})")
        if header.size + header.nbytes != member.file_size:
            announced, num_present = f"{header.dtype} {header.shape}", member.file_size - header.size
            refuse(self.path, f"announces {announced} in {name}, and has {num_present:,} bytes of it", SAVE_AGAIN)
        return header

    def _array(self, member: zipfile.ZipInfo, header: Header) -> np.ndarray:
        content = np.empty(header.nbytes, np.uint8)
        with self.zip.open(member) as stream:
            _read_exactly(stream, header.size)
            for start in range(0, len(content), CHUNK):
                part = content[start : start + CHUNK]
                part[:] = np.frombuffer(_read_exactly(stream, len(part)), np.uint8)
            # Reading at the end is what verifies the member's checksum.
            stream.read(1)
        flat = content.view(header.dtype)
        return flat.reshape(header.shape, order="F" if header.fortran else "C")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive at `path`, open inside the block; raises DataError where there is none."""
    if not path.stat().st_size:
        refuse(path, "is empty", SAVE_AGAIN)
    with contextlib.ExitStack() as stack:
        with _as_data_error(path):
            archive = zipfile.ZipFile(stack.enter_context(_BoundedReader(io.FileIO(path))))  # type: ignore[arg-type]
            stack.enter_context(archive)
        yield Archive(path, archive)


def check_regular(path: Path) -> None:
    """Raises DataError where `path` is not a plain file: a device or a pipe may have no end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        link = "a link to nothing" if path.is_symlink() else f"not there: {error.strerror}"
        raise DataError(f"{path} is {link}", "check the path, and that the file it names is there") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
        refuse(path, f"is {kinds.get(stat.S_IFMT(mode), 'a device')}, no file", "copy the data into a file first")


class _BoundedReader(io.BufferedReader):
    """A file that refuses to read a larger piece than any valid table of contents."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            place = self.tell()
            size = self.seek(0, io.SEEK_END) - place
            self.seek(place)
        if size > DIRECTORY_BYTES:
            raise ValueError(f"its table of contents is larger than {DIRECTORY_BYTES:,} bytes")
        return super().read(size)


@contextlib.contextmanager
def _as_data_error(path: Path, name: str = "") -> Iterator[None]:
    """Turns whatever a damaged or hostile archive raises inside the block into a DataError that names the file."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    # zipfile, zlib, numpy and ast raise more kinds than can be listed: all of them mean that the file is damaged.
    except Exception as error:
        where = f" (at {name})" if name else ""
        why = " ".join(str(error).split()) or type(error).__name__
        if "not a zip file" in why and _begins_as_zip(path):
            size = f"{path.stat().st_size:,} bytes"
            refuse(path, f"is truncated: {size}, and the table of contents at a .npz file's end is missing", SAVE_AGAIN)
        why = "it is no zip archive" if "not a zip file" in why else why
        refuse(path, f"is not a whole .npz file{where}: {why[:200]}", SAVE_AGAIN)


def _begins_as_zip(path: Path) -> bool:
    """Whether the file begins as an archive does, as far as it goes."""
    with path.open("rb") as file:
        start = file.read(len(ZIP_MAGIC))
    return bool(start) and ZIP_MAGIC.startswith(start)


def _read_header(stream: IO[bytes]) -> Header:
    magic = _read_exactly(stream, np.lib.format.MAGIC_LEN)
    major, minor = np.lib.format.read_magic(io.BytesIO(magic))
    if (major, minor) not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its format {major}.{minor} is unknown")
    prefix = _read_exactly(stream, 2 if major == 1 else 4)
    length = int.from_bytes(prefix, "little")
    if length > HEADER_BYTES:
        raise ValueError(f"its header has {length:,} bytes, and {HEADER_BYTES:,} are the most")
    text = _read_exactly(stream, length)
    # numpy's public readers know formats 1 and 2; 3 differs from 2 in the names of fields, and there are none here.
    header_stream = io.BytesIO(prefix + text)
    read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape, fortran, dtype = read_header(header_stream)
    if any(side < 0 for side in shape):
        raise ValueError(f"its header announces the shape {shape}")
    return Header(tuple(int(side) for side in shape), dtype, fortran, len(magic) + len(prefix) + len(text))


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("it ends too early")
    return content
