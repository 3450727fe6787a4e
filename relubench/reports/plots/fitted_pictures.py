"""Pictures that networks have fitted, side by side with the original: each whole, and the middle of it enlarged."""

from __future__ import annotations

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
from relubench.runs.result import RunResult
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.runs.task import PICTURE, task_called

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIDDLE = 4
"""The enlarged part is one in so many of the rows, and of the columns."""
PANEL_INCHES = 2.2


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture [H, W, 3 or 1] with values in [0, 1], and what stands above it."""

    picture: np.ndarray
    caption: str


def are_pictures(results: Sequence[RunResult]) -> bool:
    """Whether all runs have fitted a picture."""
    return bool(results) and all(result.spec.get("task") == PICTURE for result in results)


def plot_pictures(results: Sequence[RunResult], store: Store, path: Path) -> None:
    """Draws the original and what each row's best network by validation score makes of it; on all pixels.

    Raises ComputeError where no network's weights are stored, DataError where the picture is not on this machine.
    """
    from matplotlib.figure import Figure

    groups: dict[tuple[str, ...], list[RunResult]] = {}
    for result in results:
        if result.test_score is not None and store.weights_of(result.id) is not None:
            names = [str(result.spec.get(key, "")) for key in ("data_digest", "activation", "model", "variant")]
            groups.setdefault(tuple(names), []).append(result)
    if not groups:
        raise ComputeError("no fitted picture can be drawn: no weights are stored", "train with --keep best")
    panels: list[Panel] = []
    for digest in dict.fromkeys(names[0] for names in groups):
        runs = {names: group for names, group in groups.items() if names[0] == digest}
        panels += _panels(digest, runs, store)
    figure = Figure(figsize=(PANEL_INCHES * len(panels), 2 * PANEL_INCHES + 0.3), layout="constrained")
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(2, len(panels), place + 1)
        axes.set_title(panel.caption, fontsize="small")
        _show(axes, panel.picture)
        height, width = panel.picture.shape[:2]
        top, first = (side * (MIDDLE - 1) // (2 * MIDDLE) for side in (height, width))
        middle = panel.picture[top : top + height // MIDDLE, first : first + width // MIDDLE]
        enlarged = figure.add_subplot(2, len(panels), len(panels) + place + 1)
        enlarged.set_title("" if place else "its middle, enlarged", fontsize="small")
        _show(enlarged, middle)
    save(figure, path)


def _panels(digest: str, groups: dict[tuple[str, ...], list[RunResult]], store: Store) -> list[Panel]:
    """The original of that digest, and the picture of each group."""
    first = next(iter(groups.values()))[0]
    prepared = obtain(DataReference(name=first.spec["dataset"], options=DataOptions(), digest=digest))
    place_of_pixel, colours = _pixels(prepared)
    panels = [Panel(_picture(place_of_pixel, colours), f"{prepared.name}\na quarter of it trains")]
    for names, group in groups.items():
        best = max(group, key=lambda result: result.valid_score or 0.0)
        fitted = _fitted(best, prepared, store)
        scores = [result.test_score for result in group if result.test_score is not None]
        text = task_called(PICTURE).text(sum(scores) / len(scores))
        seeds = f", mean of {len(scores)} seeds" if len(scores) > 1 else ""
        panels.append(Panel(_picture(place_of_pixel, fitted), f"{' '.join(filter(None, names[1::2]))}\n{text}{seeds}"))
    return panels


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


def _show(axes: Axes, picture: np.ndarray) -> None:
    shown = picture if picture.shape[2] == 3 else picture[..., 0]
    axes.imshow(shown, vmin=0, vmax=1, cmap="gray", interpolation="nearest")
    axes.set_axis_off()
