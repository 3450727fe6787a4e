from __future__ import annotations

from typing import Any

import pytest

from relubench.errors import UsageError
from relubench.experiments.config import experiment, known_keys, parse_assignments


def test_the_defaults_are_the_paper_protocol():
    train = experiment().train
    assert (train.epochs, train.batch_size, train.lr, train.optimizer) == (30, 10, 0.1, "sgd")
    assert (train.momentum, train.l1, train.schedule, experiment().model.init) == (0.0, 0.0, "constant", "xavier")
    assert experiment().act == ("sigmoid", "tanh", "relu", "gelu")


def test_later_layers_win_over_the_protocol_and_over_earlier_ones():
    config = experiment({"train": {"protocol": "modern", "lr": 0.5}}, {"train": {"lr": 0.25}})
    assert (config.train.lr, config.train.optimizer, config.train.batch_size) == (0.25, "adamw", 128)


def test_a_protocols_warmup_gives_way_to_a_short_training():
    assert experiment({"train": {"protocol": "modern", "epochs": 1}}).train.warmup_epochs == 0.5


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        ({"train": {"lr": -1}}, r"train\.lr should be greater than 0 or should be 'auto', got -1"),
        ({"train": {"lr": float("nan")}}, r"train\.lr should be"),
        ({"train": {"epochs": "x"}}, r"train\.epochs should be a valid integer"),
        ({"train": {"epochs": 0}}, r"train\.epochs should be greater than or equal to 1, got 0"),
        ({"train": {"lrr": 1}}, r"there is no configuration key train\.lrr"),
        ({"bogus": 1}, r"there is no configuration key bogus"),
        ({"model": {"dropout": 1.0}}, r"model\.dropout should be less than 1"),
        ({"model": {"init": "zeros"}}, r"model\.init should be 'auto', .*, 'uniform', 'siren' or 'own'"),
        ({"train": {"optimizer": "adam", "momentum": 0.9}}, r"momentum \(=0\.9\) belongs to the optimizer sgd"),
        ({"train": {"epochs": 2, "warmup_epochs": 3}}, r"warmup_epochs \(=3\) must not exceed epochs \(=2\)"),
        ({"train": {"lr_grid": [0.1, 0.01]}}, r"lr_grid belongs to lr auto, not to lr 0\.1"),
        ({"train": {"lr_seeds": 3}}, r"lr_seeds belongs to lr auto"),
        ({"train": {"lr": "auto", "lr_grid": [0.1]}}, r"lr_grid must not have fewer than two rates"),
        ({"train": {"lr": "auto", "lr_grid": [0.1, 0.1]}}, r"lr_grid must not .* one of them twice"),
        ({"train": {"lr": "auto", "lr_grid": [0.1, -1]}}, r"train\.lr_grid\.1 should be greater than 0"),
        ({"train": {"lr": "auto", "lr_seeds": 0}}, r"train\.lr_seeds should be greater than or equal to 1"),
        ({"train": {"protocol": "mine"}}, r"train\.protocol should be 'paper', 'modern' or 'transformer'"),
        ({"train": 3}, r"train should be a valid dictionary"),
        ({"seeds": []}, r"at least one seed"),
        ({"seeds": [-1]}, r"seeds\.0 should be greater than or equal to 0"),
        ({"act": []}, r"at least one activation"),
    ],
)
def test_what_is_wrong_is_refused_with_key_and_value(layer: dict[str, Any], rule: str):
    with pytest.raises(UsageError, match=rule):
        experiment(layer)


def test_unknown_keys_bring_near_ones():
    with pytest.raises(UsageError) as refused:
        experiment({"train": {"batchsize": 1}})
    assert "train.batch_size" in refused.value.hint


def test_assignments_become_nested_values():
    assert parse_assignments(["train.momentum=0.9", "train.patience=3", "model.norm=batch", "seeds=[1,2]"]) == {
        "train": {"momentum": 0.9, "patience": 3},
        "model": {"norm": "batch"},
        "seeds": [1, 2],
    }


@pytest.mark.parametrize("text", ["train.lr", "=3", "train..lr=1", ".=1"])
def test_an_assignment_without_key_or_value_is_refused(text: str):
    with pytest.raises(UsageError, match=r"--set needs key\.path=value"):
        parse_assignments([text])


def test_an_assignment_that_is_no_yaml_is_refused():
    with pytest.raises(UsageError, match=r"--set model\.name:1:4: this is not YAML"):
        parse_assignments(["model.name=[1,"])


BOMB = "train.lr_grid=[&a [1,1,1,1,1,1,1,1,1],&b [*a,*a,*a,*a,*a,*a,*a,*a,*a],&c [*b,*b,*b,*b,*b,*b,*b,*b,*b]]"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BOMB, "anchors"),
        ("train.epochs=!!int ''", r"--set train\.epochs: '' is no int"),
        ("train.epochs=!!bool maybe", r"'maybe' is no bool"),
        ("train.epochs=2001-99-99", r"the tag 'timestamp' is not allowed"),
        ("train.epochs=" + "9" * 4300, r"has 4,300 characters"),
        ("train.epochs=" + "9" * 900, r"train\.epochs .*, got 9{70,80}\.\.\.$"),
        ("train.epochs=" + "[" * 9000, r"it is nested too deeply"),
        ("train.epochs=" + "x" * 20_000, r"--set 'train\.epochs' has 20,013 characters"),
        ("a." * 3000 + "a=1", r"--set needs key\.path=value"),
        ("train={a: 1, a: 2}", r"the key 'a' stands there twice"),
        ("train={1: 2}", r"a key is text"),
    ],
)
def test_a_hostile_assignment_is_refused_in_a_short_message(text: str, rule: str):
    with pytest.raises(UsageError, match=f"(?m){rule}") as refused:
        experiment(parse_assignments([text]), {"act": ["relu"]})
    assert len(refused.value.message) + len(refused.value.hint) < 1000


def test_every_known_key_can_be_set():
    assert {"train.lr", "model.name", "data.name", "act", "seeds", "device", "keep"} <= set(known_keys())
