"""Figures of two presets: pictures that networks fitted, and differences of several tasks side by side."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.axes
import numpy as np
import pytest
from PIL import Image

import relubench
from relubench.__main__ import run as main
from relubench.reports.figures.differences import differences_figure
from relubench.reports.figures.table import figure_of
from relubench.reports.render import render
from tests.reports.conftest import Lab

PICTURE = "train --act tanh,sine --model mlp-2x32 --batch-size 16 --epochs 3 --lr 0.01 --device cpu --quiet"


pytestmark = pytest.mark.usefixtures("train_here")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The pictures that a figure shows, in order."""
    pictures: list[np.ndarray] = []
    draw = matplotlib.axes.Axes.imshow

    def imshow(self: matplotlib.axes.Axes, picture: np.ndarray, **options: Any) -> Any:
        pictures.append(np.asarray(picture))
        return draw(self, picture, **options)

    monkeypatch.setattr(matplotlib.axes.Axes, "imshow", imshow)
    return pictures


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_original_stands_beside_what_networks_make_of_it(
    tmp_path: Path, shown: list[np.ndarray], mode: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    picture.save(tmp_path / "own.png")
    arguments = [*PICTURE.split(), "--dataset", str(tmp_path / "own.png"), "--set", "data.image_size=16"]
    assert main([*arguments, "--plot", str(tmp_path / "fit.png"), "--output", str(tmp_path / "rows.tsv")]) == 0
    original, middle, fit, enlarged, difference, other_fit, _, other_difference = shown
    # The shorter side has 16 pixels already, and of the longer one the middle 16 are taken.
    np.testing.assert_allclose(original, np.asarray(picture)[2:18] / 255, atol=1e-6)
    np.testing.assert_array_equal(middle, original[6:10, 6:10])
    assert enlarged.shape == middle.shape and all(other.min() >= 0 and other.max() <= 1 for other in shown)
    assert not np.allclose(fit, other_fit)
    assert max(difference.max(), other_difference.max()) == pytest.approx(1)
    mean = np.abs(fit - original).reshape(16, 16, -1).mean(axis=2)
    np.testing.assert_allclose(difference / difference.max(), mean / mean.max(), atol=1e-5)


def test_a_page_and_python_have_the_pictures_too(tmp_path: Path, shown: list[np.ndarray]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    arguments = [*PICTURE.split(), "--dataset", str(tmp_path / "own.png"), "--set", "data.image_size=16"]
    assert main([*arguments, "--report", str(tmp_path / "fit.html"), "--output", str(tmp_path / "rows.tsv")]) == 0
    page = (tmp_path / "fit.html").read_text()
    captions = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,', page)
    assert [caption.split()[0] for caption in captions] == ["own.png,", "tanh,", "difference", "sine,", "difference"]
    content = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]*)"', page)[1])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
    result = relubench.train(
        act=["tanh", "sine"],
        dataset=str(tmp_path / "own.png"),
        model="mlp-2x32",
        batch_size=16,
        epochs=3,
        lr=0.01,
        device="cpu",
        settings={"data": {"image_size": 16}},
    )
    result.page(tmp_path / "python.html")
    assert re.findall(r'<img alt="([^"]*)"', (tmp_path / "python.html").read_text()) == captions
    result.plot(tmp_path / "python.svg")
    assert len(shown) == 8


def test_of_several_tasks_each_has_its_own_axis(lab) -> None:
    other = {"dataset": "diabetes", "task": "regression"}
    lab.train("relu").train("tanh", scale=0.9)
    for activation in ("relu", "tanh"):
        lab.train(activation, **other)
    for place, run in enumerate(lab.results[6:], 6):
        curve = [replace(point, valid_error_pct=None, valid_metric=0.5) for point in run.curve]
        score = 0.4 + place / 100
        lab.results[place] = replace(
            run, test_error_pct=None, valid_error_pct=None, valid_metric=0.5, test_metric=score, curve=curve
        )
        lab.masks[run.id] = np.random.default_rng(place).normal(score, 0.1, 2000).astype(np.float32)
    source = lab.source()
    differences = figure_of(source, ["differences"])
    assert [panel.title for panel in differences.panels] == ["mnist", "diabetes"]
    assert "points" in differences.panels[0].x_label and "squared error" in differences.panels[1].x_label
    for name in ("scores", "curves"):
        labels = {panel.x_label + panel.y_label for panel in figure_of(source, [name]).panels}
        assert any("error (%)" in label for label in labels) and any("squared error" in label for label in labels)
    assert "test score" in render(lab.report(), "table", width=200)
    assert differences_figure(Lab().train("relu").train("tanh").source()) is None
