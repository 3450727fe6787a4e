"""Pictures of a stored run's first layer: filters, and reconstructions where it was pre-trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relubench.errors import UsageError
from relubench.plan import RunSpec
from relubench.pretraining.identity import layer_id
from relubench.reports import pictures
from relubench.store import Store


def draw_run(store: Store, run: str, folder: Path) -> list[Path]:
    """The PNG files that were written into `folder`; raises UsageError for a run without pictures to draw."""
    from safetensors.numpy import load

    result = store.result(run)
    assert result is not None
    spec = RunSpec.from_json(result.spec)
    layer = layer_id(spec, 0) if spec.stack is not None else ""
    weights = {"finetuned": store.weights(run), "pretrained": store.layer_weights(layer) if layer else None}
    found = {name: load(path.read_bytes()) for name, path in weights.items() if path is not None and path.exists()}
    if not found or any(tensors["0.weight"].ndim != 2 for tensors in found.values()):
        raise UsageError(
            f"run {run} has no dense first layer to draw",
            "its weights were not kept (--keep none), or it is convolutional",
        )
    pages = {f"filters-{name}": pictures.filters(one["0.weight"], spec.input_shape) for name, one in found.items()}
    if layer and (path := store.layer_reconstructions(layer)).exists():
        shown = load(path.read_bytes())
        pages["reconstructions"] = pictures.reconstructions(shown["images"], shown["reconstructions"], spec.input_shape)
    return _write(pages, folder, run)


def _write(pages: dict[str, np.ndarray], folder: Path, run: str) -> list[Path]:
    files = [folder / f"{run}-{name}.png" for name in pages]
    for path, page in zip(files, pages.values(), strict=True):
        pictures.write_png(page, path)
    return files
