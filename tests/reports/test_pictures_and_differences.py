"""Figures of two presets: pictures that networks fitted, and differences of several tasks side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.axes
import numpy as np
import pytest
from PIL import Image

from relubench.__main__ import run as main
from relubench.reports.plots.differences import has_several_tasks, plot_differences

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
    original, middle, *others = shown
    # The shorter side has 16 pixels already, and of the longer one the middle 16 are taken.
    np.testing.assert_allclose(original, np.asarray(picture)[2:18] / 255, atol=1e-6)
    np.testing.assert_array_equal(middle, original[6:10, 6:10])
    assert len(others) == 4 and all(other.min() >= 0 and other.max() <= 1 for other in others)
    assert not np.allclose(others[0], others[2])


def test_tables_of_several_tasks_are_drawn_as_differences(tmp_path: Path) -> None:
    row = {"model": "mlp-1x8", "difference_verdict": "noise"}
    gap = {"metric_difference_ci_low": -0.3, "metric_difference_ci_high": 0.1}
    rows = [
        {**row, "activation": "relu", "dataset": "diabetes", "task": "regression", "lower_is_better": True},
        {**row, **gap, "activation": "tanh", "dataset": "diabetes", "task": "regression", "metric_difference": -0.1},
        {**row, "activation": "relu", "dataset": "wine", "task": "classification"},
    ]
    assert has_several_tasks(rows) and not has_several_tasks(rows[:2])
    plot_differences(rows, tmp_path / "differences.svg")
    text = (tmp_path / "differences.svg").read_text()
    assert text.count('<g id="axes_') == 2
