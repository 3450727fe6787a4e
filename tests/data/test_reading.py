"""What a user's arrays are read as, what is said about it, and what a table of results would not show."""

from __future__ import annotations

import numpy as np
import pytest

from relubench.data import arrays, lines_about, prepare

DRAW = np.random.default_rng(7)
X = DRAW.integers(0, 256, (240, 5, 6), dtype=np.uint8)
Y = np.arange(240) % 4
TEST = DRAW.integers(0, 256, (40, 5, 6), dtype=np.uint8)


@pytest.fixture
def said(small_npz):
    """What is said of a sound set of four classes with the given arrays exchanged: (the prepared set, its lines)."""

    def say(**changes):
        sound = {"x_train": X, "y_train": Y, "x_test": TEST, "y_test": Y[:40]}
        prepared = prepare(str(small_npz(**{**sound, **changes})))
        return prepared, lines_about([prepared])

    return say


def labels(prepared):
    return [arrays(prepared, part)[1] for part in ("train", "valid", "test")]


def test_a_sound_set_has_one_line_and_no_warning(said):
    prepared, (line,) = said()
    assert line == (
        f"data: {prepared.name}: 4 classes; 200 training, 40 validation and 40 test images of 1x5x6; "
        "values from 0 to 255, scaled to 0 to 1"
    )


