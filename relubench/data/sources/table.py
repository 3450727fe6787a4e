"""A user's own table: ./file.csv or ./file.parquet, of which --target names the column that is predicted."""

from __future__ import annotations

from pathlib import Path

from relubench.data.files import digest
from relubench.data.formats import npz_archive
from relubench.data.prepared import PREPARATION_VERSION, DataOptions
from relubench.data.request import Request, slug
from relubench.data.sources.npz import check_exists
from relubench.data.split_arrays import SplitArrays
from relubench.data.tables.file import read_table
from relubench.data.tables.parts import RULE, split_table
from relubench.errors import UsageError

READING = 1
"""Part of every digest: raise it when the same file would give other arrays."""


def request(name: str, path: Path, options: DataOptions) -> Request:
    """The request for the table at `path`; raises DataError if there is none, UsageError if no column is its target."""
    if options.image_size is not None:
        raise UsageError(f"image_size is for images, and {path} is a table", "leave image_size out")
    check_exists(path)
    npz_archive.check_regular(path)
    if options.target is None:
        raise UsageError(f"{name} is a table: which of its columns is predicted?", "name it: --target COLUMN")
    identity = {
        "version": PREPARATION_VERSION,
        "reading": READING,
        "kind": "table",
        "split": RULE,
        "target": options.target,
        "ignore": sorted(options.ignore),
        "task": options.task,
        "train_size": options.train_size,
        "source": digest.of_files([("table", path)]),
    }
    return Request(
        name=name,
        slug=slug(path.stem),
        digest=digest.of_value(identity),
        origin=f"the user's own {path}",
        load=lambda work: load(name, path, options),
    )


def load(name: str, path: Path, options: DataOptions) -> SplitArrays:
    """The parts of the table at `path`, which errors call `name`."""
    assert options.target is not None
    return split_table(name, read_table(path), options.target, ignore=options.ignore, task=options.task)
