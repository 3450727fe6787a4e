from __future__ import annotations

import pytest
import torch

from relubench.errors import UsageError
from relubench.training.augmentation import KINDS, augment


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=64, channels=3, height=16, width=12):
    return torch.arange(1.0, n * channels * height * width + 1).reshape(n, channels, height, width)


def reference(x_CHW, dy, dx, mirrored):
    """One image by slicing: mirror, pad by 2, cut out."""
    padded = torch.nn.functional.pad(x_CHW.flip(2) if mirrored else x_CHW, (2,) * 4)
    return padded[:, dy : dy + x_CHW.shape[1], dx : dx + x_CHW.shape[2]]


@pytest.mark.parametrize(("kind", "mirrors"), [("crop", [False]), ("crop+flip", [False, True])])
def test_every_image_is_one_of_the_possible_windows(kind, mirrors):
    x = batch()
    out = augment(x, kind, seeded())
    seen = set()
    for before, after in zip(x, out, strict=True):
        matches = [
            (dy, dx, mirrored)
            for dy in range(5)
            for dx in range(5)
            for mirrored in mirrors
            if torch.equal(reference(before, dy, dx, mirrored), after)
        ]
        assert len(matches) == 1
        seen |= set(matches)
    assert len(seen) > 15 and {mirrored for _, _, mirrored in seen} == set(mirrors)


def test_flip_mirrors_half_of_the_images():
    x = batch(2000, 1, 2, 3)
    out = augment(x, "flip", seeded())
    mirrored = (out == x.flip(3)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(out == x).flatten(1).all(1))
    assert 0.45 < mirrored.float().mean() < 0.55


def test_shifts_are_uniform_and_independent():
    x = torch.zeros(5000, 1, 8, 8)
    x[:, :, 4, 4] = 1
    place = augment(x, "crop", seeded()).flatten(1).argmax(1)
    counts = torch.bincount(place, minlength=64).reshape(8, 8)[3:6, 3:6]
    assert counts.sum() == 5000 and (counts - 5000 / 9).abs().max() < 5 * (5000 / 9) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_everything_and_the_input_is_kept(kind):
    x = batch()
    before = x.clone()
    torch.manual_seed(1)
    first = augment(x, kind, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(augment(x, kind, seeded(5)), first)
    assert not torch.equal(augment(x, kind, seeded(6)), first)
    assert torch.equal(x, before) and first.shape == x.shape
    small = x.to(torch.uint8)
    assert torch.equal(augment(small, kind, seeded(5)), first.to(torch.uint8))


def test_margin_is_four_pixels_for_32_and_at_least_one():
    ones = augment(torch.ones(4000, 1, 32, 32), "crop", seeded())
    assert int((ones.sum((1, 3)) == 0).sum(1).max()) == 4
    tiny = augment(torch.ones(100, 1, 4, 4), "crop", seeded())
    assert int((tiny.sum((1, 3)) == 0).sum(1).max()) == 1


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="no augmentation called 'corp'"):
        augment(batch(2), "corp", seeded())