@pytest.mark.parametrize(
    ("renamed", "warning"),
    [
        (lambda y: y + 1, "labels run from 1 to 4, not 0 to 3: they are numbered as the 4 classes 0 to 3"),
        (lambda y: y + 500, "labels run from 500 to 503, not 0 to 3"),
        (lambda y: np.array([3, 7, 200, 255], np.uint8)[y], "labels are 3, 7, 200, 255, not 0 to 3"),
        (lambda y: np.array([0, 1, 3, 4])[y], "labels are 0, 1, 3, 4, not 0 to 3"),
        (lambda y: (y * 2**61).astype(np.uint64), "labels are 0, 2305843009213693952"),
        (lambda y: y.astype(float) + 1, "labels run from 1 to 4, not 0 to 3"),
    ],
)
def test_other_numbers_are_numbered_from_0_and_said(said, renamed, warning):
    plain, _ = said()
    prepared, lines = said(y_train=renamed(Y), y_test=renamed(Y[:40]))
    assert prepared.classes == 4 and any(f"warning: {prepared.name}: {warning}" in line for line in lines)
    for one, other in zip(labels(plain), labels(prepared), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("renamed", "note"),
    [
        (lambda y: y[:, None], "y_train of shape (240, 1) is read as [N]"),
        (lambda y: np.eye(4)[y], "y_train of shape (240, 4) holds one-hot rows"),
        (lambda y: np.eye(4, dtype=bool)[y], "holds one-hot rows"),
        (lambda y: y.astype(np.float32), "float32 labels are read as whole numbers"),
        (lambda y: np.array(["ant", "bee", "cat", "dog"])[y], "alphabet: ant, bee, cat, dog"),
        (lambda y: np.array([b"ant", b"bee", b"cat", b"dog"])[y], "alphabet: ant, bee, cat, dog"),
    ],
)
def test_labels_written_otherwise_are_the_same_classes_without_a_warning(said, renamed, note):
    plain, _ = said()
    prepared, (line,) = said(y_train=renamed(Y), y_test=renamed(Y[:40]))
    assert note in line and prepared.classes == 4
    for one, other in zip(labels(plain), labels(prepared), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("pair", [(1, 255), (-1, 1), (False, True), (5, 2)])
def test_two_classes_are_two_whatever_they_are_called(said, pair):
    y = np.array(sorted(pair))[Y % 2]
    prepared, _ = said(y_train=y, y_test=y[:40])
    assert prepared.classes == 2 and np.array_equal(labels(prepared)[2], Y[:40] % 2)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_floats_that_run_from_0_to_255_are_scaled_and_said(said, dtype, flat):
    shape = (-1, 30) if flat else (-1, 5, 6)
    prepared, lines = said(x_train=X.astype(dtype).reshape(shape), x_test=TEST.astype(dtype).reshape(shape))
    assert prepared.scale == 1 / 255
    assert "floating-point pixels run from 0 to 255: they are scaled by 1/255" in lines[1]


@pytest.mark.parametrize(
    ("x", "scale", "warning"),
    [
        (X / 255, 1.0, ""),
        (DRAW.normal(0, 1, X.shape), 1.0, ""),
        (X / 255 * 2 - 1, 1.0, ""),
        (X / 16, 1.0, "values run from 0 to 15.9375 and are trained as they are"),
        (X - 128.0, 1.0, "values run from -128 to 127 and are trained as they are"),
        (X * 1000.0, 1.0, "values run from 0 to 255000 and are trained as they are"),
        (
            X // 16,
            1 / 255,
            "8-bit pixels go no further than 15 and are scaled by 1/255: the network sees at most 0.059",
        ),
        (X // 128, 1.0, ""),
        (X > 128, 1.0, ""),
        (X.astype(np.int64), 1 / 255, ""),
        (X.astype(np.int32) // 16, 1 / 255, "8-bit pixels go no further than 15"),
    ],
)
def test_the_range_of_the_pixels(said, x, scale, warning):
    prepared, lines = said(x_train=x, x_test=x[:40] if x.dtype == bool else np.roll(x[:40], 1, axis=2))
    assert prepared.scale == scale
    warnings = [line for line in lines if ("run" in line and "warning" in line) or "8-bit" in line]
    assert len(warnings) == bool(warning) and all(warning in line for line in warnings)


def test_a_part_that_was_scaled_otherwise_is_said(said):
    _, lines = said(x_train=X / 255, x_test=TEST.astype(float))
    assert any(
        "values run in x_train from 0 to 1 and x_test from 0 to 255: was one of them scaled" in one for one in lines
    )


@pytest.mark.parametrize(
    ("shape", "read", "warning"),
    [
        ((5, 6), (1, 5, 6), ""),
        ((1, 5, 3), (1, 5, 3), ""),
        ((3, 2, 5), (3, 2, 5), ""),
        ((5, 6, 1), (1, 5, 6), "is read with channels last: 1 channels of 5x6 pixels"),
        ((5, 2, 3), (3, 5, 2), "is read with channels last: 3 channels of 5x2 pixels"),
        ((6, 5, 2), (2, 6, 5), "is read with channels last"),
        ((5, 6, 4), (4, 5, 6), "is read with channels last"),
        (
            (3, 3, 3),
            (3, 3, 3),
            "channels first: 3 channels of 3x3 pixels; if the last axis are the channels, write numpy",
        ),
        ((3, 10, 1), (3, 10, 1), "is read with channels first"),
        ((5, 3, 7), (5, 3, 7), ""),
        ((30,), (30,), ""),
    ],
)
def test_where_the_channels_are(said, shape, read, warning):
    x = DRAW.integers(0, 256, (280, *shape), dtype=np.uint8)
    prepared, lines = said(x_train=x[:240], x_test=x[240:])
    assert prepared.input_shape == read
    assert len(lines) == 1 + bool(warning) and warning in lines[-1]
    if read != shape and len(shape) == 3:
        assert np.array_equal(arrays(prepared, "test")[0], x[240:].transpose(0, 3, 1, 2))


def test_test_images_that_are_training_images_are_counted(said):
    # The validation images come from the training part: those count as well.
    _, lines = said(x_test=np.concatenate([X[:10], TEST[:30]]))
    assert "10 of 40 test images (25.0 %) are also training images, pixel by pixel" in lines[1]
    _, lines = said(x_valid=np.concatenate([TEST[:19], X[5:6]]), y_valid=Y[:20])
    assert "1 of 20 validation images (5.0 %) are also training images" in lines[2]
    assert "19 of 40 test images" in lines[1]


def test_images_under_two_labels_and_images_of_nothing_are_said(said):
    x = X.copy()
    x[1] = x[0]
    _, lines = said(x_train=x)
    assert "2 training images occur under two labels or more" in lines[1]
    x = X.copy()
    x[:60] = 9
    _, lines = said(x_train=x)
    assert any("60 of 280 images are of one single value each" in line for line in lines)


def test_equal_images_are_said_once(said):
    _, lines = said(x_train=np.repeat(X[:1], 240, axis=0), x_test=np.repeat(X[:1], 40, axis=0))
    assert lines[1:] == [
        f"warning: {lines[0].split(': ')[1]}: all 280 images are equal: there is nothing to tell apart"
    ]


def test_classes_that_a_part_lacks_and_unequal_classes_are_said(said):
    _, lines = said(y_test=Y[:40] % 2)
    assert "no test image of the classes 2, 3" in lines[1]
    rare = np.where(np.arange(240) < 12, 1, 0)
    _, lines = said(y_train=rare, y_test=np.arange(40) // 39)
    assert any(
        "the classes are unequal: 190 training images of class 0, 10 of 1; always naming the commonest errs on 2.5 %"
        in line
        for line in lines
    )


def test_exchanged_parts_and_a_small_validation_part_are_said(said):
    _, lines = said(x_train=TEST, y_train=Y[:40], x_test=X, y_test=Y)
    assert "there are 240 test images and 40 to train and validate on: are the parts exchanged?" in lines[1]
    assert "only 6 validation images choose the best epoch" in lines[2]


def test_grey_that_is_stored_as_colour_is_said(said):
    colour = np.repeat(np.concatenate([X, TEST])[:, None], 3, axis=1)
    _, lines = said(x_train=colour[:240], x_test=colour[240:])
    assert "all images are grey, stored as colour" in lines[1]
    colour[3, 0, 0, 0] ^= 1
    assert len(said(x_train=colour[:240], x_test=colour[240:])[1]) == 1


def test_what_was_said_is_kept_with_the_prepared_copy(small_npz):
    path = str(small_npz(y_train=np.arange(24) % 3 + 1, y_test=np.arange(9) % 3 + 1))
    first, again = prepare(path), prepare(path)
    assert lines_about([first]) == lines_about([again]) and len(lines_about([first, again])) == len(
        lines_about([first])
    )
