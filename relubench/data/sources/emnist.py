"""EMNIST's six splits, through torchvision's own class, from the one published archive or files taken out of it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from relubench.data.files.checksums import check_md5, damage_errors, refuse
from relubench.data.files.locate import SourceFiles
from relubench.data.files.torchvision_import import torchvision_dataset_tools, torchvision_datasets
from relubench.data.formats.idx import unpack
from relubench.data.source_row import SourceRow
from relubench.data.sources.mnist import UNVERIFIED, from_torchvision, idx_shapes
from relubench.data.split_arrays import SplitArrays

ARCHIVE = "gzip.zip"


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 1, 28, 28], upright, and y int64 [N] from 0; the archive is verified first (DataError).

    The published images are stored column by column (transposed): they are turned upright here. The labels of
    'letters' run from 1 to 26 in the files, from 0 to 25 here.
    """
    cls = torchvision_datasets().EMNIST
    raw = work / cls.__name__ / "raw"
    raw.mkdir(parents=True)
    files, note = source.files, UNVERIFIED
    if files[0][0] == ARCHIVE:
        check_md5(files[0][1], cls.md5, row.url)
        files, note = _extract(row, files[0][1], work), ""
    for (label, path), shape in zip(files, idx_shapes(row), strict=True):
        unpack(path, raw / label.removesuffix(".gz"), shape, row.url)
    train, test = (cls(work, split=row.variant, train=part) for part in (True, False))
    return from_torchvision(row, train, test, note, lowest=int(row.variant == "letters"), turn=True)


def _extract(row: SourceRow, archive: Path, work: Path) -> tuple[tuple[str, Path], ...]:
    """The four .gz members of `row`'s split, copied out of the archive into `work`."""
    members: list[tuple[str, Path]] = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for label in (role[0] for role in row.file_sets[-1]):
                path = work / label
                with opened.open(f"gzip/{label}") as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
                members.append((label, path))
    except (*damage_errors(), KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refuse(archive, f"is damaged: {error}", row.url)
    return tuple(members)


def download(row: SourceRow, folder: Path) -> None:
    """Downloads the archive (560 MB) into `folder`; it stays packed, unpacked it would take six times the room."""
    cls = torchvision_datasets().EMNIST
    tools = torchvision_dataset_tools()
    tools.download_url(cls.url, folder / row.folders[0], filename=ARCHIVE, md5=cls.md5)
