"""Inputs of timed operators that were recorded in a stored run's network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from relubench.activations import select
from relubench.data import arrays
from relubench.errors import UsageError
from relubench.experiments.operator_inputs import VALUES, recorded_inputs
from relubench.experiments.speed import choose_mode
from relubench.runs.store import Store
from relubench.timing.buffers import Buffers
from relubench.timing.preparation import operators_session
from relubench.timing.request import Request, Size
from specs import digits, finish, job

TRAIN = {"epochs": 1, "batch_size": 32, "lr": 0.1, "probe": "none"}


def stored(tmp_path: Path, act: str, *, keep: str = "best", model: str = "mlp-24-16") -> str:
    network = job(act, tmp_path, keep=keep, model={"name": model}, train=TRAIN)
    finish(network)
    return network.specs[0].id


def test_recorded_inputs_are_the_pre_activations_of_every_hidden_layer(tmp_path: Path):
    run = stored(tmp_path, "tanh")
    recorded = recorded_inputs(run[:6], tmp_path, None)
    assert recorded is not None and recorded.run == run and recorded.network == "tanh, mlp-24-16 on digits"
    content = Store(tmp_path).weights_of(run)
    assert content is not None
    weights = {name: value.astype(np.float64) for name, value in load(content).items()}
    x, _ = arrays(digits(), "valid")
    h, pooled = digits().scale * np.asarray(x, dtype=np.float64).reshape(len(x), -1), []
    for layer in (0, 1):
        z = h @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        pooled.append(z.ravel())
        h = np.tanh(z)
    z = np.sort(np.concatenate(pooled))
    assert len(recorded.values) == VALUES
    for share in (0.0, 0.01, 0.25, 0.5, 0.9, 1.0):
        value = recorded.values[round(share * (VALUES - 1))]
        assert (
            np.searchsorted(z, value - 1e-4) / len(z) - 0.002
            <= share
            <= np.searchsorted(z, value + 1e-4) / len(z) + 0.002
        )
    assert recorded.quantiles["50"] == pytest.approx(np.median(z), abs=0.01)


def test_a_gated_convolutional_network_is_recorded_too(tmp_path: Path):
    recorded = recorded_inputs(stored(tmp_path, "swiglu", model="cnn"), tmp_path, None)
    assert recorded is not None and recorded.values[0] < 0 < recorded.values[-1]
    assert list(recorded.values) == sorted(recorded.values)


def test_what_cannot_be_recorded_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no run 'abc'"):
        recorded_inputs("abc", tmp_path, None)
    with pytest.raises(UsageError, match="were not kept"):
        recorded_inputs(stored(tmp_path, "relu", keep="none"), tmp_path, None)
    assert recorded_inputs(None, tmp_path, None) is None


def test_folders_belong_to_recorded_inputs():
    assert choose_mode({"--network": False}, ["--inputs", "--runs-dir", "--data-dir"]) == ""
    with pytest.raises(UsageError, match="--runs-dir means nothing without --network"):
        choose_mode({"--network": False}, ["--runs-dir"])
    with pytest.raises(UsageError, match="--inputs means nothing with --network"):
        choose_mode({"--network": True}, ["--inputs"])


def test_every_cell_is_timed_on_normal_and_on_recorded_inputs():
    values = (-8.0, -0.5, 0.25, 100.0)
    buffers = Buffers.make(6000, 2, torch.float32, "cpu", 0, pool=False, inputs=values)
    assert buffers.z.shape == (12000,)
    for value in values:
        assert float((buffers.z == value).float().mean()) == pytest.approx(0.25, abs=0.03)
    request = Request(sizes=(Size("64", 64),), passes=("forward", "backward"), inputs=values)
    assert Request.from_json(asdict(request)) == request
    session = operators_session(request, select(["relu", "swiglu"]), "cpu")
    modes = [(cell.mode, cell.name) for cell in session.cells]
    assert modes == [
        *(("eager", name) for name in request.passes),
        *(("eager, recorded inputs", name) for name in request.passes),
    ]
    assert Request(sizes=()).modes == ("eager",)
    assert Request(sizes=(), compiled=True, inputs=values).modes[2:] == (
        "eager, recorded inputs",
        "compiled, recorded inputs",
    )
