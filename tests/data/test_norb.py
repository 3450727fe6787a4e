"""NORB's files, written in the true format: what is read from them, and what is refused."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from relubench.data import arrays, prepare, status
from relubench.data.formats.area_average import area_average, area_weights
from relubench.data.formats.norb_matrix import read_header
from relubench.errors import DataError
from tests.data.norb_writer import write_files, write_header

TRAIN, TEST = "smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing"
JITTERED = "norb-5x46789x9x18x6x2x108x108-training"


def dump(path, array):
    with path.open("wb") as stream:
        write_header(stream, array.dtype, array.shape)
        stream.write(array.tobytes())


def values(path):
    return read_header(path, "url").to_array()


@pytest.fixture
def small(tmp_path):
    """tmp_path/data/norb with 150 + 150 pairs as .mat."""
    write_files(tmp_path / "data" / "norb", "norb", 150)
    return tmp_path / "data" / "norb"


@pytest.mark.parametrize(("old", "total"), [(96, 9), (108, 729)])
def test_area_average_is_the_exact_mean_rounded(old, total):
    x = np.random.default_rng(0).integers(0, 256, (3, 2, old, old), dtype=np.uint8)
    weights = area_weights(old, 32).astype(np.int64)
    assert (weights.sum(axis=1) ** 2 == total).all() and len(set(weights.sum(axis=0))) == 1
    exact = np.einsum("ij,nvjk,lk->nvil", weights, x.astype(np.int64), weights)
    assert np.array_equal(area_average(x, 32), (2 * exact + total) // (2 * total))
    assert (area_average(np.full((1, old, old), 255, np.uint8), 32) == 255).all()


@pytest.mark.parametrize("name", ["norb", "norb-jittered-cluttered"])
def test_header_is_the_published_one(tmp_path, name):
    write_files(tmp_path, name, 30, files=1)
    part = f"{TRAIN}" if name == "norb" else f"{JITTERED}-01"
    side, columns = (96, 4) if name == "norb" else (108, 10)
    wanted = {
        "dat": struct.pack("<II4i", 0x1E3D4C55, 4, 30, 2, side, side),
        "cat": struct.pack("<II3i", 0x1E3D4C54, 1, 30, 1, 1),
        "info": struct.pack("<II3i", 0x1E3D4C54, 2, 30, columns, 1),
    }
    for kind, header in wanted.items():
        assert (tmp_path / f"{part}-{kind}.mat").read_bytes().startswith(header)


def test_images_labels_and_split_follow_the_files(small, tmp_path):
    prepared = prepare("norb", data_dir=tmp_path / "data")
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (120, 30, 150)
    assert (prepared.input_shape, prepared.classes, prepared.scale, prepared.shift) == ((2, 32, 32), 5, 2 / 255, -1.0)
    x, y, toy = (values(small / f"{TRAIN}-{kind}.mat") for kind in ("dat", "cat", "info"))
    held = toy[:, 0] == 9
    for split, chosen in (("train", ~held), ("valid", held)):
        images, labels = arrays(prepared, split)
        assert images.dtype == np.uint8 and labels.dtype == np.int64
        assert np.array_equal(labels, y[chosen]) and np.array_equal(images, area_average(x[chosen], 32))
    images, labels = arrays(prepared, "test")
    assert np.array_equal(images, area_average(values(small / f"{TEST}-dat.mat"), 32))
    assert np.array_equal(labels, values(small / f"{TEST}-cat.mat"))
    assert "toy 9" in prepared.source and "these files hold 150 training and 150 test pairs" in prepared.source


@pytest.mark.parametrize("inner", [".", "norb-small", "norb"])
def test_mat_and_gz_in_any_folder_give_the_same_images(small, tmp_path, inner):
    write_files(tmp_path / "gz" / inner, "norb", 150, compress=True)
    assert status("norb", tmp_path / "gz").startswith("present at")
    packed, plain = prepare("norb", data_dir=tmp_path / "gz"), prepare("norb", data_dir=tmp_path / "data")
    for split in ("train", "valid", "test"):
        assert np.array_equal(arrays(packed, split)[0], arrays(plain, split)[0])


def test_jittered_cluttered_from_its_36_files_with_as_many_empty_pairs_as_of_one_toy(tmp_path):
    write_files(tmp_path / "norb", "norb-jittered-cluttered", 30)
    prepared = prepare("norb-jittered-cluttered", data_dir=tmp_path)
    # Of 300 pairs 50 are of each class; toy 9 is in 10 of the 50.
    assert (prepared.n_train, prepared.n_valid, prepared.n_test, prepared.classes) == (240, 60, 60, 6)
    assert np.bincount(arrays(prepared, "valid")[1]).tolist() == [10] * 6
    parts = [tmp_path / "norb" / f"{JITTERED}-{k:02}" for k in range(1, 11)]
    y, toy = (
        np.concatenate([values(one.with_name(f"{one.name}-{kind}.mat")) for one in parts]) for kind in ("cat", "info")
    )
    x = np.concatenate([values(one.with_name(f"{one.name}-dat.mat")) for one in parts])
    images, labels = arrays(prepared, "valid")
    assert np.array_equal(images[labels < 5], area_average(x[(y < 5) & (toy[:, 0] == 9)], 32))
    every = {one.tobytes() for one in area_average(x[y == 5], 32)}
    assert len(every) == 50 and {one.tobytes() for one in images[labels == 5]} < every


def change(path, edit):
    path.write_bytes(edit(path.read_bytes()))


def exchange(path, **cells):
    """The int32 matrix in `path` with values exchanged: cell_row_column or cell_row."""
    array = values(path).copy()
    for cell, value in cells.items():
        array[tuple(map(int, cell.split("_")[1:]))] = value
    dump(path, array)


# ruff: noqa: E501
BAD = {
    "truncated": ("dat", lambda p: change(p, lambda d: d[:-7]), "is truncated: 2764817 bytes, and .* announces 2764824"),
    "long": ("dat", lambda p: change(p, lambda d: d + b"\0\0"), "has 2 bytes too many"),
    "empty": ("cat", lambda p: change(p, lambda d: b""), "is empty"),
    "half a header": ("cat", lambda p: change(p, lambda d: d[:13]), "is truncated: 13 bytes, too few for a header"),
    "other magic": ("dat", lambda p: change(p, lambda d: b"MATL" + d[4:]), "is no binary matrix: its magic number 0x"),
    "packed": ("dat", lambda p: change(p, lambda d: b"\x52" + d[1:]), "holds a packed matrix"),
    "big-endian": ("dat", lambda p: change(p, lambda d: d[3::-1] + d[4:]), "is big-endian .*the originals are little-"),
    "ndim": ("dat", lambda p: change(p, lambda d: d[:4] + b"\x63" + d[5:]), "has 99 dimensions in its header"),
    "negative": ("cat", lambda p: change(p, lambda d: d[:8] + b"\xff" * 4 + d[12:]), "has the dimensions -1 in its header"),
    "type": ("cat", lambda p: dump(p, np.zeros(150, np.uint8)), "holds uint8 where int32 is expected"),
    "one view": ("dat", lambda p: dump(p, np.zeros((150, 1, 96, 96), np.uint8)), "150 x 1 x 96 x 96 where N x 2 x 96 x 96"),
    "flat": ("dat", lambda p: dump(p, np.zeros((150, 18432), np.uint8)), "150 x 18432 where N x 2 x 96 x 96"),
    "info columns": ("info", lambda p: dump(p, np.zeros((150, 10), "<i4")), "150 x 10 where N x 4 is expected"),
    "labels fewer": ("cat", lambda p: dump(p, np.zeros(149, "<i4")), "has 149 rows, and .*-dat.mat beside it has 150"),
    "info fewer": ("info", lambda p: dump(p, np.zeros((148, 4), "<i4")), "has 148 rows, and .*-dat.mat beside it has 150"),
    "label": ("cat", lambda p: exchange(p, cell_3=5), "holds 1 labels that cannot be, the first 5: expected 0 to 4"),
    "toy": ("info", lambda p: exchange(p, cell_3_0=2), "instances of a training toy .*first 2: expected 4, 6, 7, 8, 9"),
    "azimuth": ("info", lambda p: exchange(p, cell_3_2=3), "values of the azimuth that cannot be, the first 3"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_a_bad_file_is_named_with_the_fact(small, tmp_path, how):
    kind, damage, message = BAD[how]
    damage(small / f"{TRAIN}-{kind}.mat")
    with pytest.raises(DataError, match=rf"norb/{TRAIN}-{kind}\.mat .*{message}") as caught:
        prepare("norb", data_dir=tmp_path / "data")
    assert caught.value.exit_code == 3 and "norb-v1.0-small" in caught.value.hint
    assert not list((tmp_path / "cache" / "prepared").glob("norb*/"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda packed, plain: packed[: len(packed) // 2], "is truncated: [0-9]+ bytes, and its gzip stream goes on"),
        (lambda packed, plain: packed[:5000] + b"\xff\x00\xff" + packed[5003:], "is (damaged|truncated)"),
        (lambda packed, plain: packed[:-8] + b"\0\0\0\0" + packed[-4:], "is damaged: CRC check failed"),
        (lambda packed, plain: b"<html>", "is damaged: Not a gzipped file"),
        (lambda packed, plain: gzip.compress(plain[:-5], 1), "is truncated: 2764819 bytes uncompressed"),
        (lambda packed, plain: gzip.compress(plain + b"\0", 1), "has bytes too many"),
    ],
)
def test_a_bad_gz_is_named_with_the_fact(tmp_path, edit, message):
    write_files(tmp_path / "norb", "norb", 150, compress=True)
    path = tmp_path / "norb" / f"{TRAIN}-dat.mat.gz"
    packed = path.read_bytes()
    path.write_bytes(edit(packed, gzip.decompress(packed)))
    with pytest.raises(DataError, match=rf"{TRAIN}-dat\.mat\.gz {message}"):
        prepare("norb", data_dir=tmp_path)


def test_one_of_a_triple_missing_is_told(small, tmp_path):
    (small / f"{TEST}-info.mat").unlink()
    with pytest.raises(DataError, match=rf"norb lacks {TEST}-info\.mat\.gz\), and RELUBENCH_OFFLINE") as caught:
        prepare("norb", data_dir=tmp_path / "data")
    assert caught.value.exit_code == 3 and "-{dat,cat,info}.mat.gz into norb/" in caught.value.hint


def test_many_missing_files_are_counted(tmp_path):
    (tmp_path / "norb").mkdir()
    (tmp_path / "norb" / f"{JITTERED}-01-dat.mat").touch()
    with pytest.raises(DataError, match=r"-dat\.mat\.gz and 29 more"):
        prepare("norb-jittered-cluttered", data_dir=tmp_path)


def test_without_the_toy_that_validates_it_is_refused(small, tmp_path):
    info = values(small / f"{TRAIN}-info.mat").copy()
    info[(info[:, 0] == 9) & (values(small / f"{TRAIN}-cat.mat") == 2), 0] = 8
    dump(small / f"{TRAIN}-info.mat", info)
    with pytest.raises(DataError, match="hold no image of class 2 of toy 9 to validate with"):
        prepare("norb", data_dir=tmp_path / "data")


MEASURE = """
import re, sys
from pathlib import Path
import relubench.data.sources.norb, relubench.data.preparation
def kib(what):
    return int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
