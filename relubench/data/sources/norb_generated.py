"""The data set norb-generated, and files in NORB's own format and of any size, both rendered by `scenes`. Torch-free.

Neither is NORB: they are for trying presets out offline, and for tests of everything that reads the real files.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relubench.data.files.locate import Found
from relubench.data.formats.norb_matrix import write_header
from relubench.data.source_row import SourceRow
from relubench.data.sources.norb import FORMS, INSTANCES, VALID_INSTANCE
from relubench.data.sources.norb_files import REMOTE
from relubench.data.sources.rendered_scenes import EMPTY, SEED, Poses, photograph
from relubench.data.split_arrays import SplitArrays

BLOCK_PAIRS = 300
"""Pairs rendered at once; a whole number of the 150 that show one pose of all toys under all lamps."""

JITTER = 0.4
"""Of the data set's own images, as a share of what the jittered-cluttered files have."""


def load(row: SourceRow, found: Found, work: Path) -> SplitArrays:
    """x uint8 [N, 2, 32, 32] and y int64 [N], rendered with some jitter, without clutter."""
    del found, work
    train = tuple(one for one in INSTANCES["training"] if one != VALID_INSTANCE)
    splits = []
    for number, (n, toys) in enumerate(
        ((row.n_train, train), (row.n_valid, (VALID_INSTANCE,)), (row.n_test, INSTANCES["testing"]))
    ):
        poses = jittered(n, toys, row.classes, JITTER, np.random.RandomState(SEED + number))
        blocks = pictures(poses, row.input_shape[-1], False, np.random.RandomState(SEED + 10 + number))
        splits.append((np.concatenate(list(blocks)), poses.label))
    (x, y), (x_valid, y_valid), (x_test, y_test) = splits
    return SplitArrays(
        x_train=x,
        y_train=y,
        x_valid=x_valid,
        y_valid=y_valid,
        x_test=x_test,
        y_test=y_test,
        classes=row.classes,
        scale=2 / 255,
        shift=-1.0,
        note=row.split,
    )


def write_files(folder: Path, name: str, pairs: int, *, compress: bool = False, files: int | None = None) -> None:
    """Writes files of the set `name` into `folder`, called and formed as the originals, `pairs` image pairs in each.

    `compress`: .mat.gz instead of .mat; `files`: only the first so many triples of each part. With 24,300 pairs small
    NORB's files have the originals' uncompressed size and every pose once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    form, clutter = FORMS[name], name != "norb"
    stems = [one.name.removesuffix("-dat.mat.gz") for one in REMOTE[name] if "-dat." in one.name]
    for part, toys in INSTANCES.items():
        for number, stem in enumerate([one for one in stems if f"-{part}" in one][:files]):
            seed = SEED + 100 * (1 + number) + len(part)
            poses = (
                jittered(pairs, toys, EMPTY + 1, 1.0, np.random.RandomState(seed))
                if clutter
                else every_pose(pairs, toys)
            )
            draw = np.random.RandomState(seed + 1)
            info = _info(poses, form.info_columns)
            blocks = {
                "dat": ((pairs, 2, form.side, form.side), pictures(poses, form.side, clutter, draw)),
                "cat": ((pairs,), iter([poses.label.astype("<i4")])),
                "info": (info.shape, iter([info])),
            }
            for kind, (shape, contents) in blocks.items():
                _write(folder / f"{stem}-{kind}.mat", shape, contents, "u1" if kind == "dat" else "<i4", compress)


def pictures(poses: Poses, size: int, clutter: bool, draw: np.random.RandomState) -> Iterator[np.ndarray]:
    """The rendered pairs uint8 [n, 2, size, size], a block at a time."""
    for start in range(0, len(poses.label), BLOCK_PAIRS):
        yield photograph(poses.take(slice(start, start + BLOCK_PAIRS)), size, clutter, draw)


def every_pose(n: int, toys: tuple[int, ...]) -> Poses:
    """The first n of small NORB's 24,300 poses (and again from the first), label running fastest, then toy, lamp."""
    index = np.arange(n)
    columns = []
    for count in (5, len(toys), 6, 9, 18):
        columns.append(index % count)
        index = index // count
    label, toy, lighting, elevation, azimuth = columns
    return Poses(
        label=label,
        instance=np.array(toys)[toy],
        elevation=elevation,
        azimuth=2 * azimuth,
        lighting=lighting,
        jitter=np.zeros((n, 6)),
    )


def jittered(n: int, toys: tuple[int, ...], classes: int, most: float, draw: np.random.RandomState) -> Poses:
    """n random poses with jitter of at most `most`; labels and, within a label, toys follow each other in turn."""
    index = np.arange(n)
    return Poses(
        label=index % classes,
        instance=np.array(toys)[index // classes % len(toys)],
        elevation=draw.randint(0, 9, n),
        azimuth=2 * draw.randint(0, 18, n),
        lighting=draw.randint(0, 6, n),
        jitter=draw.uniform(-most, most, (n, 6)),
    )


def _info(poses: Poses, columns: int) -> np.ndarray:
    """int32 [N, columns]: instance, elevation, azimuth, lighting, and the jitter in thousandths."""
    pose = np.column_stack([poses.instance, poses.elevation, poses.azimuth, poses.lighting])
    return np.hstack([pose, np.rint(1000 * poses.jitter)])[:, :columns].astype("<i4")


def _write(path: Path, shape: tuple[int, ...], contents: Iterator[np.ndarray], dtype: str, compress: bool) -> None:
    with gzip.open(f"{path}.gz", "wb", compresslevel=1) if compress else path.open("wb") as stream:
        write_header(stream, np.dtype(dtype), shape)  # type: ignore[arg-type]
        for block in contents:
            stream.write(block.tobytes())
