"""The data set norb-generated: rendered scenes, not NORB, to try presets out offline. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relubench.data.files.locate import SourceFiles
from relubench.data.source_row import SourceRow
from relubench.data.sources.norb import INSTANCES, VALID_INSTANCE
from relubench.data.sources.rendered_scenes import SEED, Poses, photograph
from relubench.data.split_arrays import SplitArrays, named

BLOCK_PAIRS = 300
"""Pairs rendered at once; a whole number of the 150 that show one pose of all toys under all lamps."""

JITTER = 0.4
"""Of the data set's own images, as a share of what the jittered-cluttered files have."""


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """x uint8 [N, 2, 32, 32] and y int64 [N], rendered with some jitter, without clutter."""
    del source, work
    train = tuple(toy for toy in INSTANCES["training"] if toy != VALID_INSTANCE)
    splits = []
    for number, (n, toys) in enumerate(
        ((row.n_train, train), (row.n_valid, (VALID_INSTANCE,)), (row.n_test, INSTANCES["testing"]))
    ):
        poses = jittered(n, toys, row.classes, JITTER, np.random.RandomState(SEED + number))
        blocks = pictures(poses, row.input_shape[-1], False, np.random.RandomState(SEED + 10 + number))
        splits.append((np.concatenate(list(blocks)), poses.label))
    return SplitArrays(**named(*splits), classes=row.classes, scale=2 / 255, shift=-1.0, note=row.split)


def pictures(poses: Poses, size: int, clutter: bool, draw: np.random.RandomState) -> Iterator[np.ndarray]:
    """The rendered pairs uint8 [n, 2, size, size], a block at a time."""
    for start in range(0, len(poses.label), BLOCK_PAIRS):
        yield photograph(poses.take(slice(start, start + BLOCK_PAIRS)), size, clutter, draw)


def jittered(n: int, toys: tuple[int, ...], classes: int, max_jitter: float, draw: np.random.RandomState) -> Poses:
    """n random poses with jitter of at most `max_jitter`; labels follow in turn, and toys within a label."""
    index = np.arange(n)
    return Poses(
        label=index % classes,
        instance=np.array(toys)[index // classes % len(toys)],
        elevation=draw.randint(0, 9, n),
        azimuth=2 * draw.randint(0, 18, n),
        lighting=draw.randint(0, 6, n),
        jitter=draw.uniform(-max_jitter, max_jitter, (n, 6)),
    )