import threading, time
peak, done = [0], []
def watch():
    while not done:
        peak[0] = max(peak[0], kib("RssAnon"))
        time.sleep(0.001)
before = kib("RssAnon")
watcher = threading.Thread(target=watch)
watcher.start()
prepared = relubench.data.preparation.prepare("norb", data_dir=Path(sys.argv[1]))
done.append(1)
watcher.join()
print(prepared.n_train + prepared.n_valid, (peak[0] - before) * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("compress", [False, True])
def test_images_stream_through_little_memory(tmp_path, compress):
    """4,500 training pairs are 83 MB in the file, and 332 MB as floats: more than the process may take."""
    folder, n = tmp_path / "norb", 4500
    write_files(folder, "norb", 150, compress=False)
    kinds = {"dat": (96, 96, 2), "cat": (), "info": ()}
    for kind in kinds:
        path = folder / f"{TRAIN}-{kind}.mat"
        once = values(path)
        dump(path, np.concatenate([once] * (n // 150)))
        if compress:
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
            path.unlink()
    argv = [sys.executable, "-c", MEASURE, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pairs, taken = map(int, done.stdout.split())
    assert pairs == n and taken < 80e6, f"{taken / 1e6:.0f} MB"


def test_the_generated_set_is_no_norb_and_always_the_same(monkeypatch):
    from dataclasses import replace

    from relubench.data.sources.norb_generated import load
    from relubench.data.table import TABLE

    row = replace(TABLE["norb-generated"], n_train=60, n_valid=20, n_test=30)
    first, again = load(row, None, None), load(row, None, None)
    assert all(np.array_equal(a, b) for a, b in zip(first.arrays().values(), again.arrays().values(), strict=True))
    assert np.bincount(first.y_train).tolist() == [12] * 5 and first.x_test.shape == (30, 2, 32, 32)
    assert not np.array_equal(first.x_train[:, 0], first.x_train[:, 1])
    assert status("norb-generated").startswith("present") and "not NORB" in TABLE["norb-generated"].citation
