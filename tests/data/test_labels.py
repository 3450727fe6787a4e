from __future__ import annotations

import numpy as np
import pytest

from relubench.data import DataOptions, arrays, outline, prepare, training_images
from relubench.data.prepared import image_range
from relubench.errors import UsageError


def digits(**options):
    return prepare("digits", options=DataOptions(**options))


def test_training_sees_the_labelled_images_and_pretraining_all():
    whole, few = digits(), digits(labels=100)
    x, y = arrays(few, "train")
    images, labelled = training_images(few)
    x_all, y_all = arrays(whole, "train")
    assert (few.n_train, few.labels, len(x), len(y)) == (100, 100, 100, 100)
    assert np.array_equal(images, x_all)
    assert np.array_equal(images[labelled], x) and np.array_equal(y_all[labelled], y)
    assert np.array_equal(arrays(few, "valid")[0], arrays(whole, "valid")[0])
    assert training_images(whole)[1].tolist() == list(range(1077))


def test_with_all_images_it_is_the_set_of_all_labels():
    whole, few = digits(), digits(labels=100)
    seen = few.with_all_images
    assert (seen.digest, seen.n_train, seen.labels) == (whole.digest, 1077, None)
    assert np.array_equal(arrays(seen, "train")[0], arrays(whole, "train")[0])
    assert image_range(few) == image_range(whole) == (0.0, 1.0)
    assert whole.with_all_images == whole
    sketch = outline("digits", DataOptions(labels=100))
    assert sketch is not None and (sketch.n_train, sketch.with_all_images.n_train) == (100, 1077)


def test_labels_are_balanced_nested_and_drawn_once():
    small, large = (training_images(digits(labels=n))[1] for n in (50, 200))
    assert set(small) < set(large) and len(set(large)) == 200 and np.all(np.diff(large) > 0)
    assert np.bincount(arrays(digits(labels=200), "train")[1]).tolist() == pytest.approx([20] * 10, abs=1)
    assert np.array_equal(small, training_images(digits(labels=50))[1])


def test_labels_are_another_data_set_on_the_same_files():
    whole, few, fewer = digits(), digits(labels=100), digits(labels=99)
    assert few.folder == fewer.folder == whole.folder
    assert len({whole.digest, few.digest, fewer.digest}) == 3
    assert few.source.endswith("; labels of only 100 of 1,077 training images, drawn class by class")


def test_all_labels_are_no_restriction():
    assert digits(labels=1077) == digits()


def test_labels_go_together_with_fewer_images():
    few = digits(train_size=300, labels=30)
    images, labelled = training_images(few)
    assert (len(images), len(labelled)) == (300, 30)
    assert np.array_equal(images[labelled], arrays(few, "train")[0])
    with pytest.raises(UsageError, match="labels 301 is more than the 300 training images of digits"):
        digits(train_size=300, labels=301)


def test_impossible_numbers_of_labels_are_refused(small_npz):
    with pytest.raises(UsageError, match="labels 1078 is more than the 1077 training images of digits"):
        digits(labels=1078)
    with pytest.raises(UsageError, match="labels must be at least 1, not 0"):
        digits(labels=0)
    with pytest.raises(UsageError, match="labels 21 is more than the 20 training images of"):
        prepare(str(small_npz()), options=DataOptions(labels=21))


def test_a_file_of_ones_own_has_no_split_of_the_paper(small_npz):
    with pytest.raises(UsageError, match=r"data\.split paper: .*own\.npz is split by its own folders or arrays"):
        prepare(str(small_npz()), options=DataOptions(split="paper"))
