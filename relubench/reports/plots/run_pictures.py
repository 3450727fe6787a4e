"""Pictures of a stored run: first-layer filters, reconstructions, what a VAE draws, and linear regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relubench.data import DataOptions, prepare
from relubench.errors import RelubenchError, UsageError
from relubench.reports.plots import filters
from relubench.runs.layer_id import layer_id
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.runs.task import task_called
from relubench.system.files import write_file
from relubench.training.probes.table import why_no_regions

if TYPE_CHECKING:
    from torch import Tensor

    from relubench.data import PreparedData
    from relubench.training.images import Images

GRID_POINTS = 500
"""On each side of the square in which regions are drawn."""
NUM_CORNERS, NUM_CANDIDATES = 3, 1000
"""Images that a plane goes through, chosen among the first so many."""


def draw_run(
    store: Store, run: str, folder: Path, data_dir: Path | None = None, note: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """The PNG files that were written into `folder`; raises UsageError for a run without pictures to draw.

    Where linear regions cannot be drawn `note` is told why.
    """
    from safetensors.numpy import load

    result = store.result(run)
    assert result is not None
    spec = RunSpec.from_json(result.spec)
    layer = layer_id(spec, 0) if spec.stack is not None else ""
    weights = {"finetuned": store.weights_of(run), "pretrained": store.layer_weights(layer) if layer else None}
    layers = {name: load(content) for name, content in weights.items() if content is not None}
    if not layers or any(tensors["0.weight"].ndim != 2 for tensors in layers.values()):
        raise UsageError(
            f"run {run} has no dense first layer to draw",
            "its weights were not kept (--keep none), or it is convolutional",
        )
    pages = {
        f"filters-{name}": filters.filters(tensors["0.weight"], spec.input_shape) for name, tensors in layers.items()
    }
    if layer and (content := store.layer_reconstructions(layer)) is not None:
        tensors = load(content)
        pages["reconstructions"] = filters.reconstructions(
            tensors["images"], tensors["reconstructions"], spec.input_shape
        )
    finetuned = weights["finetuned"]
    files = _write(pages, folder, run, spec)
    if finetuned is None:
        return files
    if task_called(spec.task).reconstructs:
        return [*files, *_reconstructions(spec, finetuned, data_dir, folder / run)]
    try:
        return [*files, _regions(spec, finetuned, data_dir, folder / f"{run}-regions.png")]
    except (RelubenchError, ValueError) as error:
        note(f"linear regions are not drawn: {error.message if isinstance(error, RelubenchError) else error}")
        return files


def _reconstructions(spec: RunSpec, weights: bytes, data_dir: Path | None, stem: Path) -> list[Path]:
    """Sheets of test images with what the network makes of them, and of images that a VAE draws."""
    from safetensors.torch import load

    from relubench.activations import select
    from relubench.reports.plots.reconstructions import reconstruction_sheets
    from relubench.training.images import Images

    data = Images.open(_data(spec, data_dir), device="cpu", flat=True)
    sheets = reconstruction_sheets(spec, select([spec.activation])[0], load(weights), data)
    files = [stem.with_name(f"{stem.name}-{name}.png") for name in sheets]
    for path, content in zip(files, sheets.values(), strict=True):
        write_file(path, content)
    return files


def _regions(spec: RunSpec, weights: bytes, data_dir: Path | None, path: Path) -> Path:
    """The figure of the network's linear regions on a plane through three validation images of different classes."""
    if reason := why_no_regions(spec):
        raise ValueError(reason)
    from safetensors.torch import load

    from relubench.activations import select
    from relubench.reports.plots.regions import plot_regions
    from relubench.training.exchange import population_of
    from relubench.training.images import Images
    from relubench.training.probes.linear_regions import linear_stages
    from relubench.training.probes.region_plane import plane_through, regions_on

    data = Images.open(_data(spec, data_dir), device="cpu", flat=True)
    population = population_of([replace(spec, device="cpu", probe="none")], select([spec.activation])[0], data)
    population.load_weights(load(weights))
    x, classes = _corner_images(data)
    plane = plane_through(*x)
    regions = regions_on(linear_stages(population.layers, spec.activation, None), plane, GRID_POINTS)
    low, high = float(x.min()), float(x.max())
    tiles = filters.as_images((x.numpy() - low) / max(high - low, 1e-12), spec.input_shape)
    corners = [(*corner, tile) for corner, tile in zip(plane.corners, tiles, strict=True)]
    network_name = f"{spec.activation} · {spec.model} · {spec.dataset} · seed {spec.seed}"
    region_count = f"{regions.count:,} linear regions on a grid of {GRID_POINTS} x {GRID_POINTS} points"
    title = f"{network_name}\n{region_count}, classes {', '.join(map(str, classes))}; black: the class named changes"
    plot_regions(regions.region, regions.label, plane.square, corners, title, path)
    return path


def _data(spec: RunSpec, data_dir: Path | None) -> PreparedData:
    options = DataOptions(train_size=spec.train_size, split=spec.split, labels=spec.labels)  # pyright: ignore[reportArgumentType]
    prepared = prepare(spec.dataset, data_dir=data_dir, options=options)
    if prepared.digest != spec.data_digest:
        raise ValueError(f"{spec.dataset} is not the data that the run was trained on")
    return prepared


def _corner_images(data: Images) -> tuple[Tensor, list[int]]:
    """The first validation image of each of the first three classes, [3, F], and those classes; two images of one if
    there are no more."""
    x, y = next(iter(data.slices("valid", NUM_CANDIDATES)))
    labels = y.tolist()
    places = [labels.index(label) for label in sorted(set(labels))[:NUM_CORNERS]]
    places += [place for place in range(len(labels)) if place not in places][: NUM_CORNERS - len(places)]
    if len(places) < NUM_CORNERS:
        raise ValueError(f"a plane needs {NUM_CORNERS} validation images, and there are {len(labels)}")
    return x[places], [labels[place] for place in places]


CAPTIONS = {
    "filters-finetuned": "first-layer weights after training: white is positive, black negative, grey 0",
    "filters-pretrained": "first-layer weights after pre-training: white is positive, black negative, grey 0",
    "reconstructions": "images, and below each what the first pre-trained layer makes of it",
}
"""Name of a sheet -> what it shows."""


def _write(pages: dict[str, np.ndarray], folder: Path, run: str, spec: RunSpec) -> list[Path]:
    """The files that were written, each sheet under two lines that say what it shows and of which network."""
    network = f"{spec.activation} · {spec.model} · {spec.dataset} · seed {spec.seed}"
    files = [folder / f"{run}-{name}.png" for name in pages]
    for path, (name, page) in zip(files, pages.items(), strict=True):
        filters.write_png(page, path, [CAPTIONS[name], network])
    return files
