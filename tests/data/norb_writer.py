"""Files in NORB's own format, of any size, with rendered pictures, for tests and measurements."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from relubench.data.formats.norb_matrix import MAGIC
from relubench.data.sources.norb import FORMS, INSTANCES
from relubench.data.sources.norb_files import REMOTE
from relubench.data.sources.norb_generated import jittered, pictures
from relubench.data.sources.rendered_scenes import EMPTY, SEED, Poses


def write_files(folder: Path, name: str, pairs: int, *, compress: bool = False, files: int | None = None) -> None:
    """Writes files of the set `name` into `folder`, called and formed as the originals, `pairs` image pairs in each.

    `compress`: .mat.gz instead of .mat; `files`: only the first so many triples of each part. With 24,300 pairs small
    NORB's files have the originals' uncompressed size and every pose once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    form, clutter = FORMS[name], name != "norb"
    stems = [remote.name.removesuffix("-dat.mat.gz") for remote in REMOTE[name] if "-dat." in remote.name]
    for part, toys in INSTANCES.items():
        for number, stem in enumerate([stem for stem in stems if f"-{part}" in stem][:files]):
            seed = SEED + 100 * (1 + number) + len(part)
            poses = (
                jittered(pairs, toys, EMPTY + 1, 1.0, np.random.RandomState(seed))
                if clutter
                else every_pose(pairs, toys)
            )
            generator = np.random.RandomState(seed + 1)
            info = _info(poses, form.info_columns)
            blocks = {
                "dat": ((pairs, 2, form.side, form.side), pictures(poses, form.side, clutter, generator)),
                "cat": ((pairs,), iter([poses.label.astype("<i4")])),
                "info": (info.shape, iter([info])),
            }
            for kind, (shape, contents) in blocks.items():
                _write_matrix(
                    folder / f"{stem}-{kind}.mat", shape, contents, "u1" if kind == "dat" else "<i4", compress
                )


def write_header(stream: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Writes the header of a matrix of this type and shape, before its elements."""
    magic = next(number for number, (_, type_) in MAGIC.items() if type_ == dtype)
    padded = (*shape, *(1,) * (3 - len(shape)))
    stream.write(struct.pack(f"<II{len(padded)}i", magic, len(shape), *padded))


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


def _info(poses: Poses, columns: int) -> np.ndarray:
    """int32 [N, columns]: instance, elevation, azimuth, lighting, and the jitter in thousandths."""
    pose = np.column_stack([poses.instance, poses.elevation, poses.azimuth, poses.lighting])
    return np.hstack([pose, np.rint(1000 * poses.jitter)])[:, :columns].astype("<i4")


def _write_matrix(
    path: Path, shape: tuple[int, ...], contents: Iterator[np.ndarray], dtype: str, compress: bool
) -> None:
    with gzip.open(f"{path}.gz", "wb", compresslevel=1) if compress else path.open("wb") as stream:
        write_header(stream, np.dtype(dtype), shape)  # type: ignore[arg-type]
        for block in contents:
            stream.write(block.tobytes())
