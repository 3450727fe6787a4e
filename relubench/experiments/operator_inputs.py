"""What activations get to see in a network: the pre-activations of a stored run, as inputs of timed operators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench.activations import select
from relubench.data import DataOptions, prepare
from relubench.errors import UsageError
from relubench.models.families import family_of
from relubench.runs.run_ids import find_run
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.paths import runs_root, user_path

if TYPE_CHECKING:
    from relubench.training.population import Population

Place = str | Path | None
"""A folder that a user names."""

EXAMPLES = 1000
"""Validation examples whose pre-activations are taken, at most."""

VALUES = 4096
"""Values that stand for the pre-activations of all hidden layers: their quantiles, evenly spaced."""

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
"""Quantiles that are told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedInputs:
    """The pre-activations of a run's hidden layers on validation examples, with the weights that it has stored."""

    run: str
    network: str
    """The network in words: 'relu, mlp-3x128 on digits'."""
    values: tuple[float, ...]
    """Quantiles of all pre-activations, in ascending order."""

    @property
    def quantiles(self) -> dict[str, float]:
        """The quantiles that are told, by per cent."""
        return {f"{100 * share:g}": self.values[round(share * (len(self.values) - 1))] for share in QUANTILES}

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run, "network": self.network, "quantiles": self.quantiles}


def recorded_inputs(run: str | None, runs_dir: Place, data_dir: Place) -> RecordedInputs | None:
    """The recorded inputs of the run whose id begins so; None for None.

    Raises UsageError where there is no such run, or where nothing can be recorded of it; DataError without its data.
    """
    if run is None:
        return None
    store = Store(runs_root(user_path(runs_dir) if runs_dir is not None else None))
    full_id = find_run(run, store.ids())
    result, weights = store.result(full_id), store.weights_of(full_id)
    if result is None or weights is None:
        raise UsageError(f"the weights of run {full_id} were not kept", "--inputs needs a run with its weights")
    spec = RunSpec.from_json(result.spec)
    layers = _pre_activations(_population(spec, weights, user_path(data_dir) if data_dir is not None else None))
    if not layers:
        hint = "--inputs takes a network whose hidden layers the package knows: an mlp, a cnn"
        raise UsageError(f"nothing can be recorded in {spec.model} of run {full_id}", hint)
    pooled = np.sort(np.concatenate(layers))
    places = np.linspace(0, len(pooled) - 1, VALUES).round().astype(int)
    network = f"{spec.activation}, {spec.model} on {spec.dataset}"
    return RecordedInputs(run=full_id, network=network, values=tuple(map(float, pooled[places])))


def _population(spec: RunSpec, weights: bytes, data_dir: Path | None) -> Population:
    """The run's network with its stored weights, on the processor."""
    from relubench.runs.checkpoint import from_bytes
    from relubench.training.population import Population
    from relubench.training.text import open_data

    family = family_of(spec.model)
    if family.can("external") or not family.can("probes"):
        raise UsageError(f"the layers of {spec.model} are not known", "--inputs takes a run of the package's networks")
    options = DataOptions(
        train_size=spec.train_size,
        split=spec.split,  # pyright: ignore[reportArgumentType]
        labels=spec.labels,
        target=spec.target,
        context=spec.input_shape[0] if family.can("text") else None,
    )
    prepared = prepare(spec.dataset, data_dir=data_dir, options=options)
    if prepared.digest != spec.data_digest:
        raise UsageError(f"{spec.dataset} is not the data that the run was trained on", "repeat the run, and name it")
    data = open_data(prepared, device="cpu", flat=not family.can("images"))
    population = Population([replace(spec, device="cpu", probe="none")], select([spec.activation])[0], data)
    tensors, values = from_bytes(weights)
    population.load_weights(tensors, values.get("held", ()))
    return population


def _pre_activations(population: Population) -> list[np.ndarray]:
    """The finite pre-activations of every hidden layer on validation examples, each as one row."""
    import torch

    rows: list[np.ndarray] = []
    with torch.no_grad():
        h, _ = next(iter(population.data.slices("valid", EXAMPLES)))
        for layer in population.layers:
            if layer.hidden:
                z = h.reshape(-1)
                rows.append(z[torch.isfinite(z)].numpy().copy())
            h = layer.forward(h, training=False)
    return rows
