from __future__ import annotations

import numpy as np
import pytest

from relubench.data.split import divide, hold_out, last_of_train, limit_train, stratified_order, validation_size
from relubench.data.split_arrays import SplitArrays
from relubench.data.table import TABLE, split_row
from relubench.errors import DataError, UsageError


def labels(*counts):
    y = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(3).permutation(y)


def test_order_is_a_permutation_whose_beginnings_hold_the_classes_in_proportion():
    y = labels(100, 300, 600)
    order = stratified_order(y)
    assert sorted(order) == list(range(1000))
    for n in (10, 50, 333, 900):
        counts = np.bincount(y[order[:n]], minlength=3)
        assert np.abs(counts - n * np.array([0.1, 0.3, 0.6])).max() <= 1


def test_order_never_changes():
    assert stratified_order(np.arange(12) % 3).tolist() == [3, 7, 5, 6, 10, 2, 0, 1, 11, 9, 4, 8]


def test_order_is_shuffled_within_a_class():
    assert not np.array_equal(stratified_order(np.zeros(50, np.int64)), np.arange(50))


def test_a_class_with_one_example_stays_in_training():
    y = labels(60, 1, 60)
    kept, held = hold_out(y, validation_size(len(y)))
    assert 1 in y[kept] and 1 not in y[held] and len(held) == 20
    assert sorted([*kept, *held]) == list(range(121))


def test_validation_size_is_a_sixth_and_bounded():
    assert [validation_size(n) for n in (5, 6, 60_000, 1_000_000)] == [0, 1, 10_000, 10_000]


def parts(n=60):
    x, y = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1), labels(*[n // 3] * 3)
    return SplitArrays(
        x_train=x, y_train=y, x_valid=x, y_valid=y, x_test=x, y_test=y, classes=3, scale=1.0, note="rule"
    )


def test_fewer_training_images_are_balanced_nested_and_leave_the_rest_alone():
    whole = parts()
    small, large = limit_train(whole, 9, "it"), limit_train(whole, 30, "it")
    assert np.bincount(small.y_train).tolist() == [3, 3, 3]
    assert set(small.x_train.ravel()) < set(large.x_train.ravel())
    assert len(small.y_valid) == len(small.y_test) == 60
    assert small.note == "rule; only 9 of 60 training images"
    assert limit_train(whole, None, "it") is whole


def test_more_training_images_than_there_are_is_refused():
    with pytest.raises(UsageError, match="train_size 61 is more than the 60 training images of it"):
        limit_train(parts(), 61, "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 59_999}, "59999 training images and 60000 labels where 60000 are expected"),
        ({"size": 27}, r"training images uint8 \(1, 28, 27\) where uint8 \(1, 28, 28\) is expected"),
        ({"label": 10}, "training labels from 0 to 10 where 0 to 9 are expected"),
    ],
)
def test_other_data_than_the_tables_are_refused(change, message):
    x = np.zeros((change.get("n", 60_000), 1, 28, change.get("size", 28)), np.uint8)
    y = np.zeros(60_000, np.int64)
    y[7] = change.get("label", 1)
    with pytest.raises(DataError, match=message):
        last_of_train(TABLE["mnist"], (x, y), (x[:10_000], y[:10_000]))


def test_the_papers_split_takes_validation_from_the_test_images():
    row = split_row(TABLE["cifar10"], "paper")
    assert (row.n_train, row.n_valid, row.n_test) == (50_000, 5_000, 5_000)
    x, x_test = np.zeros((50_000, 3, 32, 32), np.uint8), np.zeros((10_000, 3, 32, 32), np.uint8)
    y, y_test = np.arange(50_000) % 10, np.arange(10_000) % 10
    x_test[:5_000] = 1
    parts = divide(row, (x, y), (x_test, y_test))
    assert len(parts.x_train) == 50_000 and parts.x_valid.min() == 1 and not parts.x_test.any()
    assert np.array_equal(np.concatenate([parts.y_valid, parts.y_test]), y_test)
    assert "the first 5,000 of the official test set validate" in parts.note
    with pytest.raises(DataError, match="9999 test images and 10000 labels where 10000 are expected"):
        divide(row, (x, y), (x_test[1:], y_test))


def test_the_papers_split_of_mnist_is_the_usual_one_and_others_have_none():
    usual = TABLE["mnist"]
    same = split_row(usual, "paper")
    assert (same.split, same.n_train, same.n_valid, same.n_test) == (usual.split, 50_000, 10_000, 10_000)
    assert split_row(usual, "standard") is usual
    with pytest.raises(UsageError, match=r"data\.split paper: Glorot et al\. 2011 has no split of cifar100") as caught:
        split_row(TABLE["cifar100"], "paper")
    assert "mnist, cifar10" in caught.value.hint
