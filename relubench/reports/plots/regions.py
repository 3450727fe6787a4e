"""The linear regions of a network on a plane through three images, as a figure: Hanin & Rolnick 2019, figure 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relubench.reports.plots.figure import save

TILE = 1.5
"""Size of the three images, in points a pixel of a 28 x 28 one."""


def plot_regions(
    region: np.ndarray,
    label: np.ndarray,
    square: tuple[float, float, float, float],
    corners: Sequence[tuple[float, float, np.ndarray]],
    title: str,
    path: Path,
) -> None:
    """Writes the figure to `path`: a colour for each region, black where the class that is named changes.

    `region`, `label`: [v, u], from the lowest v up; `square`: the lowest and highest u and v; `corners`: u, v and the
    picture of each of the three images. Raises ComputeError if the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    figure = Figure(figsize=(7.2, 7.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(_colours(region), origin="lower", extent=square, interpolation="nearest")
    low_u, high_u, low_v, high_v = square
    u, v = np.linspace(low_u, high_u, label.shape[1]), np.linspace(low_v, high_v, label.shape[0])
    for class_index in np.unique(label):
        if 0 < (label == class_index).mean() < 1:
            axes.contour(u, v, (label == class_index).astype(float), levels=[0.5], colors="black", linewidths=1.3)
    for x, y, picture in corners:
        tile = OffsetImage(picture, zoom=TILE * 28 / max(picture.shape[:2]), cmap="gray", interpolation="nearest")
        axes.plot(x, y, "o", color="white", markeredgecolor="black", markersize=5, zorder=4)
        offset = 34 if y >= max(corner[1] for corner in corners) else -34
        box = AnnotationBbox(tile, (x, y), xybox=(0, offset), boxcoords="offset points", pad=0.15, frameon=True)
        axes.add_artist(box)
    axes.set_xlim(low_u, high_u)
    axes.set_ylim(low_v, high_v)
    axes.set_aspect("equal")
    axes.set_xlabel("distance in the plane, in units of the scaled input")
    axes.set_title(title, fontsize="medium")
    save(figure, path)


def _colours(region: np.ndarray) -> np.ndarray:
    """A pale colour for each region, [v, u, 3]: by chance, but the same each time."""
    colours = np.random.default_rng(7).random((int(region.max()) + 1, 3))
    return (0.45 + 0.55 * colours)[region]
