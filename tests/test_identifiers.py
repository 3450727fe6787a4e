"""Run ids and layer ids by value: stored runs are known by them, so whatever moves in the source, they must not.

They hold what a run's numbers depend on, the device's name and the versions of torch and of the engine included; here
these are made up, so the ids are the same on every machine. One that has changed means that everybody's stored runs of
that kind are trained again: bring the old one back, or raise ENGINE_VERSION and say why in CHANGELOG.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relubench.data import DataOptions, prepare
from relubench.system.device import Device
from specs import layer_ids, pinned, through_json

GPU = Device(kind="cuda", name="test GPU", threads=8, memory=2**34, torch="test")

MODULES = """
import torch

class Act(torch.nn.Module):
    def __init__(self, slope: float = 0.1) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.maximum(x, self.slope * x)

class Net(torch.nn.Sequential):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, num_classes))
"""
"""The user's own file, ./own.py. Its digest is that of its text, since it brings in nothing but torch."""

MODERN: dict[str, Any] = {"protocol": "modern"}

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "defaults": ("relu", {}),
    "widths": ("tanh", {"model": {"name": "mlp-40-24", "init": "uniform:0.01"}, "seeds": [2147483647]}),
    "parameters": ("softplus:beta=3:threshold=10", {"model": {"init": "auto"}}),
    "noise in training": ("nrelu", {"train": {"patience": 3}, "model": {"dropout": 0.25, "sign_flip": True}}),
    "learned parameter": ("prelu", {"model": {"norm": "batch", "init": "he"}}),
    "formula": ("x*sigmoid(b*x):b~1", {}),
    "gated": ("swiglu", {"model": {"name": "mlp-2x32"}}),
    "gated, as wide": ("glu", {"model": {"name": "mlp-2x32", "match": "width"}}),
    "momentum": ("elu", {"train": {"momentum": 0.9, "weight_decay": 1e-4, "batch_size": 32, "schedule": "cosine"}}),
    "adam": ("gelu", {"train": {"optimizer": "adam", "lr": 0.001}, "model": {"norm": "layer"}}),
    "adamw": ("silu", {"train": {**MODERN, "epochs": 5}, "model": {"norm": "rms"}}),
    "warm-up": ("silu", {"train": {**MODERN, "epochs": 1}}),
    "cnn": ("relu", {"model": {"name": "cnn"}, "data": {"augment": "crop+flip"}}),
    "residual": ("relu", {"model": {"name": "resmlp-20x100", "norm": "batch"}}),
    "L1 of the sum": ("relu", {"train": {"l1": 0.001}}),
    "L1 of the mean": ("relu", {"train": {"l1": 0.001, "l1_scale": "mean"}}),
    "L1 as the paper": ("relu", {"train": {"l1": 0.001, "l1_scale": "paper"}}),
    "probes": ("relu", {"train": {"probe": "all"}}),
    "few images": ("relu", {"data": {"train_size": 100}}),
    "few labels": ("relu", {"data": {"labels": 100}}),
    "perturbed images": ("relu", {"data": {"name": "digits+nistp", "train_size": 60}}),
    "GPU": ("relu", {"device": GPU, "train": {"precision": "tf32"}}),
    "bf16": ("relu", {"train": {"precision": "bf16"}}),
    "own activation": ("./own.py:Act:slope=0.2", {}),
    "own network": ("relu", {"model": {"name": "./own.py:Net", "init": "own"}}),
    "own network, a part kept": ("gelu", {"model": {"name": "./own.py:Net", "init": "own", "keep_act": ["2"]}}),
    "torchvision": ("relu", {"model": {"name": "torchvision:resnet18", "init": "own"}}),
    "rbm": ("relu", {"pretrain": {"methods": ["rbm"], "lr": 0.01}, "model": {"name": "mlp-40-24"}}),
    "rbm, control": (
        "relu",
        {"pretrain": {"methods": ["rbm"], "lr": 0.01, "control": True}, "model": {"name": "mlp-40-24"}},
    ),
    "rbm, settings": (
        "sigmoid",
        {
            "pretrain": {"methods": ["rbm"], "lr": 0.1, "k": 5, "momentum": 0.5, "weight_decay": 1e-4, "sampled": True},
            "data": {"labels": 100},
        },
    ),
    "dae": ("nrelu", {"pretrain": {"methods": ["dae"], "lr": 0.01}, "model": {"name": "mlp-40-24"}}),
    "dae, settings": (
        "swiglu",
        {"pretrain": {"methods": ["dae"], "lr": 0.1, "noise": "gaussian", "tied": False, "l1": 0.01, "batch_size": 50}},
    ),
    "layers of a file": (
        "relu",
        {"pretrain": {"methods": ["file"], "source": "layers.safetensors"}, "model": {"name": "mlp-1x4"}},
    ),
}

