from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from relubench.errors import UsageError
from relubench.reports.plots.image_sheet import GAP, MARGIN, SEAM, image_sheet


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_grey_images_are_enlarged_and_laid_out_row_by_row():
    images = np.linspace(0, 1, 5)[:, None, None, None] * np.ones((1, 1, 16, 16))
    sheet = opened(image_sheet(images, 3))
    assert sheet.shape == (2 * 64 + GAP + 2 * MARGIN, 3 * 64 + 2 * GAP + 2 * MARGIN, 3)
    middles = [
        sheet[MARGIN + 32 + row * (64 + GAP), MARGIN + 32 + column * (64 + GAP)]
        for row in (0, 1)
        for column in range(3)
    ]
    assert [int(middle[0]) for middle in middles] == [0, 64, 128, 191, 255, 255]


def test_colour_stays_colour_and_pairs_stand_side_by_side():
    colour = np.zeros((1, 3, 64, 64))
    colour[0, 1] = 1
    assert opened(image_sheet(colour))[MARGIN + 5, MARGIN + 5].tolist() == [0, 255, 0]
    pair = np.stack([np.zeros((64, 64)), np.full((64, 64), 0.5)])[None]
    sheet = opened(image_sheet(pair))
    assert sheet.shape[1] == 2 * 64 + SEAM + 2 * MARGIN
    assert (sheet[40, MARGIN + 10, 0], sheet[40, MARGIN + 64 + SEAM + 10, 0]) == (0, 128)


def test_captions_and_title_add_ink_and_room():
    images = np.ones((4, 1, 8, 8))
    plain, titled = opened(image_sheet(images)), opened(image_sheet(images, captions=list("abcd"), title="four images"))
    assert titled.shape[0] > plain.shape[0]
    assert (titled.min(axis=2) < 100).sum() > 50 and not (plain.min(axis=2) < 100).any()
    long = opened(image_sheet(images, title="a title that is far wider than four small images beside each other " * 2))
    assert long.shape[1] > 700


def test_values_out_of_range_are_clipped():
    images = np.array([-3.0, 7.0, np.nan])[:, None, None, None] * np.ones((1, 1, 64, 64))
    sheet = opened(image_sheet(images, 3))
    assert [int(sheet[40, MARGIN + 30 + k * (64 + GAP), 0]) for k in range(3)] == [0, 255, 0]


def test_an_empty_sheet_is_refused():
    with pytest.raises(UsageError, match="a sheet needs at least one image, got 0"):
        image_sheet(np.zeros((0, 1, 8, 8)))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(2, 8, 8\) and 0"):
        image_sheet(np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match=r"got \(2, 1, 8, 8\) and 1"):
        image_sheet(np.zeros((2, 1, 8, 8)), captions=["one"])


def test_the_same_images_give_the_same_file():
    images = np.random.default_rng(0).uniform(size=(6, 1, 8, 8))
    assert image_sheet(images, captions=list("abcdef")) == image_sheet(images, captions=list("abcdef"))
