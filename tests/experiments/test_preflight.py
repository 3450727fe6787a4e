"""What a study says before it trains: what was asked for and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relubench.activations import select
from relubench.errors import UsageError
from relubench.experiments.config import experiment
from relubench.experiments.external_networks import describe_network
from relubench.experiments.plan import Variant
from relubench.experiments.preflight import other_weights, remarks
from relubench.experiments.study import Study
from relubench.experiments.variants import Part
from relubench.runs.spec import ExternalModel
from relubench.runs.store import Store
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, finish, job, runs


def part(act: str = "relu", **sections: Any) -> Part:
    return Part(Variant(config=experiment({"act": [act], **sections})), select([act]), digits())


@pytest.mark.parametrize(
    ("act", "sections", "told"),
    [
        ("relu", {"model": {"match": "width"}}, "--match width changes nothing here"),
        ("relu", {"train": {"batch_size": 2000}}, "batches of 2,000: digits has 1,077 training images, so a step"),
        ("relu", {"train": {"optimizer": "adam"}}, "lr 0.1 is the paper's for sgd, and large for adam: try --lr 0.001"),
    ],
)
def test_what_changes_nothing_or_hardly_what_was_meant_is_told(act: str, sections: dict[str, Any], told: str):
    (line,) = remarks(part(act, **sections))
    assert told in line


@pytest.mark.parametrize(
    ("act", "sections"),
    [
        ("swiglu", {"model": {"match": "width"}}),
        ("relu", {"train": {"batch_size": 1077}}),
        ("relu", {"train": {"optimizer": "adam", "lr": 0.1}}),
        ("relu", {"train": {"protocol": "modern"}}),
    ],
)
def test_what_means_something_is_not_remarked_on(act: str, sections: dict[str, Any]):
    assert remarks(part(act, **sections)) == []


@pytest.mark.parametrize("kept", ["best", "last", "none"])
def test_stored_runs_with_other_weights_than_asked_for_are_told(tmp_path: Path, kept: str):
    one = job("relu", tmp_path, keep=kept, train={"epochs": 1}, model={"name": "mlp-1x8"})
    finish(one)
    store = Store(tmp_path)
    result = store.result(one.specs[0].id)
    assert result is not None and store.kept(result.id) == kept
    told = {asked: other_weights(store, [result], experiment({"keep": asked})) for asked in ("best", "last", "none")}
    other = "1 stored run kept other weights than --keep {}: --no-cache trains again"
    assert told["none"] == ""
    for asked in ("best", "last"):
        assert told[asked] == ("" if asked == kept else other.format(asked))
    assert other_weights(store, [result], experiment()) == ""


OWN = """
import warnings
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, num_classes))
    def forward(self, x):
        warnings.warn("this network is old")
        return super().forward(x).softmax(1)
"""


def test_what_is_found_of_a_network_is_said_once_and_again_from_the_store(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    config = experiment(
        {
            "act": ["relu", "tanh"],
            "model": {"name": f"{tmp_path}/own.py:Net"},
            "train": {"epochs": 1, "batch_size": 269},
            "device": "cpu",
        }
    )
    for _ in range(2):
        told: list[str] = []
        study = Study.open(config, runs_dir=tmp_path / "runs", note=told.append)
        for _ in study.run():
            continue
        assert sum("this network is old" in one for one in told) <= 1
        for words in (
            "own.py:Net: its class scores sum to 1",
            "exchanged at 3 (--keep-act",
            "it is left out, another one",
        ):
            assert sum(words in one for one in told) == 1, words
        assert any(one.startswith("warning: ") and "its class scores" in one for one in told)
        assert "failed" not in [one.outcome for one in study.results]


def test_batch_norm_leaves_a_lone_image_out_and_says_so() -> None:
    choice, (spec,) = runs("relu", model={"name": "mlp-1x8", "norm": "batch"}, train={"epochs": 1, "batch_size": 4})
    one = Population([spec], choice, Images.open(digits(), device="cpu", flat=True))
    assert sum(step.images for step in one.train()) == 1076
    loss = one.members[0].curve[0].train_loss
    assert loss is not None and 0 < loss < 2.5
    normed = {"name": "mlp-1x8", "norm": "batch"}
    left_out = [remarks(part(model=normed, train={"batch_size": size})) for size in (4, 5)]
    assert [any("it is left out, another one every epoch" in line for line in one) for one in left_out] == [True, False]


def test_batch_norm_of_single_images_and_places_of_our_own_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="--norm batch cannot train on batches of one image"):
        runs("relu", model={"name": "mlp-1x8", "norm": "batch"}, train={"batch_size": 1})
    with pytest.raises(UsageError, match="--keep-act head belongs to networks of torchvision and your own"):
        runs("relu", model={"name": "mlp-1x8", "keep_act": ["head"]})


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["forward", "forward#2"], "forward, forward#2 (--keep-act PATH leaves one out; #2 is the second call there)"),
        (["features.0", "head"], "features.0, head (--keep-act PATH leaves one out)"),
    ],
)
def test_what_a_number_behind_a_place_means_is_said(places: list[str], said: str) -> None:
    network = ExternalModel.from_json(
        {"exchanged": 2, "functions": "2 relu", "kept": "", "stem": "", "parameters": 10, "training_bytes": 1}
        | {"evaluation_bytes": 1, "layout": "", "pairs": False, "merged": [], "places": places, "remarks": []}
    )
    first, second = describe_network(network, runs("relu")[1][0], part())
    assert first == "2 activations exchanged (2 relu); the initial weights are its own"
    assert second == f"exchanged at {said}"
