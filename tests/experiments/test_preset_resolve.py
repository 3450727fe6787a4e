"""From a preset file to variants: what wins, what is refused and on which line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relubench.errors import UsageError
from relubench.experiments.presets.document import read_document
from relubench.experiments.presets.export import as_yaml
from relubench.experiments.presets.resolve import Preset, resolve

Make = Callable[..., Preset]

BASE = """description: a trial
act: [relu, tanh]
data: {name: digits}
train: {epochs: 3}
"""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A preset out of text."""

    def preset(text: str, scale: str | None = None, **asked: Any) -> Preset:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return resolve(read_document(path, "mine.yaml"), "mine", scale, **asked)

    return preset


def test_a_scale_wins_over_the_base_a_variant_over_the_scale_and_set_over_all(make: Make):
    text = BASE + (
        "scales:\n  smoke: {train: {epochs: 2, lr: 0.5}, model: {name: mlp-1x4}}\n"
        "variants:\n  - {label: fast, train: {lr: 0.25}}\n  - {label: plain}\n"
    )
    fast, plain = make(text, "smoke", overrides=[{"train": {"epochs": 1}}]).variants
    assert (fast.label, fast.config.train.lr, fast.config.train.epochs) == ("fast", 0.25, 1)
    assert (plain.label, plain.config.train.lr, plain.config.model.name) == ("plain", 0.5, "mlp-1x4")


def test_a_grid_is_every_combination_and_names_its_variants(make: Make):
    text = BASE + "grid: {model.init: [xavier, 'uniform:0.01'], model.norm: [none, batch]}\n"
    preset = make(text)
    assert [one.label for one in preset.variants] == [
        "init xavier, no norm",
        "init xavier, norm batch",
        "init uniform:0.01, no norm",
        "init uniform:0.01, norm batch",
    ]
    assert preset.runs == 8
    assert preset.variants[3].config.model.init == "uniform:0.01"


def test_variants_and_grid_multiply_and_a_scales_own_replace_them(make: Make):
    text = BASE + (
        "variants: [{model: {name: mlp-1x4}}, {model: {name: mlp-2x4}}]\ngrid: {train.l1: [0, 0.1]}\n"
        "scales: {smoke: {variants: [{label: one}]}, paper: {}}\n"
    )
    labels = [one.label for one in make(text, "paper").variants]
    assert labels == ["mlp-1x4, no L1", "mlp-1x4, L1 0.1", "mlp-2x4, no L1", "mlp-2x4, L1 0.1"]
    assert [one.label for one in make(text, "smoke").variants] == ["one"]


def test_quick_is_the_scale_unless_another_is_asked_for(make: Make):
    text = BASE + "scales: {smoke: {}, quick: {train: {epochs: 2}}, paper: {}}\n"
    assert (make(text).scale, make(text).variants[0].config.train.epochs) == ("quick", 2)
    assert make(text, "paper").variants[0].config.train.epochs == 3
    assert make(BASE).scale is None
    with pytest.raises(UsageError, match=r"there is no scale of mine\.yaml called 'papr'") as refused:
        make(text, "papr")
    assert "paper" in refused.value.hint
    with pytest.raises(UsageError, match="no scale") as refused:
        make(BASE, "smoke")
    assert "leave --scale out" in refused.value.hint


def test_some_of_the_activations(make: Make):
    text = BASE.replace("[relu, tanh]", "[relu, tanh, gelu]") + "baseline: {act: relu}\n"
    preset = make(text, acts=["tanh", "g*"])
    assert preset.variants[0].config.act == ("tanh", "gelu")
    assert preset.comparison.activation is None
    with pytest.raises(UsageError, match="--act relu,silu: mine has no such activation"):
        make(text, acts=["relu,silu"])
    with pytest.raises(UsageError, match="--act sigmoid: mine has no such activation") as refused:
        make(text, acts=["sigmoid"])
    assert "gelu, relu, tanh" in refused.value.hint


PRETRAINED = "pretrain: {methods: [none, dae], l1: 0.001, epochs: 2}\nbaseline: {act: relu, pretraining: none}\n"


def test_ways_of_pretraining_are_rows_and_can_be_narrowed(make: Make):
    preset = make(BASE + PRETRAINED)
    assert preset.runs == 4
    assert (preset.comparison.activation, preset.comparison.pretraining) == ("relu", "none")
    assert make(as_yaml(preset)) == preset
    without = make(BASE + PRETRAINED, methods=["none"])
    assert without.runs == 2
    # What belongs to autoencoders is gone with them, so the printed preset is right.
    assert without.variants[0].config.pretrain.l1 == 0.0
    assert make(as_yaml(without)) == without
    alone = make(BASE + PRETRAINED, methods=["dae"])
    assert (alone.runs, alone.comparison.pretraining) == (2, None)


def test_a_grid_over_pretraining_says_so(make: Make):
    preset = make(BASE + "grid: {pretrain.methods: [[none], [rbm]], pretrain.epochs: [1, 2]}\n")
    assert [one.label for one in preset.variants] == [
        "none, pre-training epochs 1",
        "none, pre-training epochs 2",
        "rbm, pre-training epochs 1",
        "rbm, pre-training epochs 2",
    ]


def test_what_varies_cannot_be_set(make: Make):
    text = BASE + "grid: {model.norm: [none, batch]}\n"
    with pytest.raises(UsageError, match=r"mine varies model\.norm: it cannot be set for all"):
        make(text, overrides=[{"model": {"norm": "rms"}}])


