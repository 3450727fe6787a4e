from __future__ import annotations

import numpy as np
import pytest

from relubench.data import DataOptions, arrays, prepare
from relubench.data.perturbations import perturbed_sets
from relubench.data.samples import draw_samples
from relubench.errors import UsageError


def test_samples_are_balanced_ordered_by_class_and_drawn_by_seed():
    digits = prepare("digits")
    found = draw_samples(digits, "test", 25, 0, None)
    assert found.images.shape == (25, 1, 8, 8) and found.images.max() == 1 and found.values == (0, 1)
    assert np.all(np.diff(found.labels) >= 0)
    assert set(np.bincount(found.labels).tolist()) == {2, 3}
    assert np.array_equal(draw_samples(digits, "test", 25, 0, None).images, found.images)
    assert not np.array_equal(draw_samples(digits, "test", 25, 1, None).images, found.images)
    x, y = arrays(digits, "test")
    known = {(one.tobytes(), int(label)) for one, label in zip(x, y, strict=True)}
    shown = np.rint(found.images * 16).astype(np.uint8)
    assert all((one.tobytes(), int(label)) in known for one, label in zip(shown, found.labels, strict=True))


@pytest.mark.parametrize("labels", [None, 100])
def test_perturbed_images_stand_beside_their_own_originals(labels):
    made = prepare("digits+nistp", options=DataOptions(train_size=300, labels=labels))
    base = prepare("digits")
    found = draw_samples(made, "train", 20, 0, base)
    assert found.images.shape == (20, 2, 32, 32)
    x, _ = arrays(prepare("digits+nistp", options=DataOptions(train_size=300)), "train")
    framed = perturbed_sets.originals(base, "train", np.arange(300))
    number = {one.tobytes(): k for k, one in enumerate(x[:, 0])}
    for original, changed in np.rint(found.images * 255).astype(np.uint8):
        assert np.array_equal(original, framed[number[changed.tobytes()]])


def test_other_values_than_0_to_1_are_stretched(small_npz):
    x = np.random.default_rng(0).normal(size=(24, 5, 6)).astype(np.float32)
    own = prepare(str(small_npz(x_train=x, x_test=x[:9])))
    found = draw_samples(own, "train", 20, 0, None)
    assert (found.images.min(), found.images.max()) == (0, 1)
    low, high = found.values
    assert low < -1 and high > 1


def test_what_cannot_be_shown_is_refused(small_npz):
    with pytest.raises(UsageError, match="--count 361 is more than the 360 test images of digits"):
        draw_samples(prepare("digits"), "test", 361, 0, None)
    flat = np.zeros((24, 30), np.uint8)
    own = prepare(str(small_npz(x_train=flat, x_test=flat[:9])))
    with pytest.raises(UsageError, match="has flat rows of 30 values: there is no picture to show"):
        draw_samples(own, "test", 3, 0, None)