RUN_IDS = {
    "defaults": "28e0ec23cf6e6a35",
    "widths": "d6b70349a0817da1",
    "parameters": "39fe16d6a47c090a",
    "noise in training": "ce47c85a053881c4",
    "learned parameter": "6316b2b2a486a418",
    "formula": "ba52290850731fdd",
    "gated": "f94b07137411c76c",
    "gated, as wide": "d3081535bf7ba167",
    "momentum": "1ae5b8d3ff2701ea",
    "adam": "8a0d77137c81f150",
    "adamw": "e7e094ff9a896512",
    "warm-up": "8eb5f647aa7da7b1",
    "cnn": "833dbd820786c82b",
    "residual": "afdb4678d677074f",
    "L1 of the sum": "a375fc271af4d918",
    "L1 of the mean": "d2109024566e8475",
    "L1 as the paper": "6ba4d5769c4b7a73",
    "probes": "6d45a7553c27d7e3",
    "few images": "04fed62eb5db450e",
    "few labels": "00fc903b4783b364",
    "perturbed images": "aa2ddd85a8550ece",
    "GPU": "47ba28906eb04ef4",
    "bf16": "889f47076b315465",
    "own activation": "35b10767b029d2b9",
    "own network": "39ab30c6d8721cb5",
    "own network, a part kept": "ac5242201ed60567",
    "torchvision": "f0d101cd6c45ef74",
    "rbm": "e304a12c7bab4f57",
    "rbm, control": "6857a2e20a983998",
    "rbm, settings": "fa56b420debf1655",
    "dae": "e3a9b158c36fcf58",
    "dae, settings": "a5963f11c4694972",
    "layers of a file": "36ed75faac741ab2",
}

LAYER_IDS: dict[str, list[str]] = {
    "rbm": ["sf4f806475658433", "s2c531f7a0bcf44c"],
    "rbm, control": ["sf4f806475658433", "s2c531f7a0bcf44c"],
    "rbm, settings": ["s402adfb96fe6081", "s200b6aa72c99ee6", "s876329cbafe2d83"],
    "dae": ["s62574eaf839aa1b", "s56b26faebdf9b9c"],
    "dae, settings": ["s4f2a03b56c39915", "s900389c933da063", "s01ac38c5a080f44"],
    "layers of a file": ["s0d44fc90ce2fc23"],
}

DATA = {
    ("digits", None, None): "2114a621fde55c1eaa0d8871fe4b4afa869a56c176f74e9ced33711c439e1f91",
    ("digits", 100, None): "d4c4fb7153f4afc2b4423f3588bbee9b5c2d7ce9358e36501ad7719a14e46db7",
    ("digits", None, 100): "6895d25d9e0b9396bf9dafee32627e0b5ec39e972497e716197fabdcf36bbb27",
    ("digits+nistp", 60, None): "22dd7068d4ae32cdbb2cee93394378b6a546c06e6c250d12fa0872d1381f370a",
}


def layers_of_a_file() -> bytes:
    """A safetensors file of one layer of 4 units for the digits, every byte of it written here."""
    entries = {
        "0.bias": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        "0.weight": {"dtype": "F32", "shape": [4, 64], "data_offsets": [16, 1040]},
    }
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + bytes(1040)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's files, in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(MODULES, newline="\n")
    Path("layers.safetensors").write_bytes(layers_of_a_file())


def spec_of(name: str):
    """The run of that name; of several rows the last one's."""
    act, sections = RUNS[name]
    spec = pinned(act, **sections)[-1]
    if not spec.model.startswith("torchvision:"):
        return spec
    # The version of the installed torchvision is part of the id.
    assert (spec.model_digest or "").startswith("torchvision ")
    return replace(spec, model_digest="torchvision 0.20.1")


@pytest.mark.parametrize("name", RUNS)
def test_a_runs_id_is_what_it_was(name: str):
    spec = spec_of(name)
    assert spec.id == through_json(spec).id == RUN_IDS[name]


@pytest.mark.parametrize("name", LAYER_IDS)
def test_the_ids_of_pre_trained_layers_are_what_they_were(name: str):
    spec = spec_of(name)
    assert layer_ids(spec) == layer_ids(through_json(spec)) == LAYER_IDS[name]


def test_every_pre_trained_run_has_its_layers_here():
    assert set(LAYER_IDS) == {name for name in RUNS if spec_of(name).stack is not None}


def test_no_two_runs_have_the_same_id():
    assert len(set(RUN_IDS.values())) == len(RUN_IDS) == len(RUNS)


def test_the_control_starts_from_the_layers_of_the_run_itself():
    assert LAYER_IDS["rbm, control"] == LAYER_IDS["rbm"]


@pytest.mark.parametrize("field", ["engine", "torch", "device", "device_name", "threads", "seed", "precision"])
def test_the_machine_and_the_versions_are_part_of_an_id(field: str):
    spec = spec_of("rbm")
    value = getattr(spec, field)
    other = replace(spec, **{field: value + 1 if isinstance(value, int) else f"another {value}"})
    assert other.id != spec.id and not set(layer_ids(other)) & set(layer_ids(spec))


@pytest.mark.parametrize("options", DATA)
def test_the_digests_of_data_are_what_they_were(options: tuple[str, int | None, int | None]):
    name, train_size, labels = options
    assert prepare(name, options=DataOptions(train_size=train_size, labels=labels)).digest == DATA[options]
