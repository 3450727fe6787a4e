"""Populations of networks that somebody else wrote: they learn, resume in the same bits, and refuse what they must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from relubench.activations import select
from relubench.errors import RelubenchError, UsageError
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.models.architecture import check_input, parse_model
from relubench.models.external.inspection import inspect_network
from relubench.runs.checkpoint import from_bytes, to_bytes
from relubench.runs.spec import ExternalModel, RunSpec
from relubench.runs.store import Store
from relubench.training.images import Images
from relubench.training.memory import member_bytes
from relubench.training.population import Population
from specs import digits, finish, finished, job, runs

OWN = """
import random
import torch
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, in_channels, width=8):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.dense = nn.Linear(16 * width, 32)
        self.last = nn.Linear(32, num_classes)
        self.pool = nn.Sequential(nn.ReLU(inplace=True), nn.MaxPool2d(2))
    def forward(self, x):
        x = self.pool(self.norm(self.conv(x)))
        return self.last(F.dropout(F.relu(self.dense(x.flatten(1))), 0.3, self.training))

class Ten(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.SiLU(), nn.Linear(12, 10))

def make():
    return Ten()

class Eleven(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 12), nn.SiLU(), nn.Linear(12, 11))

class Python(Net):
    def forward(self, x):
        return super().forward(x) * random.random()

class Always(Net):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5, True))

class Drawn(Ten):
    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self[1].bias.fill_(random.random())

instance = Ten()
number = 3

def nothing():
    return 3

def broken():
    raise OSError("no such luck")

class Swish(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1))
    def forward(self, z):
        return z * torch.sigmoid(self.beta * z)
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return str(file)


def population(act: str, model: str, **train: Any) -> Population:
    sections = {"train": {"epochs": 1, "batch_size": 64, "lr": 0.05, **train}, "model": {"name": model}}
    choice, (spec,) = runs(act, **sections)
    return Population([spec], choice, Images.open(digits(), device="cpu", flat=False))


def few(one: Population, images: int) -> Population:
    """The same population on the first images only."""
    one.data.prepared = replace(one.data.prepared, n_train=images)
    for split in ("valid", "test"):
        one.data.splits[split] = tuple(part[:images] for part in one.data.splits[split])  # type: ignore[assignment]
    return one


def test_a_resnet18_learns_a_few_digits():
    one = finished(few(population("silu", "torchvision:resnet18", epochs=2, batch_size=16, lr=0.02), 64))
    first, second = one.members[0].curve
    assert first.train_loss is not None and second.train_loss is not None
    assert second.train_loss < 0.8 * first.train_loss
    assert one.parameter_count == 11_172_810
    assert one.evaluate("valid", sparsity=True).zeros.shape == (1, 17)


@pytest.mark.parametrize("act", ["relu", "tanh", "prelu", "nrelu", "rrelu", "x*tanh(x)"])
def test_every_kind_of_activation_learns_in_ones_own_network(act: str, own: str):
    one = finished(population(act, f"{own}:Net", epochs=3))
    losses = [point.train_loss for point in one.members[0].curve]
    assert losses[2] < 0.92 * losses[0]  # type: ignore[operator]
    learned = [name for name in one.weights(0, best=True) if name.startswith("activation-")]
    assert len(learned) == (2 if act == "prelu" else 0)


def test_an_activation_of_ones_own_learns_at_every_place(own: str):
    one = finished(population(f"{own}:Swish", f"{own}:Net"))
    betas = [value for name, value in one.weights(0, best=False).items() if name.startswith("activation-")]
    assert len(betas) == 2 and len({float(beta) for beta in betas} | {1.0}) == 3


@pytest.mark.parametrize(("act", "optimizer"), [("nrelu", "sgd"), ("prelu", "adamw"), ("relu", "adam")])
def test_a_population_resumed_anywhere_ends_in_the_same_bits(act: str, optimizer: str, own: str):
    def begun() -> Population:
        one = population(act, f"{own}:Net", epochs=2, optimizer=optimizer, lr=0.01, batch_size=100)
        one.batch_chunk = 4
        return one

    whole = begun()
    states = [to_bytes(*whole.state())]
    for _ in whole.train():
        states.append(to_bytes(*whole.state()))
    for state in states[:-1]:
        torch.rand(7)  # The global generator must not matter.
        resumed = begun()
        resumed.load(*from_bytes(state))
        assert to_bytes(*finished(resumed).state()) == states[-1]


def test_a_resnet18_resumed_ends_in_the_same_bits():
    def begun() -> Population:
        one = few(population("nrelu", "torchvision:resnet18", batch_size=8), 24)
        one.batch_chunk = 1
        return one

    whole = begun()
    states = [to_bytes(*whole.state()) for _ in whole.train()]
    resumed = begun()
    resumed.load(*from_bytes(states[0]))
    assert to_bytes(*finished(resumed).state()) == states[-1]
    assert any(name.endswith("bn1.running_mean") for name in whole.state()[0])


def test_training_leaves_the_global_generator_alone(own: str):
    one = population("nrelu", f"{own}:Net")
    before = torch.get_rng_state()
    finished(one)
    assert torch.equal(torch.get_rng_state(), before)


def test_bf16_trains_close_to_fp32(own: str):
    full, half = (finished(population("relu", f"{own}:Net", epochs=3, precision=one)) for one in ("fp32", "bf16"))
    assert full.members[0].curve != half.members[0].curve
    assert abs(full.members[0].best_score - half.members[0].best_score) < 15