@pytest.mark.parametrize(
    ("text", "rule", "hint"),
    [
        ("act: [relu]\n", r"mine\.yaml:1: description is missing", "add description"),
        (BASE + "trian: {}\n", r"mine\.yaml:5: there is no key trian", "did you mean train"),
        (BASE + "model:\n  nam: x\n", r"mine\.yaml:6: there is no key model\.nam", "did you mean name"),
        (BASE + "scales:\n  smok: {}\n", r"mine\.yaml:6: there is no scale 'smok'", "did you mean smoke"),
        (BASE + "scales:\n  smoke:\n    trian: {}\n", r"mine\.yaml:7: there is no key scales\.smoke\.trian", "train"),
        (BASE + "scales: 3\n", r"mine\.yaml:5: scales should be a valid dictionary", "--print"),
        (BASE + "seeds: many\n", r"mine\.yaml:5: seeds should be a valid tuple, got 'many'", "--print"),
        (BASE + "model:\n  dropout: [1]\n", r"mine\.yaml:6: model\.dropout should be a valid number", "--print"),
        (
            BASE + "variants:\n  - {label: a}\n  - {lab: b}\n",
            r"mine\.yaml:7: there is no key variants\.1\.lab",
            "label",
        ),
        (BASE + "variants: [{}, {}]\n", r"mine\.yaml:5: two variants have no label", "label of its own"),
        (BASE + "variants: []\n", r"mine\.yaml:5: variants tuple should have at least 1 item", "--print"),
        (
            BASE + "grid:\n  model.nrm: [none]\n",
            r"mine\.yaml:6: there is no configuration key model\.nrm",
            "model.norm",
        ),
        (
            BASE + "grid:\n  seeds: [[1]]\n",
            r"mine\.yaml:6: a grid cannot vary seeds",
            "data, model, train and pretrain",
        ),
        (BASE + "grid:\n  model.norm: [none, bach]\n", r"mine\.yaml:6: model\.norm should be 'none', 'batch'", "norm"),
        (BASE + "grid:\n  model.norm: []\n", r"mine\.yaml:6: grid\.model\.norm list should have at least 1", "--print"),
        (BASE + "reference:\n  - {source: glorot, table: table1}\n", r"mine\.yaml:6: there is no source", "glorot2011"),
        (
            BASE + "reference:\n  - source: article\n    table: architecture\n",
            r"mine\.yaml:7: there is no table in article called 'architecture'",
            "did you mean architectures",
        ),
        (BASE + "baseline: {act: rleu}\n", r"mine\.yaml:5: the baseline 'rleu' is none of its rows", "relu"),
        (BASE + "baseline: {variant: x}\n", r"mine\.yaml:5: the baseline 'x' is none of its rows", "there are"),
        (BASE + "as_published: [train.ll]\n", r"mine\.yaml:5: there is no configuration key train\.ll", "train.l1"),
        (BASE.replace("tanh", "tahn"), r"mine\.yaml:2: there is no activation called 'tahn'", "tanh"),
        (BASE + "scales:\n  smoke:\n    act: [rleu]\n", r"mine\.yaml:7: there is no activation called 'rleu'", "relu"),
        (
            BASE + "scales:\n  smoke:\n    train:\n      warmup_epochs: 9\n",
            r"mine\.yaml:7: train: warmup_epochs \(=9\) must not exceed epochs \(=3\)",
            "change one",
        ),
        (
            BASE + "variants:\n  - label: a\n    train: {lr: -1}\n",
            r"mine\.yaml:7: variants\.0\.train\.lr should",
            "--print",
        ),
        (BASE + "pretrain:\n  method: [rbm]\n", r"mine\.yaml:6: there is no key pretrain\.method", "methods"),
        (
            BASE + "scales:\n  smoke:\n    pretrain: {methods: [rmb]}\n",
            r"mine\.yaml:7: scales\.smoke\.pretrain\.methods",
            "--print",
        ),
        (BASE + "pretrain:\n  k: 2\n", r"mine\.yaml:5: pretrain: k \(=2\) belongs to the method rbm", "change one"),
        (BASE + "baseline: {pretraining: rbm}\n", r"mine\.yaml:5: the baseline 'rbm' is none of its rows", "none"),
        (BASE + "command: pretrain\n", r"mine\.yaml:5: command should be 'train'", "--print"),
    ],
)
def test_errors_name_the_line_and_the_near_names(make: Make, text: str, rule: str, hint: str):
    with pytest.raises(UsageError, match=rule) as refused:
        make(text)
    assert hint in refused.value.hint


def test_a_million_runs_are_refused_before_they_are_made(make: Make):
    points = ", ".join(str(one / 1000) for one in range(1, 1001))
    with pytest.raises(UsageError, match=r"mine\.yaml:5: the grid has 1,000,000 points; 10,000 runs are the most"):
        make(BASE + f"grid: {{train.l1: [{points}], train.momentum: [{points.replace('1.0', '0.0')}]}}\n")
    with pytest.raises(UsageError, match="mine asks for 20,000 runs; 10,000 are the most"):
        make(BASE, overrides=[{"seeds": list(range(10_000))}])


def test_a_printed_preset_gives_the_same_configurations(make: Make):
    text = BASE + (
        "baseline: {variant: modern}\nas_published: [train.l1]\nreference: [{source: article, table: mnist}]\n"
        "variants:\n  - {label: modern, train: {protocol: modern, epochs: 1}}\n  - {label: paper, act: [relu], train: "
        "{l1: 1.0e-5}}\nscales: {quick: {stand_in: 'this: that', data: {test_noise: [0, 0.5]}}}\n"
    )
    first = make(text)
    again = make(as_yaml(first))
    assert again == first
    assert first.variants[0].config.train.warmup_epochs == 0.5
