"""What an activation has learned is part of a run's result, by layer, as the stored weights have it."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load

from relubench.runs.store import Store
from specs import finish, job


@pytest.mark.parametrize(
    ("act", "names", "seeds"),
    [
        ("prelu", ["a"], 2),
        ("star_relu", ["scale", "bias"], 1),
        ("x*sigmoid(b*x)+c*x:b~1:c~0.5", ["b", "c"], 1),
        ("relu", [], 1),
    ],
)
def test_learned_values_are_those_of_the_stored_weights(act: str, names: list[str], seeds: int, tmp_path: Path) -> None:
    started = job(act, tmp_path, seeds=seeds, model={"name": "mlp-2x8"}, train={"epochs": 2, "lr": 0.02})
    finish(started)
    store = Store(tmp_path)
    for spec in started.specs:
        result, weights = store.result(spec.id), store.weights_of(spec.id)
        assert result is not None and weights is not None
        tensors = load(weights)
        expected = {
            f"{name} of layer {layer + 1}": float(tensors[f"{layer}.learned-{number}"].item())
            for layer in range(2)
            for number, name in enumerate(names)
        }
        assert {value.name: value.value for value in result.measured} == expected
        assert all(value.epoch == result.best_epoch for value in result.measured)
