from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

from relubench.data import DataOptions, arrays, prepare, status
from relubench.data.perturbations import perturbed_sets
from relubench.data.perturbations.pipeline import Stream, perturb
from relubench.data.stratified_order import stratified_order
from relubench.data.table import TABLE
from relubench.errors import ComputeError, UsageError


def sized(name, n):
    return prepare(name, options=DataOptions(train_size=n))


@pytest.fixture
def small_digits(shrink, monkeypatch):
    """digits+nistp of all digits, quickly made: 40 validation and 40 test images."""
    monkeypatch.setattr("relubench.data.source_row.NISTP_VALID", 40)
    monkeypatch.setattr("relubench.data.source_row.NISTP_TEST", 40)
    return "digits+nistp"


def test_a_perturbed_set(small_digits):
    made = sized(small_digits, 60)
    x, y = arrays(made, "train")
    assert (made.name, made.input_shape, made.classes, made.scale) == (small_digits, (1, 32, 32), 10, 1 / 255)
    assert (made.n_train, made.n_valid, made.n_test) == (60, 40, 40)
    assert x.dtype == np.uint8 and x.shape == (60, 1, 32, 32) and x.max() > 200
    assert np.bincount(y).tolist() == [6] * 10
    assert "40 validation and 40 test images from digits's" in made.source


def test_every_image_is_its_source_image_perturbed_by_its_number(small_digits):
    made, base = sized(small_digits, 60), prepare("digits")
    for split in ("train", "valid", "test"):
        x, y = arrays(base, split)
        order = stratified_order(y)
        found, labels = arrays(made, split)
        framed = perturbed_sets.frame(x[order[: len(found)]], base.scale)
        assert np.array_equal(found[:, 0], perturb(framed, Stream(split, perturbed_sets.SEED)))
        assert np.array_equal(labels, y[order[: len(found)]])
        assert np.array_equal(perturbed_sets.originals(base, split, np.arange(len(found))), framed)


def test_smaller_sets_are_beginnings_of_larger_ones_that_go_round_the_source(small_digits, monkeypatch):
    monkeypatch.setattr(perturbed_sets, "BLOCK", 500)
    small, large = sized(small_digits, 60), sized(small_digits, 1077 + 200)
    (x, y), (x_large, y_large) = arrays(small, "train"), arrays(large, "train")
    assert small.digest != large.digest
    assert np.array_equal(x, x_large[:60]) and np.array_equal(y, y_large[:60])
    assert np.array_equal(y_large[1077:], y_large[:200])
    # The same digit, perturbed otherwise.
    assert not np.array_equal(x_large[1077:], x_large[:200])
    assert "1,277 training images, each source image 1.19 times on average" in large.source


def test_the_copy_on_disk_is_moved_not_copied(small_digits):
    folder = sized(small_digits, 60).folder
    assert sorted(one.name for one in folder.iterdir()) == ["meta.json"] + [
        f"{letter}_{split}.npy" for letter in "xy" for split in ("test", "train", "valid")
    ]
    assert not list(folder.parent.glob(".making-*"))


def test_all_digits_by_default_and_labels_of_some(small_digits):
    whole = prepare(small_digits, options=DataOptions(labels=100))
    assert (whole.n_train, len(arrays(whole, "train")[0])) == (100, 100)
    with pytest.raises(UsageError, match=r"labels 70 is more than the 60 training images of digits\+nistp"):
        prepare(small_digits, options=DataOptions(train_size=60, labels=70))


def test_small_images_fill_the_box_and_others_keep_their_size():
    framed = perturbed_sets.frame(np.full((1, 1, 8, 8), 16, np.uint8), 1 / 16)
    assert np.array_equal(framed[0, 6:26, 6:26], np.full((20, 20), 255)) and framed.sum() == 255 * 400
    ramp = perturbed_sets.frame(np.tile(np.arange(0, 16, 2, dtype=np.uint8), (1, 1, 8, 1)), 1 / 16)[0, 16, 6:26]
    assert np.all(np.diff(ramp.astype(int)) >= 0) and ramp[0] == 0 and ramp[-1] == round(14 * 255 / 16)
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), dtype=np.uint8)
    assert np.array_equal(perturbed_sets.frame(image, 1 / 255)[0], np.pad(image[0, 0], 2))
    assert perturbed_sets.frame(image[..., :25], 1 / 255).shape == (1, 32, 32)


