from __future__ import annotations

import hashlib

import numpy as np
import pytest

from relubench.data.perturbations import pipeline
from relubench.data.perturbations.pipeline import Stream, draw, perturb

STREAM = Stream("train", 0)


@pytest.fixture
def strokes():
    """Images of a cross, uint8 [300, 32, 32]."""
    image = np.zeros((32, 32), np.uint8)
    image[6:26, 14:17] = 255
    image[14:17, 8:24] = 200
    return np.repeat(image[None], 300, axis=0)


def test_without_complexity_nothing_changes(strokes):
    assert np.array_equal(perturb(strokes, STREAM, max_complexity=0.0), strokes)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_an_image_does_not_depend_on_blocks_or_on_where_one_begins(strokes, block, monkeypatch):
    whole = perturb(strokes, STREAM)
    monkeypatch.setattr(pipeline, "BLOCK", block)
    assert np.array_equal(perturb(strokes[:100], STREAM), whole[:100])
    assert np.array_equal(perturb(strokes[250:], STREAM, first_number=250), whole[250:])


def test_a_block_may_span_two_files(strokes, monkeypatch):
    monkeypatch.setattr(pipeline, "FILE", 100)
    whole = perturb(strokes, STREAM)
    assert np.array_equal(perturb(strokes[90:210], STREAM, first_number=90), whole[90:210])


def test_streams_differ_and_are_never_changed(strokes):
    found = [perturb(strokes[:40], stream) for stream in (STREAM, Stream("train", 1), Stream("valid", 0))]
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    assert hashlib.sha256(found[0].tobytes()).hexdigest()[:16] == "3274581d68bd5df6"


def test_parameters_have_the_published_ranges():
    chosen = draw(STREAM, 0, 100_000)
    assert 0.65 < chosen.slope.max() < 0.7 and -0.7 < chosen.slope.min() < -0.65
    # U[0, c] with c in U[0, 0.7]: a quarter of the highest on average.
    assert np.abs(chosen.slope).mean() == pytest.approx(0.175, abs=0.002)
    off = chosen.coefficients - np.array([1, 0, 0, 0, 1, 0])
    assert np.abs(off[:, [0, 1, 3, 4]]).max() == pytest.approx(0.28, abs=0.01)
    assert np.abs(off[:, [2, 5]]).max() == pytest.approx(3.15, abs=0.1)
    assert -0.7 < chosen.pinch.min() < -0.66 and 0.45 < chosen.pinch.max() < 0.49
    assert chosen.pinch.mean() == pytest.approx(-0.15 * 0.35, abs=0.003)
    assert np.bincount(chosen.tenths).tolist() == pytest.approx([100_000 / 7] * 7, rel=0.03)
    assert (chosen.field.min(), chosen.field.max()) == (0, 50)


def test_thickness_is_drawn_as_in_the_original():
    chosen = draw(STREAM, 0, 100_000)
    complexity = (np.arange(70_000) + 0.5) / 100_000
    eroders, dilaters = np.ceil(5 * complexity), np.ceil(9 * complexity)
    share = [np.mean(one / (eroders + dilaters + 1)) for one in (eroders, np.ones(70_000), dilaters)]
    assert [np.mean(chosen.operator == one) for one in (-1, 0, 1)] == pytest.approx(share, abs=0.005)
    assert set(chosen.element[chosen.operator == 1]) == set(range(7))
    assert set(chosen.element[chosen.operator == -1]) == set(range(4))


def test_modules_are_independent():
    chosen = draw(STREAM, 0, 50_000)
    columns = (np.abs(chosen.slope), np.abs(chosen.coefficients[:, 1]), chosen.tenths, np.abs(chosen.pinch))
    apart = np.corrcoef(np.stack(columns)) - np.eye(len(columns))
    assert np.abs(apart).max() < 0.02
