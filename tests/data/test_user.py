from __future__ import annotations

import numpy as np
import pytest

from relubench.data import DataOptions, arrays, prepare
from relubench.errors import DataError, UsageError

X = np.random.default_rng(1).integers(0, 256, (24, 5, 6), dtype=np.uint8)
Y = np.arange(24) % 3


def test_grey_images_get_a_channel_and_a_fixed_validation_sixth(small_npz):
    prepared = prepare(str(small_npz()))
    assert prepared.input_shape == (1, 5, 6) and prepared.classes == 3 and prepared.scale == 1 / 255
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (20, 4, 9)
    assert "one in 6 training examples" in prepared.source and "own.npz" in prepared.source
    x = np.concatenate([arrays(prepared, "train")[0], arrays(prepared, "valid")[0]])
    assert sorted(x.reshape(24, -1).tolist()) != X.reshape(24, -1).tolist()
    assert arrays(prepared, "test")[1].tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (np.zeros((24, 30), np.float64), (30,)),
        (np.zeros((24, 2, 5, 6), np.float32), (2, 5, 6)),
        (np.zeros((24, 7), np.float16), (7,)),
        (np.zeros((24, 3, 32, 32), np.uint8), (3, 32, 32)),
    ],
)
def test_shapes_and_types(small_npz, x, shape):
    prepared = prepare(str(small_npz(x_train=x, x_test=x[:9])))
    got, _ = arrays(prepared, "train")
    assert prepared.input_shape == shape == got.shape[1:]
    assert (got.dtype, prepared.scale) == ((np.uint8, 1 / 255) if x.dtype == np.uint8 else (np.float32, 1.0))


def test_own_validation_is_used(small_npz):
    prepared = prepare(str(small_npz(x_valid=X[:5], y_valid=Y[:5])))
    assert (prepared.n_train, prepared.n_valid) == (24, 5) and "the file's own x_valid" in prepared.source
    assert np.array_equal(arrays(prepared, "valid")[0][:, 0], X[:5])


def test_the_digest_follows_the_contents_and_the_name_is_the_users(small_npz, tmp_path, monkeypatch):
    first = prepare(str(small_npz()))
    copy = small_npz().rename(tmp_path / "My Data!.npz")
    second = prepare(str(copy))
    assert first.digest == second.digest and second.name == str(copy) and second.folder.name.startswith("my-data-")
    assert prepare(str(small_npz(x_train=X[::-1]))).digest != first.digest
    monkeypatch.chdir(tmp_path)
    assert prepare("own.npz", options=DataOptions(train_size=6)).n_train == 6


