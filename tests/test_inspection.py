"""What a study says before it trains: what was asked for and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relubench.activations import select
from relubench.config import experiment
from relubench.inspection import other_weights, remarks
from relubench.plan import Variant
from relubench.store import Store
from relubench.variants import Part
from relubench.worker import carry_out
from specs import digits, job


def part(act: str = "relu", **sections: Any) -> Part:
    return Part(Variant(config=experiment({"act": [act], **sections})), select([act]), digits())


@pytest.mark.parametrize(
    ("act", "sections", "told"),
    [
        ("relu", {"model": {"match": "width"}}, "--match width changes nothing here"),
        (
            "relu",
            {"train": {"batch_size": 2000}},
            "batches of 2,000: digits has 1,077 training images, so a step",
        ),
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
    carry_out(one, lambda message: None, lambda: False)
    store = Store(tmp_path)
    result = store.result(one.specs[0].id)
    assert result is not None and store.kept(result.id) == kept
    told = {asked: other_weights(store, [result], experiment({"keep": asked})) for asked in ("best", "last", "none")}
    other = "1 stored run kept other weights than --keep {}: --no-cache trains again"
    assert told["none"] == ""
    for asked in ("best", "last"):
        assert told[asked] == ("" if asked == kept else other.format(asked))
    assert other_weights(store, [result], experiment()) == ""