@pytest.mark.usefixtures("train_here")
def test_a_run_is_stored_with_what_was_exchanged_and_needs_no_second_look(own: str, tmp_path: Path):
    notes: list[str] = []
    config = experiment(
        {
            "act": ["relu", "prelu"],
            "model": {"name": f"{own}:Net"},
            "train": {"epochs": 1, "batch_size": 128},
            "device": "cpu",
        }
    )
    study = Study.open(config, runs_dir=tmp_path / "runs", note=notes.append)
    assert any("2 activations exchanged (2 relu); the initial weights are its own" in note for note in notes)
    for _ in study.run():
        continue
    assert [result.outcome for result in study.results] == ["ok", "ok"]
    assert study.results[1].parameters == study.results[0].parameters + 2 == study.specs[1].parameters
    stored = json.loads((study.store.folder(study.specs[0].id) / "run.json").read_text())["spec"]
    assert stored["foreign"]["exchanged"] == 2
    assert RunSpec.from_json(stored) == study.specs[0]
    again = Study.open(config, runs_dir=tmp_path / "runs", note=notes.append)
    assert list(again.networks.values()) == list(study.networks.values())
    Path(own).write_text(OWN + "\n# changed\n")
    changed = Study.open(config, runs_dir=tmp_path / "runs")
    assert changed.specs[0].id != study.specs[0].id


def test_a_factory_without_arguments_and_colon_arguments(own: str, tmp_path: Path):
    for name, count in (("make", 64 * 12 + 12 + 24 + 130), ("Net:width=2", 20 + 4 + 32 * 33 + 330)):
        assert population("relu", f"{own}:{name}").parameter_count == count
    one = job("relu", tmp_path / "store", model={"name": f"{own}:make"}, train={"epochs": 1, "batch_size": 100})
    finish(one)
    assert Store(tmp_path / "store").ids() == [one.specs[0].id]


MEANINGLESS = [
    ({"model": {"init": "he"}}, "--init he means nothing to"),
    ({"model": {"norm": "batch"}}, "--norm batch means nothing to"),
    ({"model": {"dropout": 0.5}}, "--dropout 0.5 means nothing to"),
    ({"model": {"sign_flip": True}}, "--sign-flip means nothing to"),
    ({"train": {"l1": 0.001}}, "train.l1=0.001 means nothing to"),
]


@pytest.mark.parametrize(("sections", "told"), MEANINGLESS, ids=[one[1] for one in MEANINGLESS])
def test_options_that_mean_nothing_are_refused(sections: dict[str, Any], told: str):
    with pytest.raises(UsageError, match=f"{told} torchvision:resnet18"):
        runs("relu", **{**sections, "model": {"name": "torchvision:resnet18", **sections.get("model", {})}})


def test_flat_rows_and_a_foreign_init_are_refused():
    with pytest.raises(
        UsageError, match="--init own belongs to networks of torchvision and your own, not to mlp-3x128"
    ):
        runs("relu", model={"init": "own"})
    with pytest.raises(UsageError, match="torchvision:vgg11 needs images, but mine has flat rows of 12"):
        check_input(parse_model("torchvision:vgg11"), (12,), "mine")
    runs("relu", model={"name": "torchvision:resnet18"}, train={"protocol": "modern"})
    runs("relu", model={"name": "torchvision:resnet18", "init": "own"})


WRONG = [
    ("Eleven", r"gives shape \(2, 11\) for 2 images of 10 classes"),
    ("number", "is neither a class nor a function, but int"),
    ("nothing", "gives int, not a torch.nn.Module"),
    ("broken", "cannot be made: OSError: no such luck"),
    ("Net:width=none", "cannot be made: TypeError"),
    ("Missing", "there is no 'Missing' in it"),
    ("Python", "draws chance in its training forward that is not torch's"),
    ("Always", "draws chance in evaluation"),
    ("Drawn", "the initial 1.bias differs from one instance to the next"),
]


@pytest.mark.parametrize(("name", "told"), WRONG)
def test_a_network_of_ones_own_that_cannot_be_trained_is_refused(name: str, told: str, own: str):
    choice, (spec,) = runs("relu", model={"name": f"{own}:{name}"})
    with pytest.raises(UsageError, match=told):
        inspect_network(spec, choice)


def test_batches_of_one_image_are_refused_where_they_cannot_be_normalised(own: str):
    choice, (spec,) = runs("relu", model={"name": f"{own}:make"}, train={"batch_size": 1})
    with pytest.raises(UsageError, match="make cannot train on batches of one image"):
        inspect_network(spec, choice)


def test_the_memory_of_a_foreign_network_grows_with_the_batch():
    _, (spec,) = runs("relu", model={"name": "torchvision:resnet18"})
    network = ExternalModel(
        exchanged=17, functions="", kept="", stem="", parameters=10**6, training_bytes=10**6, evaluation_bytes=10**5
    )
    small, large = (member_bytes(replace(spec, foreign=network, batch_size=one), 1) for one in (10, 110))
    assert large - small == 10**8
    assert small > 4 * 3 * 10**6


def test_a_missing_file_is_refused():
    with pytest.raises(RelubenchError, match=r"there is no file '\./missing\.py'"):
        parse_model("./missing.py:Net")
    assert select(["relu"])[0].inputs_per_unit == 1
