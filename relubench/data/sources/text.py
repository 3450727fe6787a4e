"""Texts as bytes: Python's own documentation, downloaded ones, and a user's file or folder.

The parts are contiguous: the beginning of a text trains, what follows validates, its end is the test. A prepared copy
holds nothing but the bytes of each part; windows are cut when they are read (`data.text_windows`).
"""

from __future__ import annotations

import codecs
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from relubench.data.files import digest
from relubench.data.files.checksums import check_md5, damage_errors, refuse
from relubench.data.files.locate import SourceFiles
from relubench.data.formats.npz_archive import check_regular
from relubench.data.notes import Remarks, format_count
from relubench.data.prepared import PREPARATION_VERSION, DataOptions
from relubench.data.request import Request, slug
from relubench.data.source_row import LANGUAGE, SourceRow
from relubench.data.split_arrays import SplitArrays, named
from relubench.data.text_files import text_files
from relubench.errors import DataError, UsageError
from relubench.system.lookup import near_names

BYTES = 256
"""The characters that there are."""
HELD_OUT = 10
"""Of a text without sizes of its own, one in so many bytes validates, and as many are the test."""
RULE = f"contiguous parts: one in {HELD_OUT} bytes validates, the last one in {HELD_OUT} is the test"
BLOCK = 2**20
MD5 = {"text8": "3bea1919949baf155f99411df5fada7e", "enwik8": "a1fa5ffddb56f4953e226637dabbb36a"}
"""Of the unpacked files, as their publisher gives them (mattmahoney.net/dc/textdata.html)."""


def load_docs(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """The texts of `pydoc_data.topics`, in the order of their names, each after an empty line."""
    del source, work
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics)).encode()
    return parts_of(np.frombuffer(text, np.uint8), row.split, Remarks(), row.name)


def load_plain(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """A text that is one file, mapped."""
    del work
    ((_, path),) = source.files
    data = np.memmap(path, np.uint8, mode="r")
    if len(data) != row.n_train + row.n_valid + row.n_test:
        refuse(path, f"has {len(data):,} bytes, not {row.n_train + row.n_valid + row.n_test:,}", row.url)
    return parts_of(data, row.split, Remarks(), row.name, (row.n_valid, row.n_test))


def load_zip(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """A text that is packed as the only member of a .zip, unpacked into `work` and verified."""
    ((_, archive),) = source.files
    path = work / row.name
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(row.name) as member, path.open("wb") as target:
            shutil.copyfileobj(member, target, BLOCK)
    except (*damage_errors(), KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refuse(archive, f"is damaged: {error}", row.url)
    check_md5(path, MD5[row.name], row.url)
    unpacked = SourceFiles(root=work, folder=work, files=((row.name, path),))
    return load_plain(row, unpacked, work)


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for a user's text file, or the text files below a folder; raises DataError if there is none."""
    if options.image_size is not None:
        raise UsageError(f"image_size is for folders of images, and {path} is a text", "leave image_size out")
    if options.labels is not None:
        raise UsageError(f"data.labels is for images, and {path} is a text", "leave data.labels out")
    if not path.exists():
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = near_names(path.name, names)
        raise DataError(
            f"there is no file {path}", f"did you mean {path.parent / near[0]}?" if near else "check the path"
        )
    files = text_files(path)
    for file in files:
        check_regular(file)
    labelled = [(file.relative_to(path).as_posix() if file != path else "text", file) for file in files]
    identity = {"version": PREPARATION_VERSION, "kind": "text", "split": RULE, "source": digest.of_files(labelled)}
    return Request(
        name=name,
        slug=slug(path.resolve().stem),
        digest=digest.of_value(identity),
        origin=f"the user's own text {path}",
        load=lambda work: load_user(path, files, work),
        sized=True,
        task=LANGUAGE,
    )


def load_user(path: Path, files: Sequence[Path], work: Path) -> SplitArrays:
    """The parts of a user's text; several files are joined by a line break each."""
    remarks = Remarks()
    if path.is_dir():
        remarks.note(f"{format_count(len(files), 'file')} joined in the order of their names")
    file = files[0] if len(files) == 1 else _joined(files, work / "joined.txt")
    if not file.stat().st_size:
        raise DataError(f"{path} is empty", "give a file with some text in it")
    data = np.memmap(file, np.uint8, mode="r")
    if (place := _not_utf8_at(data)) is not None:
        remarks.note(f"not UTF-8 from byte {place:,} on: its bytes are used as they are")
    return parts_of(data, RULE, remarks, str(path))


def parts_of(
    data: np.ndarray, rule: str, remarks: Remarks, name: str, held_out: tuple[int, int] | None = None
) -> SplitArrays:
    """The parts of a text, uint8 [bytes]; `held_out`: the bytes of the validation and the test part."""
    if len(np.unique(data[:BLOCK])) < 2 and len(np.unique(data)) < 2:
        raise DataError(f"{name} consists of one character only: there is nothing to predict", "use another text")
    n_valid, n_test = held_out or (len(data) // HELD_OUT, len(data) // HELD_OUT)
    n_train = len(data) - n_valid - n_test
    nothing = np.empty(0, np.int64)
    return SplitArrays(
        **named(*((part, nothing) for part in np.split(data, [n_train, n_train + n_valid]))),
        classes=BYTES,
        scale=1.0,
        note=rule,
        remarks=remarks,
    )


def _joined(files: Sequence[Path], target: Path) -> Path:
    """One file with the contents of all, a line break between each two."""
    with target.open("wb") as out:
        for number, file in enumerate(files):
            out.write(b"\n" if number else b"")
            with file.open("rb") as handle:
                shutil.copyfileobj(handle, out, BLOCK)
    return target


def _not_utf8_at(data: np.ndarray) -> int | None:
    """The place of the first byte that is no UTF-8; None where all are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = 0
    for block in (*_blocks(data), b""):
        # Bytes of a character that the block before broke off in are decoded with this one.
        begin = start - len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return begin + error.start
        start += len(block)
    return None


def _blocks(data: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK].tobytes()