def test_nistp_like_is_emnist_byclass_perturbed(shrink, idx_set, tmp_path):
    row = TABLE["nistp-like"]
    assert (row.base, row.classes, row.input_shape) == ("emnist-byclass", 62, (1, 32, 32))
    assert (row.n_train, row.n_valid, row.n_test) == (581_609, 80_000, 20_000)
    assert "81,920,000" in row.description and "not split by writers" in row.split
    shrink("emnist-byclass", n_train=124, n_valid=62, n_test=62)
    shrink("nistp-like", n_train=124, n_valid=60, n_test=20)
    _, files = idx_set(186, 62, "emnist-byclass-train", "emnist-byclass-test", classes=62)
    raw = tmp_path / "data" / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in files.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(data))
    said = []
    made = prepare("nistp-like", data_dir=tmp_path / "data", progress=said.append)
    assert (made.n_train, made.n_valid, made.n_test, made.classes) == (124, 60, 20, 62)
    assert said[-1] == "perturbing emnist-byclass: 124 training, 60 validation, 20 test"
    upright = arrays(prepare("emnist-byclass", data_dir=tmp_path / "data"), "test")
    first = stratified_order(upright[1])[:20]
    assert arrays(made, "test")[1].tolist() == upright[1][first].tolist()
    assert status("nistp-like", tmp_path / "data") == f"present at {raw}"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("mnsit+nistp", "there is no data set called 'mnsit' to perturb", r"did you mean mnist\+nistp"),
        (
            "cifar10+nistp",
            "do not fit cifar10, they are for one grey channel, and cifar10 has 3x32x32",
            "such as mnist",
        ),
        ("nistp-like+nistp", "do not fit nistp-like, it is perturbed already", "such as mnist"),
        ("./own.npz+nistp", r"\+nistp goes with the grey sets of the table, not with \./own\.npz\+nistp", "mnist"),
    ],
)
def test_what_cannot_be_perturbed_is_refused(name, message, hint):
    with pytest.raises(UsageError, match=message) as caught:
        prepare(name)
    assert re.search(hint, caught.value.hint)


def test_the_papers_split_is_not_for_perturbed_sets():
    with pytest.raises(UsageError, match=r"has no split of mnist\+nistp"):
        prepare("mnist+nistp", options=DataOptions(split="paper"))


def test_more_than_the_disk_holds_is_refused_before_any_work(small_digits):
    with pytest.raises(ComputeError, match=r"digits\+nistp of 1,000,000,000,0\d\d images takes 1.02e\+06 GB, and"):
        sized(small_digits, 10**12)


def test_a_disk_that_fills_up_meanwhile_is_an_error(small_digits, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(ComputeError, match=r"the disk is full: no room for the prepared copy of digits\+nistp"):
        sized(small_digits, 60)


def test_real_mnist_keeps_its_ink(real_mnist):
    """Perturbed MNIST has about as much ink as MNIST, never none, and is never the same picture."""
    made = prepare("mnist+nistp", data_dir=real_mnist, options=DataOptions(train_size=2000))
    x = arrays(made, "train")[0][:, 0].astype(float)
    plain = perturbed_sets.originals(prepare("mnist", data_dir=real_mnist), "train", np.arange(2000)).astype(float)
    ink = x.sum(axis=(1, 2)) / plain.sum(axis=(1, 2))
    assert 0.8 < np.median(ink) < 1.5 and (ink > 0.02).mean() > 0.995
    assert (x != plain).any(axis=(1, 2)).all()
