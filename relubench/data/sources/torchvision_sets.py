"""CIFAR-10 and -100, SVHN and USPS, through torchvision's own classes, URLs and checksums."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from relubench.data.files.checksums import check_md5, damage_errors, refuse
from relubench.data.files.locate import SourceFiles
from relubench.data.files.torchvision_import import torchvision_dataset_tools, torchvision_datasets
from relubench.data.source_row import SourceRow
from relubench.data.split import divide, last_of_train
from relubench.data.split_arrays import Labelled, SplitArrays


def load_cifar(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 3, 32, 32] and y int64 [N] (CIFAR-100: the fine labels), from the batches or their archive.

    The batches are pickles: each is verified against torchvision's md5 before anything is unpickled (DataError).
    """
    cls = _class(row)
    root = source.folder
    if source.files[0][0] == cls.filename:
        archive = source.files[0][1]
        check_md5(archive, cls.tgz_md5, row.url)
        root = _extract(archive, work, row)
    published = dict((*cls.train_list, *cls.test_list, (cls.meta["filename"], cls.meta["md5"])))
    for name, md5 in published.items():
        check_md5(root / cls.base_folder / name, md5, row.url)

    def labelled(dataset: Any) -> Labelled:
        return dataset.data.transpose(0, 3, 1, 2), np.asarray(dataset.targets, dtype=np.int64)

    return divide(row, labelled(cls(root, train=True)), labelled(cls(root, train=False)))


def _extract(archive: Path, work: Path, row: SourceRow) -> Path:
    try:
        with tarfile.open(archive) as opened:
            # The filter came with Python 3.11.4; before it the checksum alone says what is extracted.
            opened.extraction_filter = getattr(tarfile, "data_filter", None)
            opened.extractall(work)
    except damage_errors() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refuse(archive, f"is damaged: {error}", row.url)
    return work


def load_svhn(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 3, 32, 32] and y int64 [N] (the files' label 10 is digit 0), each file verified (DataError)."""
    del work
    cls = _class(row)
    for (label, path), split in zip(source.files, ("train", "test"), strict=True):
        _, name, md5 = cls.split_list[split]
        assert name == label, f"torchvision calls the {split} file {name}, the table {label}"
        check_md5(path, md5, row.url)
    train, test = (cls(source.folder, split=split) for split in ("train", "test"))
    return last_of_train(row, (train.data, train.labels), (test.data, test.labels))


def load_usps(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 1, 16, 16] (torchvision maps the files' -1..1 to 0..255), y int64 [N], verified (DataError)."""
    del work
    cls = _class(row)
    for (_, path), split in zip(source.files, ("train", "test"), strict=True):
        check_md5(path, cls.split_list[split][2], row.url)

    def labelled(dataset: Any) -> Labelled:
        return dataset.data[:, None], np.asarray(dataset.targets, dtype=np.int64)

    train, test = (cls(source.folder, train=part) for part in (True, False))
    return last_of_train(row, labelled(train), labelled(test))


def download_cifar(row: SourceRow, folder: Path) -> None:
    """Downloads and unpacks the archive into `folder`."""
    _class(row)(folder / row.folders[0], download=True)


def download_files(row: SourceRow, folder: Path) -> None:
    """Downloads the training and the test file of SVHN (246 MB) or USPS (8 MB) into `folder`.

    Not by the class itself: USPS's reads whatever lies there without looking at its md5, so that the remains of an
    interrupted download would stay.
    """
    tools = torchvision_dataset_tools()
    for split in ("train", "test"):
        url, name, md5 = _class(row).split_list[split]
        tools.download_url(url, folder / row.folders[0], filename=name, md5=md5)


def _class(row: SourceRow) -> Any:
    return getattr(torchvision_datasets(), row.torchvision)
