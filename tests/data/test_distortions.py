"""Each distortion against a direct implementation of its definition, or scipy's, or Pillow's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from PIL import Image

from relubench.data.perturbations import distortions
from relubench.data.perturbations.distortions import ELEMENTS, SIDE

N = 12


@pytest.fixture
def images():
    """Blurred noise in the middle of black images: every grey level, and a ground."""
    draw = np.random.default_rng(0)
    rough = scipy.ndimage.gaussian_filter(draw.normal(size=(N, SIDE, SIDE)), (0, 1.5, 1.5))
    grey = np.clip(rough * 900, 0, 255).astype(np.uint8)
    grey[:, :3] = grey[:, -3:] = 0
    return grey


def bilinear(image, x, y):
    """One pixel read at (x, y), 0 outside, as a float."""
    left, top = math.floor(x), math.floor(y)
    total = 0.0
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < SIDE and 0 <= column < SIDE:
                total += row_weight * weight * image[row, column]
    return total


def is_cut_off(found, exact):
    """Whether uint8 values are exact ones without their fraction, 32-bit arithmetic forgiven."""
    return np.all((found <= exact + 0.02) & (found > exact - 1.02))


def test_nothing_asked_for_changes_nothing(images):
    zero = np.zeros(N)
    nothing = np.zeros(N, np.intp)
    assert np.array_equal(distortions.slant(images, zero), images)
    assert np.array_equal(distortions.thicken(images, nothing, nothing), images)
    assert np.array_equal(distortions.affine(images, np.tile([1.0, 0, 0, 0, 1, 0], (N, 1))), images)
    assert np.array_equal(distortions.displace(images, np.zeros((N, 2, SIDE, SIDE), np.float32)), images)
    assert np.array_equal(distortions.pinch(images, zero), images)


@pytest.mark.parametrize("slope", [0.33, -0.33, 0.69, -0.05])
def test_slant_shifts_rows_cyclically_and_centres(images, slope):
    found = distortions.slant(images, np.full(N, slope))
    back = math.copysign(round(abs(slope) * SIDE / 2), slope)
    for y in range(SIDE):
        assert np.array_equal(found[:, y], np.roll(images[:, y], int(round(y * slope) - back), axis=1))
    # The middle row stays where it was, so the image stays centred.
    assert np.array_equal(found[:, SIDE // 2], images[:, SIDE // 2])


@pytest.mark.parametrize("operator", [1, -1])
@pytest.mark.parametrize("element", range(len(ELEMENTS)))
def test_thickness_is_scipys_grey_morphology_stretched_to_the_old_maximum(images, operator, element):
    found = distortions.thicken(images, np.full(N, operator), np.full(N, element))
    morph = scipy.ndimage.grey_dilation if operator > 0 else scipy.ndimage.grey_erosion
    structure = ELEMENTS[element].astype(float)
    for image, thick in zip(images, found, strict=True):
        # The original's words: on an image in [0, 1], with the ones of the element added or subtracted.
        raw = morph(image / image.max(), size=structure.shape, structure=structure)
        assert is_cut_off(thick, (raw - raw.min()) / (raw.max() - raw.min()) * image.max())
        assert thick.min() == 0 and thick.max() == image.max()


def test_thickness_works_on_each_image_alone(images):
    operator, element = np.array([1, -1, 0] * 4), np.arange(N) % 5
    found = distortions.thicken(images, operator, element)
    for k in range(N):
        alone = distortions.thicken(images[k : k + 1], operator[k : k + 1], element[k : k + 1])
        assert np.array_equal(found[k], alone[0])


def test_an_image_that_erosion_wipes_out_stays():
    line = np.zeros((1, SIDE, SIDE), np.uint8)
    line[0, 5:20, 16] = 255
    assert np.array_equal(distortions.thicken(line, np.array([-1]), np.array([2])), line)


def affine_maps():
    draw = np.random.default_rng(1)
    return np.array([1.0, 0, 0, 0, 1, 0]) + draw.uniform(-0.28, 0.28, (N, 6)) * np.array([1, 1, 11, 1, 1, 11])


def test_affine_reads_the_nearest_pixel_of_the_inverse_map(images):
    maps = affine_maps()
    found = distortions.affine(images, maps)
    for image, (a, b, c, d, e, f), moved in zip(images, maps, found, strict=True):
        for y in range(SIDE):
            for x in range(SIDE):
                column = math.floor(a * (x + 0.5) + b * (y + 0.5) + c)
                row = math.floor(d * (x + 0.5) + e * (y + 0.5) + f)
                inside = 0 <= column < SIDE and 0 <= row < SIDE
                assert moved[y, x] == (image[row, column] if inside else 0)


def test_affine_is_pillows(images):
    maps = affine_maps()
    by_pillow = [
        np.asarray(Image.fromarray(image).transform((SIDE, SIDE), Image.Transform.AFFINE, tuple(one)))
        for image, one in zip(images, maps, strict=True)
    ]
    # Pillow counts in units of 1/65536 pixel: a few pixels on an edge between two fall to the other side.
    assert (distortions.affine(images, maps) == np.stack(by_pillow)).mean() > 0.999


def test_displacement_is_bilinear_and_black_outside(images):
    field = np.random.default_rng(2).uniform(-6, 6, (N, 2, SIDE, SIDE)).astype(np.float32)
    found = distortions.displace(images, field)
    for k in (0, 7):
        exact = [
            [bilinear(images[k], x + float(field[k, 0, y, x]), y + float(field[k, 1, y, x])) for x in range(SIDE)]
            for y in range(SIDE)
        ]
        assert is_cut_off(found[k], np.array(exact))


def test_a_displacement_by_whole_pixels_loses_nothing(images):
    field = np.zeros((N, 2, SIDE, SIDE), np.float32)
    field[:, 0], field[:, 1] = 3, -40
    field[0, 1] = 0
    found = distortions.displace(images, field)
    assert np.array_equal(found[0, :, : SIDE - 3], images[0, :, 3:])
    assert not found[1:].any()


@pytest.mark.parametrize("tenths", range(1, 10))
def test_elastic_fields_are_the_noise_folded_as_scipy_does(tenths):
    strength = (tenths / 10) ** (1 / 3)
    alpha, sigma = 10 * strength, 10 - 7 * strength
    width = 1.5 * sigma
    axis = np.exp(-(((np.arange(0, width) - width / 2) / sigma) ** 2))
    kernel = np.outer(axis, axis) / np.outer(axis, axis).sum()
    margin = int(width)
    noise = np.random.default_rng(tenths).uniform(-1, 1, (SIDE + margin, SIDE + margin))
    folded = scipy.signal.convolve2d(noise, kernel, mode="same")[margin : margin + SIDE, margin : margin + SIDE]
    side = distortions.noise_side(tenths)
    read = noise[-side:, -side:].astype(np.float32)
    found = distortions.elastic_fields(np.stack([read, read.T])[None], tenths)
    assert found.shape == (1, 2, SIDE, SIDE)
    assert np.allclose(found[0, 0], alpha * folded, atol=1e-5)
    assert np.allclose(found[0, 1], alpha * folded.T, atol=1e-5)


def test_elastic_magnitude_follows_the_formula():
    noise = np.random.default_rng(3).uniform(-1, 1, (400, 2, 36, 36)).astype(np.float32)
    for tenths in (2, 4, 6):
        strength = (tenths / 10) ** (1 / 3)
        sigma = 10 - 7 * strength
        axis = np.exp(-(((np.arange(0, 1.5 * sigma) - 0.75 * sigma) / sigma) ** 2))
        axis /= axis.sum()
        expected = 10 * strength / math.sqrt(3) * (axis**2).sum()
        inner = distortions.elastic_fields(noise, tenths)[:, :, :24, :24]
        assert inner.std() == pytest.approx(expected, rel=0.03)
        assert abs(inner.mean()) < 0.03


@pytest.mark.parametrize("amount", [0.49, -0.7, 0.1])
def test_pinch_reads_from_the_published_radius(images, amount):
    found = distortions.pinch(images, np.full(N, amount))
    exact = np.zeros((SIDE, SIDE))
    for y in range(SIDE):
        for x in range(SIDE):
            dx, dy = x - 15.5, y - 15.5
            distance = math.hypot(dx, dy)
            factor = math.sin(math.pi * distance / 32) ** -amount if distance < 16 else 1.0
            exact[y, x] = bilinear(images[0], 15.5 + factor * dx, 15.5 + factor * dy)
    assert is_cut_off(found[0], exact)


def test_pinch_draws_in_and_pushes_out():
    ring = np.zeros((1, SIDE, SIDE), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE] - 15.5
    ring[0, np.abs(np.hypot(x, y) - 9) < 1.5] = 255
    radius = [
        np.average(np.hypot(x, y), weights=distortions.pinch(ring, np.array([one]))[0]) for one in (0.4, 0.0, -0.4)
    ]
    assert radius[0] < radius[1] - 1 and radius[2] > radius[1] + 0.7