def with_bad(value, count=1):
    x = X.astype(np.float32)
    x[2, 1, 3 : 3 + count] = value
    return x


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "lacks y_test: it holds x_test, x_train, y_train"),
        ({"x_valid": X}, "holds only one of x_valid and y_valid"),
        ({"x_train": np.array([object()] * 24)}, "holds Python objects in x_train"),
        ({"x_train": with_bad(np.nan, 2)}, r"2 NaN or infinite values in x_train, the first at \(2, 1, 3\)"),
        ({"x_train": np.full((24, 5, 6), 1e300)}, "NaN or infinite values in x_train"),
        ({"x_test": np.full((9, 5, 6), np.inf)}, r"270 NaN or infinite values in x_test, the first at \(0, 0, 0\)"),
        ({"x_train": X.astype(np.int64) * 3}, r"has int64 pixels from \d+ to \d+ in x_train"),
        ({"x_train": X.astype(np.complex64)}, "has complex64 pixels in x_train"),
        ({"x_train": X.astype("M8[s]")}, r"has datetime64\[s\] pixels in x_train"),
        ({"x_train": X[:0]}, r"has an empty x_train: its shape is \(0, 5, 6\)"),
        ({"x_train": np.zeros(24, np.uint8)}, r"has x_train of shape \(24,\)"),
        ({"y_train": np.full((24, 3), 1 / 3)}, r"has y_train of shape \(24, 3\)"),
        ({"y_train": Y[:, None, None]}, r"has y_train of shape \(24, 1, 1\)"),
        ({"y_train": Y[:0]}, "has an empty y_train"),
        ({"y_train": Y.astype(complex)}, "has complex128 labels in y_train"),
        ({"y_train": np.where(Y > 0, Y, np.nan)}, "has float64 labels in y_train that are no whole numbers"),
        ({"y_train": Y.astype(str)}, "has <U21 labels in y_train and int64 labels in y_test"),
        (
            {"y_train": Y.astype(str), "y_test": np.array(["0", "cat"] * 4 + ["1"])},
            "has 4 labels in y_test such as .*cat",
        ),
        ({"y_train": Y - 1}, r"has 8 negative labels in y_train, the first \(-1\) at 0"),
        ({"y_train": np.arange(24)}, "has 24 different labels in y_train for 24 examples"),
        ({"y_train": Y + 500}, "has 9 labels in y_test up to 2, never seen in training"),
        ({"x_test": X[:1], "y_test": Y[:1]}, "has 1 test image"),
        ({"y_test": np.array([0, 1, 2, 3, 4, 0, 1, 2, 0])}, "has 2 labels in y_test up to 4, never seen in training"),
        ({"y_train": Y[:23]}, "has 24 images in x_train and 23 labels in y_train"),
        ({"x_test": X[:9, :4]}, r"uint8 \(1, 5, 6\) in x_train and uint8 \(1, 4, 6\) in x_test"),
        ({"x_test": X[:9].astype(np.float32)}, r"uint8 \(1, 5, 6\) in x_train and float32 \(1, 5, 6\) in x_test"),
        ({"x_train": X[:5], "y_train": Y[:5]}, "has only 5 training examples"),
    ],
)
def test_bad_arrays_are_refused(small_npz, changes, message):
    with pytest.raises(DataError, match=f"own.npz .*{message}") as caught:
        prepare(str(small_npz(**changes)))
    assert caught.value.exit_code == 3 and caught.value.hint


def test_one_class_is_a_request_that_makes_no_sense(small_npz):
    with pytest.raises(UsageError, match=r"at least two classes, .*own\.npz has one class only") as caught:
        prepare(str(small_npz(y_train=Y * 0)))
    assert caught.value.exit_code == 2 and caught.value.hint


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda data: data[:-50], "is truncated: .* table of contents"),
        (lambda data: b"", "is empty"),
        (lambda data: b"hello, world", "is not a whole .npz file"),
        (lambda data: data[:300] + bytes([data[300] ^ 255]) + data[301:], "is not a whole .npz file"),
    ],
)
def test_damaged_files_are_refused(small_npz, cut, message):
    path = small_npz()
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        prepare(str(path))


def test_a_single_array_is_not_an_npz(tmp_path):
    with (tmp_path / "one.npz").open("wb") as out:
        np.save(out, X)
    with pytest.raises(DataError, match=r"one.npz is not a whole .npz file"):
        prepare(str(tmp_path / "one.npz"))


def test_a_pickle_is_not_run(tmp_path):
    (tmp_path / "evil.npz").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(DataError, match=r"evil.npz is not a whole .npz file"):
        prepare(str(tmp_path / "evil.npz"))
    assert not (tmp_path / "ran").exists()


def test_other_paths_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file or folder .*nothing.npz"):
        prepare(str(tmp_path / "nothing.npz"))
    (tmp_path / "data.mat").touch()
    with pytest.raises(DataError, match=r"data.mat is neither a .npz file, a table nor a folder"):
        prepare(str(tmp_path / "data.mat"))


def test_image_size_is_refused(small_npz):
    with pytest.raises(UsageError, match=r"image_size is for folders of images, and .*own.npz is a file"):
        prepare(str(small_npz()), options=DataOptions(image_size=8))
