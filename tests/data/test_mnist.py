from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest

from relubench.data import arrays, prepare
from relubench.errors import DataError

TRAIN_IMAGES = "train-images-idx3-ubyte"


def names(folder):
    return sorted(one.name for one in folder.iterdir())


def test_from_the_gz_files_alone_in_a_folder_that_is_not_touched(tiny_mnist, tmp_path):
    wanted, raw = tiny_mnist
    before = names(raw)
    for folder in (raw, raw.parent, raw.parent.parent):
        folder.chmod(0o555)
    try:
        prepared = prepare("mnist", data_dir=tmp_path / "data")
    finally:
        for folder in (raw.parent.parent, raw.parent, raw):
            folder.chmod(0o755)
    assert names(raw) == before
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (12, 4, 6)
    x_train, y_train = arrays(prepared, "train")
    x_valid, y_valid = arrays(prepared, "valid")
    x_test, y_test = arrays(prepared, "test")
    assert x_train.shape == (12, 1, 28, 28) and x_train.dtype == np.uint8 and y_train.dtype == np.int64
    assert np.array_equal(np.concatenate([x_train, x_valid])[:, 0], wanted["train-images"])
    assert np.array_equal(np.concatenate([y_train, y_valid]), wanted["train-labels"])
    assert np.array_equal(x_test[:, 0], wanted["t10k-images"]) and np.array_equal(y_test, wanted["t10k-labels"])


def test_from_uncompressed_files(tiny_mnist, tmp_path):
    wanted, raw = tiny_mnist
    for path in raw.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    prepared = prepare("mnist", data_dir=tmp_path / "data")
    assert np.array_equal(arrays(prepared, "test")[0][:, 0], wanted["t10k-images"])
    assert "checksum" not in prepared.source


def damage(raw, how):
    path = raw / f"{TRAIN_IMAGES}.gz"
    whole = path.read_bytes()
    plain = gzip.decompress(whole)
    other = plain[:-1] + bytes([plain[-1] ^ 1])
    path.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "altered": gzip.compress(other),
            "flipped": whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:],
            "not a gzip": b"<html>404 not found</html>",
        }[how]
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "is truncated: [0-9]+ bytes, and its .gz stream goes on"),
        ("empty", "is empty"),
        ("altered", "is altered: its md5 is [0-9a-f]{32}, the published file's is [0-9a-f]{32}"),
        ("flipped", "is (damaged|altered): "),
        ("not a gzip", "is damaged: Not a gzipped file"),
    ],
)
def test_a_bad_gz_is_named_and_never_prepared(tiny_mnist, tmp_path, how, message):
    _, raw = tiny_mnist
    damage(raw, how)
    with pytest.raises(DataError, match=rf"MNIST/raw/{TRAIN_IMAGES}\.gz {message}") as caught:
        prepare("mnist", data_dir=tmp_path / "data")
    assert caught.value.exit_code == 3 and "ossci-datasets" in caught.value.hint
    assert not list((tmp_path / "cache" / "prepared").glob("*mnist*/"))


def test_a_bad_gz_is_not_replaced_by_a_sound_uncompressed_file(tiny_mnist, tmp_path):
    _, raw = tiny_mnist
    (raw / TRAIN_IMAGES).write_bytes(gzip.decompress((raw / f"{TRAIN_IMAGES}.gz").read_bytes()))
    damage(raw, "altered")
    with pytest.raises(DataError, match=r"ubyte\.gz is altered"):
        prepare("mnist", data_dir=tmp_path / "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "is truncated: 12559 bytes uncompressed, 12560 expected"),
        (lambda data: data + b"\0", "is altered: 12561 bytes uncompressed, 12560 expected"),
        (lambda data: b"", "is empty"),
        (lambda data: b"PK" + data[2:], "is not an IDX file of unsigned bytes with 3 dimensions"),
        (lambda data: data[:7] + b"\7" + data[8:], "holds 7 x 28 x 28 where 16 x 28 x 28 is expected"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is altered: its md5 is"),
    ],
)
def test_a_bad_uncompressed_file_is_named(tiny_mnist, tmp_path, change, message):
    _, raw = tiny_mnist
    packed = raw / f"{TRAIN_IMAGES}.gz"
    (raw / TRAIN_IMAGES).write_bytes(change(gzip.decompress(packed.read_bytes())))
    packed.unlink()
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES} {message}"):
        prepare("mnist", data_dir=tmp_path / "data")


def test_uncompressed_files_without_a_published_checksum_say_so(shrink, idx_set, tmp_path):
    shrink("kmnist")
    _, files = idx_set()
    (tmp_path / "data" / "kmnist").mkdir(parents=True)
    for name, data in files.items():
        (tmp_path / "data" / "kmnist" / name).write_bytes(data)
    assert "only their sizes were checked" in prepare("kmnist", data_dir=tmp_path / "data").source


def test_the_real_mnist(real_mnist):
    said = []
    prepared = prepare("mnist", data_dir=real_mnist, progress=said.append)
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (50_000, 10_000, 10_000)
    x, y = arrays(prepared, "train")
    x_valid, y_valid = arrays(prepared, "valid")
    assert np.bincount(np.concatenate([y, y_valid])).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert hashlib.md5(b"\0\0\10\3\0\0\352\140\0\0\0\34\0\0\0\34" + x.tobytes() + x_valid.tobytes()).hexdigest() == (
        "6bbc9ace898e44ae57da46a324031adb"
    )
    assert said == ["preparing mnist"]
