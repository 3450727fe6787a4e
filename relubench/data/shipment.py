"""A prepared data set on its way to another machine: the files of its copy in pieces, checked where they arrive."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from relubench.data.files.cache import disk_full_as_error, locked, scratch, writable_root
from relubench.data.prepared import META, DataReference, check_whole, is_whole
from relubench.data.reference import copy_here
from relubench.data.split_arrays import SPLITS
from relubench.errors import DataError

PIECE_BYTES = 2**26
"""A larger file travels in several pieces."""

FILES = frozenset({META, *(f"{kind}_{split}.npy" for kind in "xy" for split in SPLITS)})
"""The files of a prepared copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a file of a prepared copy."""

    file: str
    offset: int
    content: bytes


def pieces(reference: DataReference) -> Iterator[Piece]:
    """The files of the copy that is here, one piece after the other; raises DataError where it is gone or damaged."""
    prepared = copy_here(reference)
    if prepared is None:
        raise DataError(f"the prepared copy of {reference.name} is gone", "repeat the command: it is made anew")
    check_whole(prepared)
    for name in sorted(FILES):
        yield from _pieces_of(prepared.folder / name)


def receive(reference: DataReference, sent: Iterable[Piece]) -> None:
    """Put a data set that was sent into the cache of this machine, once.

    Raises DataError where its files are not what their SHA-256 says, ComputeError where the disk is full.
    """
    root = writable_root(lambda line: None)
    key = f"sent-{reference.digest[:16]}"
    with locked(root / f".{key}.lock", "", lambda line: None):
        if copy_here(reference) is not None:
            return
        with disk_full_as_error(f"the data set {reference.name}", root), scratch(root, key) as work:
            for piece in sent:
                if piece.file not in FILES:
                    raise DataError(f"{piece.file} is no file of a prepared data set", "repeat the command")
                with (work / piece.file).open("ab") as file:
                    file.seek(piece.offset)
                    file.write(piece.content)
            if not is_whole(work, reference.digest):
                raise DataError(f"the data set {reference.name} was altered on its way", "repeat the command")
            (work / "whole").mkdir()
            for name in FILES:
                (work / name).rename(work / "whole" / name)
            (work / "whole").rename(root / key)


def pack(sent: Iterable[Piece], folder: Path) -> None:
    """Write the pieces into a folder, from which `unpacked` gives them back: whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sending-", dir=folder.parent) as work:
        content = Path(work) / "content"
        content.mkdir()
        for piece in sent:
            with (content / piece.file).open("ab") as file:
                file.write(piece.content)
        with contextlib.suppress(FileExistsError):  # Another command has sent it meanwhile.
            content.rename(folder)


def unpacked(folder: Path) -> Iterator[Piece]:
    """The pieces that `pack` wrote; raises OSError."""
    for path in sorted(folder.iterdir()):
        yield from _pieces_of(path)


def _pieces_of(path: Path) -> Iterator[Piece]:
    with path.open("rb") as file:
        offset = 0
        while content := file.read(PIECE_BYTES):
            yield Piece(file=path.name, offset=offset, content=content)
            offset += len(content)
