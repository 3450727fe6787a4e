"""Pictures that networks have fitted, side by side with the original, and what they differ in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relubench.data import DataOptions, DataReference, PreparedData, arrays
from relubench.data.reference import obtain
from relubench.data.split_arrays import SPLITS
from relubench.errors import ComputeError
from relubench.reports.plots.figure import save
from relubench.reports.report import Picture, PictureSheet, Report
from relubench.runs.result import RunResult
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.runs.task import PICTURE, task_called

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIDDLE = 4
"""The enlarged part is one in so many of the rows, and of the columns."""
PANEL_INCHES = 2.2
LARGE = 96
"""Pixels of a side from which on a page has a JPEG: the fits of a photograph would make it too large."""
READING = (
    "Each network gives a colour for each place; a quarter of the pixels trained it, and its score is that of others. "
    "Beside each fit stands its difference to the original: black is none, and white is the largest of all."
)


@dataclass(frozen=True, slots=True)
class Fit:
    """A picture [H, W, 3 or 1] with values in [0, 1], and what stands above it."""

    picture: np.ndarray
    caption: str
    activation: str = ""
    """Whose fit it is; empty for the original."""
    difference: np.ndarray | None = None
    """The absolute difference to the original [H, W, 1], mean over the colours; None for the original."""


def has_fits(results: Sequence[RunResult], store: Store) -> bool:
    """Whether all runs have fitted a picture, and the weights of any are stored."""
    are_pictures = bool(results) and all(result.spec.get("task") == PICTURE for result in results)
    return are_pictures and any(store.weights(result.id) is not None for result in results)


def plot_pictures(results: Sequence[RunResult], store: Store, path: Path) -> None:
    """Draws the original and each row's fit, the middle of both enlarged, and the difference of the two.

    Raises what `fits_of` raises, and ComputeError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    fits = fits_of(results, store)
    figure = Figure(figsize=(PANEL_INCHES * len(fits), 3 * PANEL_INCHES + 0.5), layout="constrained")
    whitest = _largest_difference(fits)
    for place, fit in enumerate(fits):
        height, width = fit.picture.shape[:2]
        top, first = (side * (MIDDLE - 1) // (2 * MIDDLE) for side in (height, width))
        middle = fit.picture[top : top + height // MIDDLE, first : first + width // MIDDLE]
        _show(figure.add_subplot(3, len(fits), place + 1), fit.picture, fit.caption)
        _show(figure.add_subplot(3, len(fits), len(fits) + place + 1), middle, "" if place else "its middle, enlarged")
        if fit.difference is not None:
            title = f"difference, white: {whitest:.2g}" if place == 1 else "difference"
            _show(figure.add_subplot(3, len(fits), 2 * len(fits) + place + 1), fit.difference / whitest, title)
    save(figure, path)


def with_pictures(report: Report, results: Sequence[RunResult], store: Store) -> Report:
    """The report with the same pictures for its page; as it is where there are none. Raises what `fits_of` raises."""
    if not has_fits(results, store):
        return report
    fits = fits_of(results, store)
    whitest = _largest_difference(fits)
    pictures = []
    for fit in fits:
        pictures.append(Picture(fit.caption.replace("\n", ", "), *_encoded(fit.picture), fit.activation))
        if fit.difference is not None:
            caption = f"difference of {fit.activation}, white: {whitest:.2g}"
            pictures.append(Picture(caption, *_encoded(fit.difference / whitest), fit.activation))
    return replace(report, pictures=PictureSheet("What the networks make of the picture", READING, pictures))


def fits_of(results: Sequence[RunResult], store: Store) -> list[Fit]:
    """Each original and what each row's best network by validation score makes of it, on all pixels.

    Raises ComputeError where no network's weights are stored, DataError where the picture is not on this machine.
    """
    groups: dict[tuple[str, ...], list[RunResult]] = {}
    for result in results:
        if result.test_score is not None and store.weights_of(result.id) is not None:
            names = [str(result.spec.get(key, "")) for key in ("data_digest", "activation", "model", "variant")]
            groups.setdefault(tuple(names), []).append(result)
    if not groups:
        raise ComputeError("no fitted picture can be drawn: no weights are stored", "train with --keep best")
    fits: list[Fit] = []
    for digest in dict.fromkeys(names[0] for names in groups):
        fits += _fits(digest, {names: group for names, group in groups.items() if names[0] == digest}, store)
    return fits


def _largest_difference(fits: Sequence[Fit]) -> float:
    return max([1e-6, *(float(fit.difference.max()) for fit in fits if fit.difference is not None)])


def _encoded(picture: np.ndarray) -> tuple[bytes, str]:
    """The picture as a file, and the kind of it."""
    # Late: Pillow comes with matplotlib.
    from PIL import Image

    pixels = np.rint(picture * 255).astype(np.uint8)
    buffer, kind = io.BytesIO(), "jpeg" if max(pixels.shape) > LARGE else "png"
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(buffer, format=kind, quality=90)
    return buffer.getvalue(), kind


def _fits(digest: str, groups: dict[tuple[str, ...], list[RunResult]], store: Store) -> list[Fit]:
    """The original of that digest, and the picture of each group."""
    first = next(iter(groups.values()))[0]
    prepared = obtain(DataReference(name=first.spec["dataset"], options=DataOptions(), digest=digest))
    place_of_pixel, colours = _pixels(prepared)
    original = _picture(place_of_pixel, colours)
    fits = [Fit(original, f"{Path(prepared.name).name}\na quarter of it trains")]
    for names, group in groups.items():
        best = max(group, key=lambda result: result.valid_score or 0.0)
        fitted = _picture(place_of_pixel, _fitted(best, prepared, store))
        scores = [result.test_score for result in group if result.test_score is not None]
        text = task_called(PICTURE).text(sum(scores) / len(scores))
        seeds = f", mean of {len(scores)} seeds" if len(scores) > 1 else ""
        difference = np.abs(fitted - original).mean(axis=2, keepdims=True)
        fits.append(Fit(fitted, f"{' '.join(filter(None, names[1::2]))}\n{text}{seeds}", names[1], difference))
    return fits


def _pixels(prepared: PreparedData) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel, int [N, 2], and its colour [N, K], part after part."""
    parts = [arrays(prepared, split) for split in SPLITS]
    x, y = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    side = round(len(x) ** 0.5)
    return np.rint((x + 1) / 2 * (side - 1)).astype(int), y


def _picture(place_of_pixel: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The colours [N, K] at their rows and columns, cut to what can be shown."""
    side = int(place_of_pixel.max()) + 1
    picture = np.zeros((side, side, colours.shape[1]), np.float32)
    picture[place_of_pixel[:, 0], place_of_pixel[:, 1]] = colours.clip(0, 1)
    return picture


def _fitted(result: RunResult, prepared: PreparedData, store: Store) -> np.ndarray:
    """The colours [N, K] that the run's stored weights give for every pixel, part after part."""
    import torch
    from safetensors.torch import load

    from relubench.activations import select
    from relubench.training.exchange import population_of
    from relubench.training.images import Images

    weights = store.weights_of(result.id)
    assert weights is not None
    spec = replace(RunSpec.from_json(result.spec), device="cpu", probe="none")
    data = Images.open(prepared, device="cpu", flat=True)
    population = population_of([spec], select([spec.activation])[0], data)
    population.load_weights(load(weights))
    outputs = []
    with torch.no_grad():
        for split in SPLITS:
            for x, _ in data.slices(split, 4096):
                h = x
                for layer in population.layers:
                    h = layer.forward(h, training=False)
                outputs.append(h)
    return torch.cat(outputs).numpy()


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.set_title(title, fontsize="small")
    shown = picture if picture.shape[2] == 3 else picture[..., 0]
    axes.imshow(shown, vmin=0, vmax=1, cmap="gray", interpolation="nearest")
    axes.set_axis_off()
