"""The presets that come along: each is right at each scale, and those that can be are trained."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from relubench.activations import select
from relubench.data import DataOptions, PreparedData, outline
from relubench.device import resolve
from relubench.errors import UsageError
from relubench.preset.catalogue import listing, load, names, open_preset
from relubench.preset.schema import SCALES
from relubench.preset.written import as_yaml
from relubench.variants import Part, lay_out

NAMES = names()


def test_the_promised_presets_are_there():
    tables = {f"glorot2011-table1-{one}" for one in ("mnist", "cifar10", "nistp", "norb")}
    article = {"mnist", "norb", "norb-failed-baselines", "cifar10", "nistp", "architectures"}
    others = {"glorot2011-rescaled-softplus", "glorot2011-figure4", "modern-activations", "initialisation"}
    others |= {"normalisation", "depth", "noise-robustness", "cnn-zoo"}
    assert set(NAMES) >= tables | {f"article-{one}" for one in article} | others


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_each_preset_is_right_at_each_scale(name: str, scale: str, tmp_path: Path):
    preset = open_preset(name, scale)
    assert preset.runs >= 2
    assert preset.description and preset.source
    if scale == "smoke":
        assert preset.stand_in is not None and "stands in for" in preset.stand_in
        assert all(one.config.data.name in ("digits", "digits+nistp", "norb-generated") for one in preset.variants)
    printed = tmp_path / f"{name}.yaml"
    printed.write_text(as_yaml(preset))
    assert open_preset(str(printed), None) == preset


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_each_preset_can_be_trained_at_each_scale(name: str, scale: str):
    """Every network with every setting, on data of the table's size: what the plan refuses is refused here."""
    preset = open_preset(name, scale)
    parts = [
        Part(
            one,
            select(one.config.act),
            cast(PreparedData, outline(one.config.data.name, DataOptions.of(one.config.data))),
        )
        for one in preset.variants
    ]
    assert len(lay_out(parts, resolve("cpu"))) == preset.runs


def test_the_list_counts_runs():
    rows = {row["name"]: row for row in listing()}
    row = rows["glorot2011-table1-mnist"]
    assert (row["smoke_runs"], row["quick_runs"], row["paper_runs"]) == (9, 9, 45)
    assert list(row) == ["name", "description", "source", "smoke_runs", "quick_runs", "paper_runs"]


def test_unknown_presets_bring_near_ones(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no preset called 'article-mnsit'") as refused:
        load("article-mnsit")
    assert "did you mean article-mnist" in refused.value.hint
    (tmp_path / "mine.yaml").write_text("description: x\n")
    with pytest.raises(UsageError, match=r"there is no file .*mien\.yaml") as refused:
        load(str(tmp_path / "mien.yaml"))
    assert "did you mean mine.yaml" in refused.value.hint
    assert load(str(tmp_path / "mine.yaml"))[0] == "mine"
